"""Kernel ridge regression of several labels, with confidences between 0 and 1.

The confidence of a label is a sigmoid of its score, fitted to scores of images that were left out (Platt 1999).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from asyncfilter.sandbox.custom_labels.learning.features import Array

Truth = NDArray[np.bool_]
RIDGE: Final = 0.1
FOLDS: Final = 5
_SPREAD: Final = 0.02
_STEPS: Final = 30


class Ridge:
    """Learns from vectors with labels.

    Args:
        vectors: One row an example.
        truth: For each example and label whether it has it.
        groups: The image of each example: those of one image are left out together.
        scales: The weight of each number of a vector; None for equal ones.
        folds: How often a share of the images is left out; below 2, confidences are only good for their order.
    """

    def __init__(
        self,
        vectors: Array,
        truth: Truth,
        groups: NDArray[np.int64],
        *,
        scales: Array | None = None,
        folds: int = FOLDS,
    ) -> None:
        self._mean = vectors.mean(axis=0)
        self._factors = (1 if scales is None else scales) / (vectors.std(axis=0) + _SPREAD)
        self._known = self._scaled(vectors)
        distances = _distances(self._known, self._known)
        middle = float(np.median(distances))
        self._gamma = 1 / middle if middle > 0 else 1.0
        kernel = np.exp(-self._gamma * distances)
        targets = np.where(truth, 1.0, -1.0)
        self._weights, self._base = _solved(kernel, targets)
        left_out = _left_out(kernel, targets, groups, folds)
        self._sigmoids = np.array([_sigmoid(scores, has) for scores, has in zip(left_out.T, truth.T, strict=True)])

    def confidences(self, vectors: Array) -> Array:
        """The confidence of each label for each vector."""
        kernel = np.exp(-self._gamma * _distances(self._scaled(vectors), self._known))
        scores = kernel @ self._weights + self._base
        slopes, shifts = self._sigmoids.T
        confidences: Array = 1 / (1 + np.exp(-np.clip(slopes * scores + shifts, -30, 30)))
        return confidences

    def _scaled(self, vectors: Array) -> Array:
        scaled: Array = (vectors - self._mean) * self._factors
        return scaled


def _distances(ones: Array, others: Array) -> Array:
    squares: Array = (ones**2).sum(axis=1)[:, None] + (others**2).sum(axis=1) - 2 * ones @ others.T
    return np.maximum(squares, 0)


def _solved(kernel: Array, targets: Array) -> tuple[Array, Array]:
    base = targets.mean(axis=0)
    return np.linalg.solve(kernel + RIDGE * np.eye(len(kernel)), targets - base), base


def _left_out(kernel: Array, targets: Array, groups: NDArray[np.int64], most_folds: int) -> Array:
    """The scores of all examples, each by a model that has not seen its image."""
    folds = min(most_folds, len(np.unique(groups)))
    scores = np.zeros_like(targets)
    for fold in range(folds):
        out = groups % folds == fold
        if out.all() or not out.any():
            continue
        weights, base = _solved(kernel[np.ix_(~out, ~out)], targets[~out])
        scores[out] = kernel[np.ix_(out, ~out)] @ weights + base
    return scores


def _sigmoid(scores: Array, has: Truth) -> tuple[float, float]:
    """Slope and shift of the sigmoid that fits best; the slope is never negative."""
    positives, negatives = int(has.sum()), int((~has).sum())
    wanted = np.where(has, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    slope, shift = 1.0, float(np.log((positives + 1) / (negatives + 1)))
    for _ in range(_STEPS):
        found = 1 / (1 + np.exp(-np.clip(slope * scores + shift, -30, 30)))
        wrong, weight = found - wanted, found * (1 - found) + 1e-9
        gradient = np.array([(wrong * scores).sum() + 1e-3 * slope, wrong.sum()])
        mixed = (weight * scores).sum()
        bend = np.array([[(weight * scores**2).sum() + 1e-3, mixed], [mixed, weight.sum() + 1e-6]])
        step = np.linalg.solve(bend, gradient)
        slope, shift = float(np.clip(slope - step[0], 0.01, 50)), float(shift - np.clip(step[1], -5, 5))
        if np.abs(step).max() < 1e-6:
            break
    return slope, shift
