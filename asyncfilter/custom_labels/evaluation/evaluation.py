"""The evaluation of one version: the service's figures, the recounted ones beside them, and every mistake."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec

from asyncfilter.custom_labels.evaluation.curves import CurvePoint, curves_of
from asyncfilter.custom_labels.evaluation.metrics import LabelTally, Recount, mistakes, recount
from asyncfilter.custom_labels.evaluation.model import (
    LabelResult,
    Mistake,
    PrecisionRecall,
    ServiceSummary,
    SnapshotImage,
)
from asyncfilter.custom_labels.evaluation.snapshot import Snapshot
from asyncfilter.datasets.manifests.tally import UseCase


class LabelReport(msgspec.Struct, frozen=True, kw_only=True):
    """One label: the service's result, and what the snapshot comes to.

    Attributes:
        result: The service's; without figures where the summary does not have the label.
        tally: Counted from the snapshot.
        truths: Labels or boxes of it that the test images have.
    """

    result: LabelResult
    tally: LabelTally
    truths: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What is known of one version.

    Attributes:
        summary: The service's own figures.
        snapshot: The test images.
        use_case: Whether it classifies images or finds boxes.
        labels: Those of the summary in its order, then those that only the snapshot has.
        recount: Counted from the snapshot.
        curves: Of each label that some image has; None without scikit-learn, and where they are not wanted.
        mistakes: In the order of the snapshot.
    """

    summary: ServiceSummary
    snapshot: Snapshot
    use_case: UseCase
    labels: Sequence[LabelReport]
    recount: Recount
    curves: Mapping[str, Sequence[CurvePoint]] | None
    mistakes: Sequence[Mistake]

    @property
    def name(self) -> str:
        """The version, or the file where it has no name."""
        return self.summary.version or self.summary.file

    def named(self, *, project: str, version: str) -> Evaluation:
        """The same, under names that are known from elsewhere."""
        return replace(self, summary=msgspec.structs.replace(self.summary, project=project, version=version))

    def notices(self) -> Iterator[str]:
        """What a reader of the figures should know of the files."""
        tested, seen = self.summary.testing_images, len(self.snapshot.images)
        if tested is not None and tested != self.snapshot.lines:
            yield f"the summary counts {tested:,} test images, the snapshot has {self.snapshot.lines:,}"
        if self.snapshot.left_out:
            yield (
                f"{self.snapshot.left_out:,} of {self.snapshot.lines:,} lines of the snapshot cannot be read and are "
                f"left out; the recount is of the other {seen:,}"
            )
        unjudged = sum(one.outcome is None for image in self.snapshot.images for one in image.predictions)
        if unjudged:
            yield f"{unjudged:,} predictions have no outcome in the snapshot's details, and count as none"


def evaluate(summary: ServiceSummary, snapshot: Snapshot, *, draws_curves: bool = True) -> Evaluation:
    """Count what a snapshot holds, beside the figures of a summary.

    Args:
        summary: The service's own figures.
        snapshot: The test images.
        draws_curves: False where the curves are not shown; to load their library takes seconds.
    """
    counted = recount(snapshot.images)
    return Evaluation(
        summary=summary,
        snapshot=snapshot,
        use_case=_use_case(summary, snapshot.images),
        labels=_labels(summary, counted, snapshot.images),
        recount=counted,
        curves=curves_of(snapshot.images) if draws_curves else None,
        mistakes=tuple(mistakes(snapshot.images)),
    )


def _labels(summary: ServiceSummary, counted: Recount, images: Sequence[SnapshotImage]) -> list[LabelReport]:
    truths = Counter(truth.label for image in images for truth in image.truths)
    known = {result.label for result in summary.labels}
    others = [LabelResult(label=label) for label in counted.labels if label not in known]
    return [
        LabelReport(result=result, tally=counted.labels.get(result.label, LabelTally()), truths=truths[result.label])
        for result in (*summary.labels, *others)
    ]


def _use_case(summary: ServiceSummary, images: Sequence[SnapshotImage]) -> UseCase:
    """What the predictions are; without any, what the summary has figures for."""
    kinds = Counter(one.frame is not None for image in images for one in image.predictions)
    kinds.update(one.frame is not None for image in images for one in image.truths)
    if kinds[True] or kinds[False]:
        return UseCase.BOXES if kinds[True] >= kinds[False] else UseCase.IMAGE
    return {True: UseCase.BOXES, False: UseCase.IMAGE, None: UseCase.UNKNOWN}[summary.finds_objects]


# -- For programs ------------------------------------------------------------------------------------------------------


def evaluation_mapping(found: Evaluation, comparison: Mapping[str, object] | None) -> dict[str, object]:
    """The fields of ``--json``: figures without ``recomputed`` are the service's own."""
    summary, counted = found.summary, found.recount
    return {
        "project": summary.project,
        "version": summary.version,
        "use_case": found.use_case.value,
        **_figures(summary.figures),
        "average_precision": summary.average_precision,
        "average_recall": summary.average_recall,
        "training_images": summary.training_images,
        "testing_images": summary.testing_images,
        "labels": [_label(report) for report in found.labels],
        "confusion": list(summary.confusion),
        "recomputed": {
            "micro": counted.total.figures,
            "macro": counted.macro,
            **counted.total._asdict(),
        },
        "curves": found.curves,
        "mistakes": list(found.mistakes),
        "comparison": comparison,
        "images": [_image(image) for image in found.snapshot.images],
        "evaluated_at": summary.ended,
        "arn": summary.arn,
        "snapshot_lines": found.snapshot.lines,
        "left_out": found.snapshot.left_out,
        "problems": [problem._asdict() for problem in found.snapshot.problems],
        "notices": list(found.notices()),
    }


def bare_mapping(*, project: str, version: str) -> dict[str, object]:
    """The fields of ``--json`` where there is no evaluation."""
    known = {"project": project, "version": version, "labels": [], "confusion": [], "mistakes": []}
    names = (
        "project version use_case f1 precision recall average_precision average_recall training_images testing_images "
        "labels confusion recomputed curves mistakes comparison"
    )
    return {name: known.get(name) for name in names.split()}


def _figures(found: PrecisionRecall) -> dict[str, float | None]:
    return {"f1": found.f1, "precision": found.precision, "recall": found.recall}


def _label(report: LabelReport) -> dict[str, object]:
    result, figures = report.result, report.result.figures
    return {
        "label": result.label,
        "precision": figures.precision,
        "recall": figures.recall,
        "f1": figures.f1,
        "threshold": result.threshold,
        "test_images": result.test_images,
        "recomputed": {**report.tally._asdict(), **msgspec.structs.asdict(report.tally.figures)},
    }


def _image(image: SnapshotImage) -> dict[str, object]:
    """One test image: its labels and its predictions."""
    return {
        "source_ref": image.source_ref,
        "truth": [truth.label for truth in image.truths],
        "predicted": [
            {"label": one.label, "confidence": one.confidence, "outcome": one.outcome, "index": one.index}
            for one in image.predictions
        ],
        "missed": [truth.label for truth in image.missed],
    }
