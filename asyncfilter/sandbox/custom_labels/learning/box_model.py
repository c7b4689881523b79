"""A model of boxes: windows of the sizes that the training boxes have, each with a confidence for every label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from asyncfilter.sandbox.custom_labels.learning.examples import Example, RatioBox, spread
from asyncfilter.sandbox.custom_labels.learning.features import Array, mirrored, window_vectors
from asyncfilter.sandbox.custom_labels.learning.ridge import FOLDS, Ridge

MOST_BOXES: Final = 20
MATCH: Final = 0.5
"""Overlap (intersection over union) from which on two boxes are the same; the service's is not published."""
_SIZES: Final = 6
_STRIDE: Final = 0.25
_MOST_WINDOWS: Final = 1500
_FAR: Final = 0.3
_NEGATIVES: Final = 6
_HARD: Final = 4
_MOST_EXAMPLES: Final = 1600


class Found(NamedTuple):
    """A box that was found; ``confidence`` from 0 to 1."""

    box: RatioBox
    confidence: float


class BoxModel:
    """Finds boxes.

    Args:
        examples: Images with boxes.
        labels: All labels.
    """

    def __init__(self, examples: Sequence[Example], labels: Sequence[str]) -> None:
        self.labels = tuple(labels)
        chosen = spread(examples, _MOST_EXAMPLES // (4 + _NEGATIVES + _HARD))
        self._windows = _windows(chosen)
        chance = np.random.default_rng(0)
        samples = [sample for place, example in enumerate(chosen) for sample in self._samples(place, example, chance)]
        first = self._learned(samples, folds=1)
        samples += [sample for place, example in enumerate(chosen) for sample in self._hard(place, example, first)]
        self._ridge = self._learned(samples)

    def find(self, channels: Array) -> list[Found]:
        """The boxes of an image by falling confidence, at most ``MOST_BOXES`` of them."""
        confidences = self._ridge.confidences(window_vectors(channels, self._windows))
        found = [
            Found(RatioBox(label, *map(float, self._windows[place])), round(float(confidences[place, number]), 6))
            for number, label in enumerate(self.labels)
            for place in _apart(self._windows, confidences[:, number])
        ]
        return sorted(found, key=lambda each: -each.confidence)[:MOST_BOXES]

    # Learning

    def _learned(self, samples: list[_Sample], folds: int = FOLDS) -> Ridge:
        vectors = np.concatenate([sample.vectors for sample in samples])
        truth = np.concatenate([sample.truth for sample in samples])
        groups = np.concatenate([np.full(len(sample.truth), sample.image) for sample in samples])
        return Ridge(vectors, truth, groups, folds=folds)

    def _samples(self, image: int, example: Example, chance: np.random.Generator) -> list[_Sample]:
        """The boxes of an image, also in a mirror, and windows that are far from all of them."""
        boxes = np.array([box[1:] for box in example.boxes])
        truth = np.array([[box.label == label for label in self.labels] for box in example.boxes])
        turned = boxes.copy()
        turned[:, 0] = 1 - boxes[:, 0] - boxes[:, 2]
        far = np.flatnonzero(overlaps(self._windows, boxes).max(axis=1) < _FAR)
        far = chance.permutation(far)[: _NEGATIVES * len(boxes)]
        return [
            _Sample(image, window_vectors(example.channels, boxes), truth),
            _Sample(image, window_vectors(mirrored(example.channels), turned), truth),
            self._negatives(image, example, far),
        ]

    def _hard(self, image: int, example: Example, model: Ridge) -> list[_Sample]:
        """Windows that a first model takes for a label, and that are far from all boxes of it."""
        confidences = model.confidences(window_vectors(example.channels, self._windows)).max(axis=1)
        boxes = np.array([box[1:] for box in example.boxes])
        confidences[overlaps(self._windows, boxes).max(axis=1) >= _FAR] = 0
        return [self._negatives(image, example, np.argsort(-confidences)[:_HARD])]

    def _negatives(self, image: int, example: Example, places: NDArray[np.int64]) -> _Sample:
        vectors = window_vectors(example.channels, self._windows[places])
        return _Sample(image, vectors, np.zeros((len(places), len(self.labels)), dtype=bool))


class _Sample(NamedTuple):
    image: int
    vectors: Array
    truth: NDArray[np.bool_]


def overlaps(ones: Array, others: Array) -> Array:
    """Intersection over union of each of ``ones`` (left, top, width, height) with each of ``others``."""
    left = np.maximum(ones[:, None, 0], others[None, :, 0])
    top = np.maximum(ones[:, None, 1], others[None, :, 1])
    right = np.minimum(ones[:, None, 0] + ones[:, None, 2], others[None, :, 0] + others[None, :, 2])
    bottom = np.minimum(ones[:, None, 1] + ones[:, None, 3], others[None, :, 1] + others[None, :, 3])
    shared = np.clip(right - left, 0, None) * np.clip(bottom - top, 0, None)
    areas = (ones[:, 2] * ones[:, 3])[:, None] + (others[:, 2] * others[:, 3])[None]
    shares: Array = shared / np.maximum(areas - shared, 1e-12)
    return shares


def _windows(examples: Sequence[Example]) -> Array:
    """Windows of a few typical sizes at every quarter of their side."""
    sizes = np.array([box[3:] for example in examples for box in example.boxes])
    sizes = sizes[np.argsort(sizes.prod(axis=1))]
    typical = [part.mean(axis=0) for part in np.array_split(sizes, min(_SIZES, len(sizes)))]
    windows = [
        (left, top, width, height)
        for width, height in np.clip(np.unique(np.round(typical, 3), axis=0), 0.05, 1)
        for left in np.linspace(0, 1 - width, 1 + round((1 - width) / (width * _STRIDE)))
        for top in np.linspace(0, 1 - height, 1 + round((1 - height) / (height * _STRIDE)))
    ]
    step = -(-len(windows) // _MOST_WINDOWS)
    return np.array(windows[::step])


def _apart(windows: Array, confidences: Array) -> list[int]:
    """The windows of highest confidence that hardly overlap."""
    order = np.argsort(-confidences, kind="stable")[: 10 * MOST_BOXES]
    shares = overlaps(windows[order], windows[order])
    kept: list[int] = []
    for place in range(len(order)):
        if len(kept) < MOST_BOXES and (not kept or shares[place, kept].max() < _FAR):
            kept.append(place)
    return [int(order[place]) for place in kept]
