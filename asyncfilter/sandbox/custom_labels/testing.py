"""A model on its test images: what it finds in each, and how that compares with the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from asyncfilter.sandbox.custom_labels.judgement import JudgedLine
from asyncfilter.sandbox.custom_labels.learning.box_model import MATCH, BoxModel, Found, overlaps
from asyncfilter.sandbox.custom_labels.learning.examples import Example, RatioBox
from asyncfilter.sandbox.custom_labels.learning.image_model import ImageModel
from asyncfilter.sandbox.custom_labels.metrics import LabelMetrics, Scored, confusion, label_metrics


class Prediction(NamedTuple):
    """What was found in a test image, and whether the truth has it.

    Attributes:
        label: Its name.
        confidence: From 0 to 1.
        is_present: Whether the truth has it.
        box: Where; None for a label of the whole image.
    """

    label: str
    confidence: float
    is_present: bool
    box: RatioBox | None = None

    def details(self, thresholds: Mapping[str, float]) -> dict[str, Any]:
        """What the snapshot says of it."""
        is_positive = self.confidence >= thresholds[self.label]
        return {
            "version": 1,
            "is-true-positive": self.is_present and is_positive,
            "is-true-negative": not self.is_present and not is_positive,
            "is-false-positive": not self.is_present and is_positive,
            "is-false-negative": self.is_present and not is_positive,
            "is-present-in-ground-truth": self.is_present,
            "ground-truth-labelling-jobs": ["rekognition-custom-labels-training-job"],
        }


class TestResult(NamedTuple):
    """The result of a test.

    Attributes:
        lines: Of the images that were tested, with what was found in each.
        labels: The figures of each label, the best first.
        confusion: For image-level labels: truth, label that was found, share.
    """

    lines: list[tuple[JudgedLine, list[Prediction]]]
    labels: list[LabelMetrics]
    confusion: list[tuple[str, str, float]]

    @property
    def thresholds(self) -> dict[str, float]:
        """The assumed threshold of each label."""
        return {label.label: label.threshold for label in self.labels}


Tested = Sequence[tuple[JudgedLine, Example]]


def run_test(model: ImageModel | BoxModel, tested: Tested) -> TestResult:
    """Test a model."""
    if isinstance(model, ImageModel):
        found = [(line, _labels_found(model, example)) for line, example in tested]
        truths = [example.labels for _, example in tested]
        counted = [list(labels) for labels in truths]
    else:
        found = [(line, _boxes_found(model, example)) for line, example in tested]
        truths = [frozenset(box.label for box in example.boxes) for _, example in tested]
        counted = [[box.label for box in example.boxes] for _, example in tested]
    metrics = [_metrics(label, found, counted) for label in model.labels]
    metrics.sort(key=lambda label: (-label.f1, label.label))
    result = TestResult(found, metrics, [])
    if isinstance(model, BoxModel):
        return result
    confidences = [{each.label: each.confidence for each in predictions} for _, predictions in found]
    return result._replace(confusion=confusion(truths, confidences, dict(sorted(result.thresholds.items()))))


def _metrics(label: str, found: list[tuple[JudgedLine, list[Prediction]]], truths: list[list[str]]) -> LabelMetrics:
    scored = [
        Scored(each.confidence, each.is_present)
        for _, predictions in found
        for each in predictions
        if each.label == label
    ]
    images = sum(label in labels for labels in truths)
    return label_metrics(label, scored, sum(labels.count(label) for labels in truths), images)


def _labels_found(model: ImageModel, example: Example) -> list[Prediction]:
    confidences = zip(model.labels, model.confidences(example.channels), strict=True)
    found = [Prediction(label, confidence, label in example.labels) for label, confidence in confidences]
    return sorted(found, key=lambda each: -each.confidence)


def _boxes_found(model: BoxModel, example: Example) -> list[Prediction]:
    """The boxes that are found; each box of the truth is present in the first that matches it."""
    found = model.find(example.channels)
    left = list(example.boxes)
    predictions = []
    for each in found:
        match = _match(each, left)
        if match is not None:
            left.remove(match)
        predictions.append(Prediction(each.box.label, each.confidence, match is not None, each.box))
    return predictions


def _match(found: Found, truths: Sequence[RatioBox]) -> RatioBox | None:
    """The box of the truth that a box matches best; None if it matches none."""
    mine = [box for box in truths if box.label == found.box.label]
    if not mine:
        return None
    shares = overlaps(np.array([found.box[1:]]), np.array([box[1:] for box in mine]))[0]
    best = int(shares.argmax())
    return mine[best] if shares[best] >= MATCH else None
