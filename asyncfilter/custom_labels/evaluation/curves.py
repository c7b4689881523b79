"""Precision and recall of each label at every threshold, from the confidences in a snapshot.

scikit-learn computes them; it is a part of the extra ``datasets``. A curve begins at the lowest confidence that the
snapshot has of its label: what the service left out below that is not known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from asyncfilter.custom_labels.evaluation.model import SnapshotImage

NO_LIBRARY = (
    "precision-recall curves need scikit-learn, which is not installed; all other figures are there: "
    "pip install 'asyncfilter[datasets]'"
)

_NEVER = -1.0
"""Stands for the confidence of what was not found at any threshold."""


class CurvePoint(msgspec.Struct, frozen=True, gc=False):
    """Precision, recall and F1 of one label if all predictions from ``threshold`` on counted."""

    threshold: float
    precision: float
    recall: float
    f1: float


def curves_of(images: Sequence[SnapshotImage]) -> Mapping[str, Sequence[CurvePoint]] | None:
    """The curve of each label that some image has, thresholds rising; None without scikit-learn."""
    try:
        from sklearn.metrics import precision_recall_curve  # noqa: PLC0415  part of an extra, and slow to import
    except ImportError:
        return None
    return {
        label: _curve(precision_recall_curve, *scores) for label, scores in _scores(images).items() if any(scores[0])
    }


def _scores(images: Sequence[SnapshotImage]) -> dict[str, tuple[list[bool], list[float]]]:
    """For each label, whether each of its predictions is right, and its confidence."""
    found: dict[str, tuple[list[bool], list[float]]] = {}
    for image in images:
        for one in image.predictions:
            right, confidences = found.setdefault(one.label, ([], []))
            right.append(one.is_in_truth)
            confidences.append(one.confidence)
        for truth in image.missed:
            right, confidences = found.setdefault(truth.label, ([], []))
            right.append(True)
            confidences.append(_NEVER)
    return found


def _curve(compute: Any, right: list[bool], confidences: list[float]) -> list[CurvePoint]:  # noqa: ANN401  untyped library
    precisions, recalls, thresholds = (values.tolist() for values in compute(right, confidences))
    return [
        CurvePoint(threshold, precision, recall, _f1(precision, recall))
        for threshold, precision, recall in zip(thresholds, precisions, recalls, strict=False)
        if threshold != _NEVER
    ]


def _f1(precision: float, recall: float) -> float:
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0
