"""The parts of an evaluation page that are figures: of all labels, of two versions, of each label, and curves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from asyncfilter.custom_labels.evaluation.comparison import Comparison, LabelDelta
from asyncfilter.custom_labels.evaluation.curves import CurvePoint
from asyncfilter.custom_labels.evaluation.evaluation import Evaluation, LabelReport
from asyncfilter.custom_labels.evaluation.model import PrecisionRecall
from asyncfilter.report.evaluation import NOT_COMPARABLE, WHY_BOTH, delta, figure
from asyncfilter.report.formatting import count
from asyncfilter.report.html.charts import precision_recall_chart
from asyncfilter.report.html.elements import left_out, long_table, section, table, text, within

LABEL_BYTES = 200_000
"""Of the rows of all labels, at the most."""

CHART_BYTES = 150_000
"""Of all charts, at the most."""


def figures_section(found: Evaluation) -> str:
    """The figures of all labels: AWS's, and the recounted ones beside them."""
    summary, total = found.summary, found.recount.total
    counted = f"{count(total.tp)} right, {count(total.fp)} wrong, {count(total.fn)} missed"
    rows = [
        ("AWS, all labels", summary.figures, "from the evaluation summary"),
        ("Recounted, all labels", total.figures, counted),
        ("Recounted, mean of the labels", found.recount.macro, "each label counts the same"),
    ]
    cells = [[f"{text(name)} <small>{text(about)}</small>", *_cells(figures)] for name, figures, about in rows]
    shown = table("Figures of all labels", ["Figures", "F1", "Precision", "Recall"], cells)
    return section("figures", "Figures", f'<dl class="tiles">{"".join(_tiles(found))}</dl>\n{shown}', lead=WHY_BOTH)


def _tiles(found: Evaluation) -> Iterator[str]:
    """The service's figures, large; the recounted ones small, where there are any."""
    aws, counted = found.summary.figures, found.recount.total.figures
    rows = [
        ("F1", aws.f1, f"recounted {figure(counted.f1)}"),
        ("Precision", aws.precision, f"recounted {figure(counted.precision)}"),
        ("Recall", aws.recall, f"recounted {figure(counted.recall)}"),
        ("Average precision", found.summary.average_precision, "not recounted"),
        ("Average recall", found.summary.average_recall, "not recounted"),
    ]
    for number, (name, value, below) in enumerate(rows):
        if number < 3 or value is not None:
            yield f'<div><dt>{name}</dt><dd class="big">{figure(value)}</dd><dd>AWS</dd><dd>{below}</dd></div>'


def _cells(figures: PrecisionRecall) -> Iterator[str]:
    for value in (figures.f1, figures.precision, figures.recall):
        yield _bar(value)


def _bar(value: float | None) -> str:
    """A cell with a figure from 0 to 1 and a bar behind it."""
    return f'<td class="bar" style="--v:{value:.3f}">{figure(value)}</td>' if value is not None else "<td>-</td>"


def comparison_section(found: Comparison) -> str:
    """F1 of both versions, the largest losses first; differences of the test images are named."""
    ordered = sorted(found.labels, key=lambda one: (one.delta is None, one.delta or 0))
    total = LabelDelta("All labels", found.f1_old, found.f1_new)
    rows = ([text(one.label), figure(one.f1_old), figure(one.f1_new), _change(one.delta)] for one in (total, *ordered))
    warning = ""
    if not found.test_sets_equal:
        differences = "; ".join(found.differences())
        warning = f'<p class="notice" role="note">{text(f"{differences}. {NOT_COMPARABLE}")}</p>\n'
    lead = f"AWS's F1 of each label in {found.old} and in {found.new}."
    if found.test_sets_equal:
        lead += " Both were tested with the same images."
    shown = long_table(
        "F1 of each label in both versions",
        ["Label", found.old, found.new, "Change"],
        rows,
        total=len(ordered) + 1,
        what="labels",
        most_bytes=LABEL_BYTES,
    )
    return section("comparison", f"Compared with {found.old}", warning + shown, lead=lead)


def _change(value: float | None) -> str:
    kind = "" if not value else ' class="up"' if value > 0 else ' class="down"'
    return f"<td{kind}>{delta(value)}</td>"


def labels_section(labels: Sequence[LabelReport]) -> str:
    """The figures of each label."""
    heads = ["Label", "F1", "Precision", "Recall", "Threshold", "Images", "Recounted F1", "Right", "Wrong", "Missed"]
    rows = (
        [
            text(one.result.label),
            *_cells(one.result.figures),
            figure(one.result.threshold),
            "-" if one.result.test_images is None else count(one.result.test_images),
            _bar(one.tally.figures.f1),
            *map(count, one.tally),
        ]
        for one in labels
    )
    shown = long_table("Figures of each label", heads, rows, total=len(labels), what="labels", most_bytes=LABEL_BYTES)
    return section(
        "labels",
        "Labels",
        shown,
        lead="F1, precision, recall, threshold and images are AWS's; what is counted from the snapshot stands right of "
        "them. The threshold is the one that AWS assumes: a prediction counts from this confidence on.",
    )


def curves_section(found: Evaluation) -> str:
    """A chart for each label; empty where no label has a curve."""
    if found.curves is None:
        return section("curves", "Curves", "", lead="Curves need scikit-learn: pip install 'asyncfilter[datasets]'.")
    thresholds = found.summary.thresholds
    curves = sorted(found.curves.items(), key=lambda item: max((one.f1 for one in item[1]), default=0))
    curves = [(label, points) for label, points in curves if points]
    if not curves:
        return ""
    charts = within((_figure(label, points, thresholds.get(label)) for label, points in curves), CHART_BYTES)
    return section(
        "curves",
        "Precision and recall at every threshold",
        f'<div class="charts">\n{"".join(charts)}</div>\n{left_out(len(curves) - len(charts), "labels")}',
        lead="From the confidences in the snapshot, the weakest labels first. The dot is AWS's assumed threshold.",
    )


def _figure(label: str, points: Sequence[CurvePoint], threshold: float | None) -> str:
    chart = precision_recall_chart(label, points, threshold)
    return f"<figure>{chart}<figcaption>{text(label)}</figcaption></figure>\n"
