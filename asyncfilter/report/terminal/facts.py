"""Facts in lines: a label at the left, a text beside it, or below it where the terminal is too narrow for both."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table

from asyncfilter.report.terminal.text import Text

SIDE_BY_SIDE_COLUMNS = 34
"""From this width on a text beside its label has room for whole words."""

LABEL_COLUMNS = 10
_INDENT_COLUMNS = 2


class Facts:
    """Lines of label and text; a label may be empty, where the text goes on with the fact above.

    Args:
        rows: The lines.
        label_columns: Least width of the labels.
    """

    def __init__(self, rows: Iterable[tuple[str, str | Text]], *, label_columns: int = LABEL_COLUMNS) -> None:
        self._rows = [(label, Text(text) if isinstance(text, str) else text) for label, text in rows]
        self._label_columns = label_columns

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw the lines in the columns that there are."""
        yield from self._beside() if options.max_width >= SIDE_BY_SIDE_COLUMNS else self._below()

    def _beside(self) -> Iterable[RenderableType]:
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(style="dim", no_wrap=True, min_width=self._label_columns)
        grid.add_column(overflow="fold")
        for label, text in self._rows:
            grid.add_row(label, text)
        return [grid]

    def _below(self) -> Iterable[RenderableType]:
        for label, text in self._rows:
            if label:
                yield Text(label, "dim")
            yield Padding(text, (0, 0, 0, _INDENT_COLUMNS))
