"""Rows of CSV as spreadsheets write it: UTF-8 or UTF-16, with a comma, a semicolon or a tab between cells.

A row that is no CSV costs its first line alone. So an open quote does not swallow what follows it: lines are joined to
a row only as long as that gives one.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from typing import BinaryIO, NamedTuple

from asyncfilter.errors import UsageError

DELIMITERS = (",", ";", "\t")
_MOST_LINES = 100
"""Lines of the longest row."""
_MOST_CHARS = 256 * 1024
"""Characters of the longest row; a note has at most 10,000."""

csv.field_size_limit(max(csv.field_size_limit(), _MOST_CHARS))


class CsvRow(NamedTuple):
    """One row.

    Attributes:
        line: The line on which it begins, from 1.
        cells: Empty for a row that is no CSV.
        problem: Why it is none; empty where it is one.
    """

    line: int
    cells: list[str]
    problem: str = ""


def csv_lines(stream: BinaryIO) -> Iterator[str]:
    """The lines of a file of text from its beginning, with their ends.

    Raises:
        UsageError: It is neither UTF-8 nor UTF-16 with a byte order mark.
    """
    stream.seek(0)
    is_utf16 = stream.read(2) in {codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE}
    stream.seek(0)
    text = io.TextIOWrapper(stream, encoding="utf-16" if is_utf16 else "utf-8-sig", newline="")
    number = 0
    try:
        while line := text.readline(_MOST_CHARS):
            number += 1
            yield line
    except UnicodeError as error:
        encoding = "UTF-16" if is_utf16 else "UTF-8"
        raise UsageError(
            f"line {number + 1}: the text is not {encoding}", hint="Save it as CSV in UTF-8 (Excel: CSV UTF-8)."
        ) from error
    finally:
        with suppress(ValueError):  # the caller has closed the stream before all lines were read
            text.detach()


def csv_rows(lines: Iterator[str], delimiter: str) -> Iterator[CsvRow]:
    """The rows in lines of text."""
    ahead: deque[str] = deque()
    number = 1
    while True:
        if not ahead:
            line = next(lines, None)
            if line is None:
                return
            ahead.append(line)
        taken, cells = _joined(ahead, lines, delimiter)
        if cells is None:
            yield CsvRow(number, [], _problem(ahead[0], delimiter))
            taken = 1
        else:
            yield CsvRow(number, cells)
        for _ in range(taken):
            ahead.popleft()
        number += taken


def _joined(ahead: deque[str], lines: Iterator[str], delimiter: str) -> tuple[int, list[str] | None]:
    """How many lines make the next row, and its cells; None where no number of lines does."""
    text = ""
    for taken in range(1, _MOST_LINES + 1):
        if taken > len(ahead):
            line = next(lines, None)
            if line is None:
                break
            ahead.append(line)
        text += ahead[taken - 1]
        cells = _cells(text, delimiter) if len(text) <= _MOST_CHARS else None
        if not isinstance(cells, _Open):
            return taken, cells
    return 1, None


class _Open:
    """Stands for a row whose last cell goes on in the next line."""


def _cells(text: str, delimiter: str) -> list[str] | _Open | None:
    """The cells of a row; None where it is none."""
    if "\0" in text:
        return None
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except csv.Error as error:
        return _Open() if _OPEN in str(error) else None
    return rows[0] if len(rows) == 1 else None


_OPEN = "unexpected end of data"
"""In the message of the csv module about a quote that is not closed."""


def _problem(line: str, delimiter: str) -> str:
    if "\0" in line:
        return "the row has a NUL"
    if line.count('"') % 2:
        return "a quote is not closed"
    return f"this is no row of CSV with {delimiter!r} between cells"
