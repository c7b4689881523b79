"""How good a model is on the images of its test: thresholds, precision, recall, F1, as the service counts them.

The assumed threshold of a label is the confidence that gives the best F1 on the test images; the figures of the whole
model are the means of those of its labels (Custom Labels guide, *Metrics for evaluating your model*).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

NO_THRESHOLD: Final = 0.5
"""The threshold of a label that no test image has."""


class Scored(NamedTuple):
    """A prediction of one label: its confidence, and whether it is right."""

    confidence: float
    is_right: bool


class LabelMetrics(NamedTuple):
    """The figures of one label; ``images`` is the number of test images that have it."""

    label: str
    precision: float
    recall: float
    f1: float
    threshold: float
    average_precision: float
    average_recall: float
    images: int


class Means(NamedTuple):
    """The figures of a model."""

    precision: float
    recall: float
    f1: float
    average_precision: float
    average_recall: float


def label_metrics(label: str, scored: Iterable[Scored], truths: int, images: int) -> LabelMetrics:
    """The figures of one label.

    Args:
        label: Its name.
        scored: Its predictions on all test images.
        truths: How many of them there should be: images, or boxes.
        images: How many test images have the label.
    """
    rows = sorted(scored, key=lambda row: -row.confidence)
    best, threshold = (0.0, 0.0, 0.0), NO_THRESHOLD
    right, average = 0, 0.0
    for place, row in enumerate(rows, 1):
        right += row.is_right
        average += right / place if row.is_right else 0.0
        is_last_of_equals = place == len(rows) or rows[place].confidence < row.confidence
        figures = _figures(right, place, truths)
        if is_last_of_equals and figures[2] > best[2]:
            best, threshold = figures, _between(rows, place)
    precision, recall, f1 = best
    return LabelMetrics(
        label=label,
        precision=precision,
        recall=recall,
        f1=f1,
        threshold=threshold,
        average_precision=average / truths if truths else 0.0,
        average_recall=right / truths if truths else 0.0,
        images=images,
    )


def means(labels: Sequence[LabelMetrics]) -> Means:
    """The figures of a model: means over the labels that a test image has."""
    tested = [label for label in labels if label.images] or labels
    number = max(1, len(tested))
    return Means(
        sum(label.precision for label in tested) / number,
        sum(label.recall for label in tested) / number,
        sum(label.f1 for label in tested) / number,
        sum(label.average_precision for label in tested) / number,
        sum(label.average_recall for label in tested) / number,
    )


def confusion(
    truths: Sequence[frozenset[str]], confidences: Sequence[Mapping[str, float]], thresholds: Mapping[str, float]
) -> list[tuple[str, str, float]]:
    """For each pair of labels the share of images of the first in which the second was found, as far as any were."""
    rows = []
    for truth in thresholds:
        having = [found for labels, found in zip(truths, confidences, strict=True) if truth in labels]
        for label, threshold in thresholds.items():
            share = sum(found[label] >= threshold for found in having) / len(having) if having else 0.0
            if share:
                rows.append((truth, label, share))
    return rows


def _between(rows: Sequence[Scored], place: int) -> float:
    """The middle between the last of the first ``place`` confidences and the next lower one."""
    last = rows[place - 1].confidence
    if place == len(rows):
        return last
    middle = round((last + rows[place].confidence) / 2, 6)
    return middle if middle > rows[place].confidence else last


def _figures(right: int, found: int, truths: int) -> tuple[float, float, float]:
    precision, recall = right / found, right / truths if truths else 0.0
    return precision, recall, 2 * precision * recall / (precision + recall) if right else 0.0
