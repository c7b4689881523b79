"""The confusion matrix of an evaluation page: a table of few labels, a list of the worst pairs of many."""

from __future__ import annotations

from collections.abc import Sequence

from asyncfilter.custom_labels.evaluation.model import Confusion
from asyncfilter.report.html.elements import section, table, text

MOST_LABELS = 25
"""Most labels of a matrix that is shown whole."""

_MOST_PAIRS = 100


def confusion_section(cells: Sequence[Confusion]) -> str:
    """The section; empty without a matrix."""
    if not cells:
        return ""
    labels = list(dict.fromkeys(name for cell in cells for name in (cell.truth, cell.predicted)))
    is_small = len(labels) <= MOST_LABELS
    lead = (
        "AWS's confusion matrix: of the test images with the label of the row, the share that was taken for the column."
    )
    return section("confusion", "Confusion", _matrix(cells, labels) if is_small else _pairs(cells), lead=lead)


def _matrix(cells: Sequence[Confusion], labels: Sequence[str]) -> str:
    shares = {(cell.truth, cell.predicted): cell.share for cell in cells}
    rows = [
        [text(truth), *[_cell(shares.get((truth, predicted), 0), is_right=truth == predicted) for predicted in labels]]
        for truth in labels
    ]
    return table(
        "Confusion matrix: rows are labels of images, columns are predictions", ["Label", *labels], rows, kind="matrix"
    )


def _cell(share: float, *, is_right: bool) -> str:
    kind = "hit" if is_right else "miss"
    shown = f"{100 * share:.0f}" if share >= 0.005 else ("" if not share else "<1")
    return f'<td class="{kind}" style="--v:{share:.3f}">{text(shown)}</td>'


def _pairs(cells: Sequence[Confusion]) -> str:
    wrong = sorted(
        (cell for cell in cells if cell.truth != cell.predicted and cell.share), key=lambda cell: -cell.share
    )
    rows = [[text(cell.truth), text(cell.predicted), f"{100 * cell.share:.1f} %"] for cell in wrong[:_MOST_PAIRS]]
    return table("Pairs of labels that are confused most", ["Label", "Predicted", "Share"], rows)
