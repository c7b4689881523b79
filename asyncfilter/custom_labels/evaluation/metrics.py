"""Figures counted from a snapshot: how often each label was predicted rightly, wrongly, or missed.

True and false positives and false negatives are those of the service's own details; a label or a box without a
prediction about it is a false negative as well. So true positives and false negatives together are the labels that the
images have. True negatives are no mistake, and are not counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

from asyncfilter.custom_labels.evaluation.model import (
    MISTAKES,
    Mistake,
    PrecisionRecall,
    PredictionOutcome,
    SnapshotImage,
)


class LabelTally(NamedTuple):
    """How often a label was predicted rightly, wrongly, or missed.

    Attributes:
        tp: True positives.
        fp: False positives.
        fn: False negatives.
    """

    tp: int = 0
    fp: int = 0
    fn: int = 0

    def plus(self, outcome: PredictionOutcome | None) -> LabelTally:
        """One more prediction."""
        match outcome:
            case PredictionOutcome.TRUE_POSITIVE:
                return self._replace(tp=self.tp + 1)
            case PredictionOutcome.FALSE_POSITIVE:
                return self._replace(fp=self.fp + 1)
            case PredictionOutcome.FALSE_NEGATIVE:
                return self._replace(fn=self.fn + 1)
            case _:
                return self

    @property
    def figures(self) -> PrecisionRecall:
        """Precision, recall and F1; 0 where one is undefined, as scikit-learn has it, and None without any case."""
        if not any(self):
            return PrecisionRecall()
        return PrecisionRecall(
            precision=_ratio(self.tp, self.tp + self.fp),
            recall=_ratio(self.tp, self.tp + self.fn),
            f1=_ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn),
        )


class Recount(NamedTuple):
    """What a snapshot comes to.

    Attributes:
        labels: The tally of each label, in the order of first appearance.
        total: All labels together; its figures are the micro average.
    """

    labels: Mapping[str, LabelTally]
    total: LabelTally

    @property
    def macro(self) -> PrecisionRecall:
        """The mean of the labels' figures, without labels that have no case."""
        known = [tally.figures for tally in self.labels.values() if any(tally)]
        if not known:
            return PrecisionRecall()
        return PrecisionRecall(
            precision=fmean(one.precision or 0 for one in known),
            recall=fmean(one.recall or 0 for one in known),
            f1=fmean(one.f1 or 0 for one in known),
        )


def recount(images: Sequence[SnapshotImage]) -> Recount:
    """Count all predictions and all labels that none of them names."""
    labels: dict[str, LabelTally] = {}
    for image in images:
        for truth in image.truths:
            labels.setdefault(truth.label, LabelTally())
        for found in image.predictions:
            labels[found.label] = labels.get(found.label, LabelTally()).plus(found.outcome)
        for truth in image.missed:
            labels[truth.label] = labels[truth.label].plus(PredictionOutcome.FALSE_NEGATIVE)
    totals = zip(*labels.values(), strict=True) if labels else ()
    return Recount(labels, LabelTally(*map(sum, totals)))


def mistakes(images: Sequence[SnapshotImage]) -> Iterator[Mistake]:
    """All false positives and false negatives, in the order of the snapshot."""
    for image in images:
        for found in image.predictions:
            if found.outcome is not None and found.outcome in MISTAKES:
                yield Mistake(image.source_ref, found.label, found.outcome, found.confidence, found.index)
        for truth in image.missed:
            yield Mistake(image.source_ref, truth.label, PredictionOutcome.FALSE_NEGATIVE, None, None)


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
