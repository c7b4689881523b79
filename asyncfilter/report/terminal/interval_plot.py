"""Shares with their intervals as lines of characters: one line a row, all on one scale, with the target across them."""

from __future__ import annotations

from collections.abc import Sequence
from math import floor
from typing import NamedTuple

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table

from asyncfilter.report.terminal.text import Text

WIDE_COLUMNS = 64
"""From this width on a row is one line; below, its figures stand above its plot."""

_MOST_COLUMNS = 48
_LEAST_COLUMNS = 10
_WITHOUT_PLOT = 38
"""Columns of a row beside its plot, in a wide terminal."""


class IntervalRow(NamedTuple):
    """One row.

    Attributes:
        name: What it is about; likewise ``images`` and ``hits``, figures as text.
        share: From 0 to 1; None where there is none, and then no interval is drawn.
        note: After the plot.
        style: Of the row.
    """

    name: str
    images: str
    hits: str
    share: float | None
    low: float
    high: float
    note: str = ""
    style: str = ""


class _Marks(NamedTuple):
    """The characters of a plot."""

    left: str
    line: str
    right: str
    share: str
    target: str
    crossing: str
    rule: str


_UNICODE = _Marks("├", "─", "┤", "●", "┊", "┼", "·")
_ASCII = _Marks("|", "-", "|", "o", ":", "+", ".")


class IntervalPlot:
    """Rows with their plots.

    Args:
        rows: From top to bottom.
        target: A share that is marked in every row.
        heads: Titles of name, images and hits.
    """

    def __init__(self, rows: Sequence[IntervalRow], *, target: float, heads: tuple[str, str, str]) -> None:
        self._rows, self._target, self._heads = rows, target, heads
        lowest = min([target, *(row.low for row in rows if row.share is not None)], default=target)
        self._from = min(0.9, floor(10 * lowest) / 10)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        marks = _ASCII if options.ascii_only else _UNICODE
        if options.max_width >= WIDE_COLUMNS:
            yield self._wide(marks, options.max_width)
        else:
            yield from self._narrow(marks, options.max_width)

    def _wide(self, marks: _Marks, columns: int) -> RenderableType:
        notes = max((len(row.note) for row in self._rows), default=0)
        width = max(_LEAST_COLUMNS, min(_MOST_COLUMNS, columns - _WITHOUT_PLOT - notes - 1))
        table = Table(box=None, header_style="dim", padding=(0, 1, 0, 0), pad_edge=False)
        for head in (*self._heads, "share"):
            table.add_column(head, justify="right", no_wrap=True)
        table.add_column(Text(self._scale(width)), no_wrap=True)
        table.add_column("", no_wrap=True)
        for row in self._rows:
            cells = (row.name, row.images, row.hits, _percent(row.share), self._line(row, marks, width), row.note)
            table.add_row(*(Text(cell, row.style) for cell in cells))
        return table

    def _narrow(self, marks: _Marks, columns: int) -> RenderResult:
        width = max(_LEAST_COLUMNS, columns - 3)
        name, _, hits = self._heads
        for row in self._rows:
            figures = f"{name} {row.name}: {_percent(row.share)}, {hits} {row.hits}"
            yield Text(f"{figures}{f', {row.note}' if row.note else ''}", row.style)
            yield Text(f"  {self._line(row, marks, width)}", row.style)
        yield Text(f"  {self._scale(width)}", "dim")

    def _line(self, row: IntervalRow, marks: _Marks, width: int) -> str:
        cells = [marks.rule if row.share is None else " "] * width
        target = self._column(self._target, width)
        cells[target] = marks.target
        if row.share is not None:
            low, high = self._column(row.low, width), self._column(row.high, width)
            for column in range(low, high + 1):
                cells[column] = marks.crossing if column == target else marks.line
            cells[low], cells[high] = marks.left, marks.right
            cells[self._column(row.share, width)] = marks.share
        return "".join(cells)

    def _column(self, share: float, width: int) -> int:
        part = (share - self._from) / (1 - self._from)
        return max(0, min(width - 1, round(part * (width - 1))))

    def _scale(self, width: int) -> str:
        """The line of numbers: where the scale begins and ends, and the target where there is room for it."""
        first, last, target = f"{100 * self._from:.0f} %", "100 %", f"{100 * self._target:.4g}"
        cells = list(first.ljust(width))
        cells[width - len(last) :] = last
        start = self._column(self._target, width) - len(target) // 2
        if len(first) < start and start + len(target) < width - len(last):
            cells[start : start + len(target)] = target
        return "".join(cells)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"
