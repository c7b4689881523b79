"""What an evaluation summary and a test snapshot hold. Confidences, thresholds and shares are 0 to 1."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import msgspec

from asyncfilter.datasets.manifests.model import ImageSize

MAX_LABEL_CHARS = 1_000
"""Longest label that is read; the service's own have up to 256 characters."""


class PredictionOutcome(StrEnum):
    """What a prediction is, by the confidence that it has and the threshold of its label."""

    TRUE_POSITIVE = "tp"
    FALSE_POSITIVE = "fp"
    FALSE_NEGATIVE = "fn"
    """The label belongs to the image, and the confidence is below the threshold; or there is no prediction."""
    TRUE_NEGATIVE = "tn"
    """The label does not belong to the image, and the confidence is below the threshold: no mistake."""


MISTAKES = frozenset({PredictionOutcome.FALSE_POSITIVE, PredictionOutcome.FALSE_NEGATIVE})


class Frame(msgspec.Struct, frozen=True, gc=False):
    """A box, in pixels of the image as the snapshot has it."""

    left: float
    top: float
    width: float
    height: float


class Truth(msgspec.Struct, frozen=True):
    """A label that an image has, or one of its boxes; ``frame`` is None for a label of the whole image."""

    label: str
    frame: Frame | None = None


class Prediction(msgspec.Struct, frozen=True):
    """One prediction of the model about a test image.

    Attributes:
        label: The label.
        confidence: 0 to 1.
        outcome: As the service judged it; None where it did not.
        is_in_truth: Whether the label, or the box, is one of the image, whatever the confidence.
        frame: None for a label of the whole image.
        index: Of the box in its attribute, from 0; of a label of the whole image the number of its attribute, None
            where that has none.
    """

    label: str
    confidence: float
    outcome: PredictionOutcome | None
    is_in_truth: bool
    frame: Frame | None = None
    index: int | None = None


class SnapshotImage(msgspec.Struct, frozen=True, kw_only=True):
    """One test image.

    Attributes:
        source_ref: Its address.
        line: In the snapshot, from 1.
        size: In which its boxes are; None without boxes.
        truths: What it has.
        predictions: Those of the model, in the order of the line.
        missed: Those of ``truths`` without a prediction about them, which are false negatives, too.
    """

    source_ref: str
    line: int
    size: ImageSize | None
    truths: Sequence[Truth]
    predictions: Sequence[Prediction]
    missed: Sequence[Truth]

    @property
    def has_mistake(self) -> bool:
        """Whether a label or a box is wrong, or missing."""
        return bool(self.missed) or any(one.outcome in MISTAKES for one in self.predictions)


class Mistake(msgspec.Struct, frozen=True):
    """A false positive or a false negative, with the names of ``--json``.

    Attributes:
        source_ref: The image.
        label: The label that was predicted, or missed.
        outcome: ``fp`` or ``fn``.
        confidence: Of the prediction; None where there is none.
        index: As in ``Prediction``; None without a prediction.
    """

    source_ref: str
    label: str
    outcome: PredictionOutcome
    confidence: float | None
    index: int | None


class PrecisionRecall(msgspec.Struct, frozen=True):
    """Precision, recall and their harmonic mean; None where they are not known."""

    precision: float | None = None
    recall: float | None = None
    f1: float | None = None


class LabelResult(msgspec.Struct, frozen=True, kw_only=True):
    """The service's result for one label.

    Attributes:
        label: The label.
        figures: At the threshold.
        threshold: The *assumed threshold*, which the service chose for the best F1 on the test images.
        test_images: That have the label.
    """

    label: str
    figures: PrecisionRecall = PrecisionRecall()
    threshold: float | None = None
    test_images: int | None = None


class Confusion(msgspec.Struct, frozen=True):
    """A cell of the confusion matrix: the share of the images of ``truth`` that were taken for ``predicted``."""

    truth: str
    predicted: str
    share: float


class ServiceSummary(msgspec.Struct, frozen=True, kw_only=True):
    """The service's own figures about a version; None where the file does not have one.

    Attributes:
        file: Where it was read, for messages.
        arn: Of the version; ``project`` and ``version`` are the names in it.
        ended: When the evaluation ended, as the file has it.
        figures: Over all labels.
        average_precision: Of a model that finds boxes; ``average_recall`` alike.
        training_images: Images that were trained with.
        testing_images: Images that were tested with.
        labels: In the order of the file; labels that it only names come last.
        confusion: Of a model that classifies images.
    """

    file: str
    arn: str | None = None
    project: str | None = None
    version: str | None = None
    ended: str | None = None
    figures: PrecisionRecall = PrecisionRecall()
    average_precision: float | None = None
    average_recall: float | None = None
    training_images: int | None = None
    testing_images: int | None = None
    labels: Sequence[LabelResult] = ()
    confusion: Sequence[Confusion] = ()

    @property
    def thresholds(self) -> dict[str, float]:
        """The assumed threshold of each label that has one."""
        return {one.label: one.threshold for one in self.labels if one.threshold is not None}

    @property
    def finds_objects(self) -> bool | None:
        """Whether the version finds boxes, by the figures that the summary has; None where it has none that tell."""
        if self.confusion:
            return False
        return True if self.average_precision is not None or self.average_recall is not None else None
