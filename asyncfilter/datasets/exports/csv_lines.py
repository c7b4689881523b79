"""CSV for the exports, and cells that a spreadsheet does not take for formulas.

A key such as ``=1+1.jpg`` or ``@SUM(A1).jpg`` is a formula to a spreadsheet that opens the file; one of a hostile
uploader may read other cells, or call a program. With ``is_spreadsheet`` such a cell begins with an apostrophe, which
makes it text (OWASP, *CSV Injection*). The data are not exact then, so this is off unless it is asked for.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from typing import Protocol

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""Beginnings of formulas (OWASP, *CSV Injection*); some spreadsheets read full-width forms like the others."""


class TextSink(Protocol):
    """A destination of lines: an open text file, ``sys.stdout``, a ``StringIO``."""

    def write(self, text: str, /) -> object:
        """Write ``text``."""
        ...


class CsvLines:
    """Writes lines of CSV (RFC 4180) to ``out``, first that of the column names.

    Args:
        out: Where the lines go.
        columns: The names.
        is_spreadsheet: Cells that would be formulas begin with an apostrophe.
    """

    def __init__(self, out: TextSink, columns: Sequence[str], *, is_spreadsheet: bool = False) -> None:
        # Lines end in CR LF as the RFC says: the csv module quotes only the line-end characters that it uses itself.
        self._writer = csv.writer(out, lineterminator="\r\n")
        self._is_spreadsheet = is_spreadsheet
        self._writer.writerow(columns)

    def write(self, cells: Iterable[object]) -> None:
        """Write one line."""
        self._writer.writerow(map(no_formula, cells) if self._is_spreadsheet else cells)


def no_formula(cell: object) -> object:
    """``cell``, with an apostrophe before it where it is text that a spreadsheet would take for a formula."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell
