"""Words about an evaluation, for terminal and page: figures, and labels of an image beside its predictions."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from asyncfilter.custom_labels.evaluation.evaluation import Evaluation
from asyncfilter.custom_labels.evaluation.model import MISTAKES, PredictionOutcome, SnapshotImage, Truth
from asyncfilter.datasets.manifests.tally import UseCase

USE_CASES = {
    UseCase.IMAGE: "labels of whole images",
    UseCase.BOXES: "boxes around objects",
    UseCase.UNKNOWN: "neither labels nor boxes",
}
"""What a model finds."""

OUTCOME_WORDS = {
    PredictionOutcome.TRUE_POSITIVE: "right",
    PredictionOutcome.FALSE_POSITIVE: "wrong",
    PredictionOutcome.FALSE_NEGATIVE: "missed",
    PredictionOutcome.TRUE_NEGATIVE: "rightly not predicted",
}
"""What a prediction is."""

WHY_BOTH = (
    "AWS's figures cannot always be counted again from its own snapshot. "
    "Both are shown, and neither stands for the other."
)

NOT_COMPARABLE = "The test images differ, so the F1 scores do not show which version is better."


_MOMENT = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})T([0-9]{2}:[0-9]{2})")


class LabelOutcome(NamedTuple):
    """A label that was predicted, or missed; the confidence is None without a prediction."""

    label: str
    confidence: float | None
    outcome: PredictionOutcome


def figure(value: float | None) -> str:
    """``0.876``, or a dash where there is none."""
    return "-" if value is None else f"{value:.3f}"


def delta(value: float | None) -> str:
    """``+0.012``, or a dash where there is none."""
    return "-" if value is None else f"{value:+.3f}"


def truth_text(truths: Iterable[Truth]) -> str:
    """``dress, 2 x hat``, or ``none``."""
    counts = Counter(truth.label for truth in truths)
    names = [label if number == 1 else f"{number} x {label}" for label, number in counts.items()]
    return ", ".join(names) or "none"


def outcomes_of(image: SnapshotImage) -> Sequence[LabelOutcome]:
    """The predictions about an image without true negatives, then the labels without a prediction.

    Boxes keep the order of the snapshot; labels of the whole image are ordered by confidence.
    """
    predicted = [
        LabelOutcome(one.label, one.confidence, one.outcome)
        for one in image.predictions
        if one.outcome is not None and one.outcome is not PredictionOutcome.TRUE_NEGATIVE
    ]
    if image.size is None:
        predicted.sort(key=lambda one: -(one.confidence or 0))
    return predicted + [LabelOutcome(truth.label, None, PredictionOutcome.FALSE_NEGATIVE) for truth in image.missed]


def images_with_mistakes(found: Evaluation) -> Sequence[SnapshotImage]:
    """Images with a mistake: those of which the model was surest, and wrong, come first."""
    return sorted(
        (image for image in found.snapshot.images if image.has_mistake),
        key=lambda image: (
            -max(
                (one.confidence for one in image.predictions if one.outcome is PredictionOutcome.FALSE_POSITIVE),
                default=0,
            )
        ),
    )


def wrong_labels(image: SnapshotImage) -> Sequence[str]:
    """The labels about which there is a mistake, each once."""
    predicted = [one.label for one in image.predictions if one.outcome in MISTAKES]
    return list(dict.fromkeys([*predicted, *(truth.label for truth in image.missed)]))


def moment(text: str) -> str:
    """A moment as the service writes it, to the minute: ``2026-11-27 12:30 UTC``; anything else as it is."""
    found = _MOMENT.match(text)
    return f"{found[1]} {found[2]} UTC" if found else text


def outcome_text(predicted: LabelOutcome) -> str:
    """``shirt 0.871 wrong``; ``dress missed`` where it has no confidence."""
    confidence = "" if predicted.confidence is None else f" {predicted.confidence:.3f}"
    return f"{predicted.label}{confidence} {OUTCOME_WORDS[predicted.outcome]}"
