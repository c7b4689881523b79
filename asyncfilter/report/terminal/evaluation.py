"""Output of ``model evaluate``: the service's figures, the recounted ones beside them, and where the model errs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table

from asyncfilter.custom_labels.evaluation.comparison import Comparison
from asyncfilter.custom_labels.evaluation.evaluation import Evaluation, LabelReport
from asyncfilter.custom_labels.evaluation.model import PrecisionRecall, PredictionOutcome, SnapshotImage
from asyncfilter.report.evaluation import (
    NOT_COMPARABLE,
    USE_CASES,
    WHY_BOTH,
    delta,
    figure,
    images_with_mistakes,
    moment,
    outcome_text,
    outcomes_of,
    truth_text,
)
from asyncfilter.report.formatting import count
from asyncfilter.report.terminal.facts import Facts
from asyncfilter.report.terminal.text import Text

WIDE_COLUMNS = 72
"""From this width on the labels stand in one table."""

IMAGES_SHOWN = 20
"""Images with mistakes that are shown; ``--json`` and ``--html`` have more."""

CONFUSIONS_SHOWN = 10
"""Pairs of labels that are shown, those that are confused most."""

_STYLES = {
    PredictionOutcome.TRUE_POSITIVE: "green",
    PredictionOutcome.FALSE_POSITIVE: "red",
    PredictionOutcome.FALSE_NEGATIVE: "yellow",
}


def draw_evaluation(found: Evaluation, comparison: Comparison | None) -> RenderableType:
    """All of it, for people."""
    parts: list[RenderableType] = [_head(found), Text(), _figures(found), Text(WHY_BOTH, "dim"), Text()]
    parts += [Text("labels", "bold"), _Labels(found.labels), Text()]
    if found.summary.confusion:
        parts += [*_confusion(found), Text()]
    if comparison is not None:
        parts += [*_comparison(comparison), Text()]
    parts += _mistakes(found)
    return Group(*parts)


def _head(found: Evaluation) -> RenderableType:
    summary = found.summary
    images = f"{_number(summary.training_images)} trained with, {_number(summary.testing_images)} tested with"
    rows = [("project", summary.project or "-"), ("version", found.name)]
    rows += [("finds", USE_CASES[found.use_case]), ("images", images)]
    if summary.ended:
        rows.append(("evaluated", moment(summary.ended)))
    notices = [("caution", Text(notice, "yellow")) for notice in found.notices()]
    return Facts([*rows, *notices])


def _number(value: int | None) -> str:
    return "?" if value is None else count(value)


def _figures(found: Evaluation) -> RenderableType:
    table = _table("", "F1", "precision", "recall")
    summary, total = found.summary, found.recount.total
    table.add_row(Text("AWS", "bold"), *_cells(summary.figures))
    table.add_row("recounted", *_cells(total.figures))
    table.add_row("  label mean", *_cells(found.recount.macro))
    boxes = [
        Text(f"AWS: {name} {figure(value)}")
        for name, value in (
            ("average precision", summary.average_precision),
            ("average recall", summary.average_recall),
        )
        if value is not None
    ]
    counted = f"{count(total.tp)} right, {count(total.fp)} wrong, {count(total.fn)} missed"
    return Group(table, *boxes, Text(f"recounted: {counted}"))


def _cells(figures: PrecisionRecall) -> Iterator[str]:
    return map(figure, (figures.f1, figures.precision, figures.recall))


def _table(*heads: str) -> Table:
    """A table whose first column is text and whose others are numbers."""
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    for number, head in enumerate(heads):
        table.add_column(head, justify="right" if number else "left", overflow="fold", no_wrap=bool(number))
    return table


class _Labels:
    """The labels: one table where there is room, else lines of each."""

    def __init__(self, labels: Sequence[LabelReport]) -> None:
        self._labels = labels

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from self._wide() if options.max_width >= WIDE_COLUMNS else self._narrow()

    def _wide(self) -> Iterable[RenderableType]:
        table = _table("", "F1", "precision", "recall", "threshold", "images", "recount", "tp", "fp", "fn")
        for one in self._labels:
            result = one.result
            table.add_row(
                result.label,
                *_cells(result.figures),
                figure(result.threshold),
                "-" if result.test_images is None else count(result.test_images),
                figure(one.tally.figures.f1),
                *map(count, one.tally),
            )
        yield table

    def _narrow(self) -> Iterable[RenderableType]:
        for one in self._labels:
            result, tally = one.result, one.tally
            yield Text(result.label, "bold")
            yield Text(f"  AWS F1 {figure(result.figures.f1)}, threshold {figure(result.threshold)}")
            yield Text(f"  recount {figure(tally.figures.f1)}: {tally.tp} tp {tally.fp} fp {tally.fn} fn")


def _confusion(found: Evaluation) -> Iterator[RenderableType]:
    wrong = [cell for cell in found.summary.confusion if cell.truth != cell.predicted and cell.share]
    wrong.sort(key=lambda cell: -cell.share)
    if not wrong:
        yield Text("no label was taken for another (AWS)")
        return
    yield Text("taken for another label most (AWS)", "bold")
    for cell in wrong[:CONFUSIONS_SHOWN]:
        yield Text(f"  {100 * cell.share:5.1f} %  {cell.truth} for {cell.predicted}")
    if len(wrong) > CONFUSIONS_SHOWN:
        yield Text(f"  and {count(len(wrong) - CONFUSIONS_SHOWN)} more", "dim")


def _comparison(found: Comparison) -> Iterator[RenderableType]:
    yield Text(f"compared with {found.old} (AWS's F1)", "bold")
    table = _table("", "old", "new", "change")
    for one in found.labels:
        table.add_row(one.label, figure(one.f1_old), figure(one.f1_new), delta(one.delta))
    table.add_row(Text("all", "bold"), figure(found.f1_old), figure(found.f1_new), Text(delta(found.f1_delta), "bold"))
    yield table
    if found.test_sets_equal:
        yield Text("both were tested with the same images")
        return
    for line in found.differences():
        yield Text(line, "yellow")
    yield Text(NOT_COMPARABLE, "yellow")


def _mistakes(found: Evaluation) -> Iterator[RenderableType]:
    images = images_with_mistakes(found)
    if not images:
        yield Text("no image with a mistake in the snapshot", "green")
        return
    yield Text(f"{count(len(images))} of {count(len(found.snapshot.images))} images with a mistake", "bold")
    for image in images[:IMAGES_SHOWN]:
        yield from _image(image)
    if len(images) > IMAGES_SHOWN:
        yield Text(f"and {count(len(images) - IMAGES_SHOWN)} more (--html FILE, --json)", "dim")


def _image(image: SnapshotImage) -> Iterator[RenderableType]:
    yield Text(image.source_ref)
    predicted = outcomes_of(image)
    parts: list[str | tuple[str, str]] = []
    for number, one in enumerate(predicted):
        parts += [", " if number else "", (outcome_text(one), _STYLES[one.outcome])]
    words = Text.assemble(*parts) if predicted else Text("none")
    yield Facts([("  labels", truth_text(image.truths)), ("  predicted", words)], label_columns=11)
