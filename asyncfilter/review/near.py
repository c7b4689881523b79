"""Images that are like another one: by the labels that are stored, and by how the pictures look.

Pure. Only a bounded number of images is compared: those that wait and are most uncertain.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from math import log, sqrt

from asyncfilter.policy.near_duplicates import distance

MOST_COMPARED = 10_000
"""Images that are compared; about 0.1 s for a look at all of them."""

LEAST_COSINE = 0.85
"""Images whose labels are less alike than this make no group that people would decide together."""

MAX_BITS = 10
"""Perceptual hashes (64 bits) that differ in more bits are those of different scenes."""

Labels = Mapping[str, float]
"""Confidences of labels, percent."""


class LabelVectors:
    """Labels of images as vectors: confidence times inverse document frequency, of length 1.

    A label that nearly every image has tells little, and a rare one much.

    Args:
        images: Labels by id.
    """

    def __init__(self, images: Mapping[int, Labels]) -> None:
        frequencies = Counter(name for labels in images.values() for name in labels)
        self._idf = {name: log((1 + len(images)) / count) for name, count in frequencies.items()}
        self._having: dict[str, list[tuple[int, float]]] = {}
        for id_, labels in images.items():
            for name, weight in self._vector(labels).items():
                self._having.setdefault(name, []).append((id_, weight))

    def nearest(self, id_: int, labels: Labels, limit: int) -> list[int]:
        """The ids of images that are like one with these labels, the most like first; ``id_`` is not among them."""
        products: dict[int, float] = {}
        for name, weight in self._vector(labels).items():
            for other, other_weight in self._having.get(name, ()):
                products[other] = products.get(other, 0.0) + weight * other_weight
        products.pop(id_, None)
        alike = [(-cosine, other) for other, cosine in products.items() if cosine >= LEAST_COSINE]
        return [other for _, other in sorted(alike)[:limit]]

    def _vector(self, labels: Labels) -> dict[str, float]:
        weighted = {name: pct * self._idf.get(name, 0.0) for name, pct in labels.items()}
        length = sqrt(sum(weight * weight for weight in weighted.values()))
        return {name: weight / length for name, weight in weighted.items()} if length else {}


def nearest_looks(look: int, looks: Mapping[int, int], limit: int) -> list[int]:
    """The ids of pictures that look like one with the perceptual hash ``look``, the most like first."""
    found: Sequence[tuple[int, int]] = [(distance(look, other), id_) for id_, other in looks.items()]
    return [id_ for bits, id_ in sorted(found)[:limit] if bits <= MAX_BITS]
