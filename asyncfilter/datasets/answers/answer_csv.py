"""Answers as CSV: of a spreadsheet, with or without a header; and one row an image, written.

A spreadsheet takes a cell that begins with ``=``, ``+``, ``-``, ``@``, a tab or a carriage return for a formula. Such a
cell is written with an apostrophe before it, and one that begins with apostrophes before that with one more; reading
takes one off (OWASP, *CSV Injection*).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import chain
from typing import BinaryIO, NamedTuple

import msgspec

from asyncfilter.datasets.answers.addresses import Addresses
from asyncfilter.datasets.answers.csv_rows import DELIMITERS, CsvRow, csv_lines, csv_rows
from asyncfilter.datasets.answers.units import Address, Left, ReadNotes, Reject, Said, SkipReason, Unit
from asyncfilter.datasets.answers.words import UNRESOLVED, VerdictWords, moment_text, moment_unix_s
from asyncfilter.datasets.exports.csv_lines import CsvLines, TextSink
from asyncfilter.datasets.manifests.csv_table import BLANKS, HEADER_NAMES, is_blank
from asyncfilter.policy.answers.checks import BadAnswerError, checked_labels, checked_note, checked_reviewer
from asyncfilter.records.answers import CurrentAnswer, PersonVerdict, Subject

COLUMNS = ("key", "verdict", "label", "labels", "reviewer", "at", "bucket", "etag", "size_bytes", "note")

_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_GUARDED = re.compile(r"'+[=+\-@\t\r]")
_WHOLE = re.compile(r"[0-9]{1,15}")


def guarded(cell: object) -> object:
    """A cell as it is written."""
    return f"'{cell}" if isinstance(cell, str) and _FORMULA.match(cell) else cell


def unguarded(cell: str) -> str:
    """A cell as it was before it was written."""
    return cell[1:] if _GUARDED.match(cell) else cell


class AnswerCsvWriter:
    """Writes answers, one row a subject, after the names of the columns."""

    def __init__(self, out: TextSink) -> None:
        self._lines = CsvLines(out, COLUMNS)

    def write(self, subject: Subject, answer: CurrentAnswer | None, *, note: str | None = None) -> None:
        """Write one row.

        Args:
            subject: What it is about.
            answer: None for a row that is to be filled in.
            note: Of the newest row that has one.
        """
        cells = [
            subject.key,
            "" if answer is None or answer.verdict is None else answer.verdict.value,
            "" if answer is None or answer.label is None else answer.label,
            "" if answer is None or answer.labels is None else json.dumps(answer.labels, ensure_ascii=False),
            "" if answer is None else answer.reviewer,
            "" if answer is None else moment_text(answer.at_unix_s),
            subject.bucket,
            subject.etag,
            subject.size_bytes,
            note or "",
        ]
        self._lines.write(map(guarded, cells))


# -- Reading -----------------------------------------------------------------------------------------------------------


class _BadRowError(Exception):
    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class _Columns(NamedTuple):
    """The columns of a file with a header: the first has the key."""

    names: tuple[str, ...]

    @property
    def ignored(self) -> list[str]:
        """The columns that are not read."""
        return [name for name in self.names[1:] if name not in COLUMNS[1:]]


class AnswerCsvReader:
    """Reads CSV.

    Args:
        words: Which texts are verdicts.
        addresses: What addresses mean.
        notes: Counts what is beside the units.
        delimiter: Between cells; None for what the first row shows.
    """

    def __init__(
        self, *, words: VerdictWords, addresses: Addresses, notes: ReadNotes, delimiter: str | None = None
    ) -> None:
        self._words, self._addresses, self._notes, self._delimiter = words, addresses, notes, delimiter

    def read(self, stream: BinaryIO) -> Iterator[Unit]:
        """The units of a file: its rows but the header.

        Raises:
            UsageError: It is no text.
        """
        lines = csv_lines(stream)
        held = [next(lines, "")]
        while not held[-1].strip(" \t\r\n,;") and (line := next(lines, None)) is not None and len(held) < _MOST_BLANK:
            held.append(line)
        delimiter = self._delimiter or self._delimiter_of(held[-1])
        columns: _Columns | None = None
        is_first = True
        for row in csv_rows(chain(held if held != [""] else (), lines), delimiter):
            if not row.problem and is_blank(row.cells):
                yield Left(row.line, SkipReason.BLANK)
                continue
            if is_first and (columns := _header(row)) is not None:
                self._notes.ignored_columns += columns.ignored
            else:
                yield self._unit(row, columns)
            is_first = False

    def _delimiter_of(self, line: str) -> str:
        """The character between the cells of a file, from its first row: the one that gives a row that can be read.

        Of several the one that gives a header or a verdict comes first, then the one that gives most cells.
        """
        scores = []
        for delimiter in DELIMITERS:
            row = next(csv_rows(iter([line]), delimiter), CsvRow(1, []))
            cells = row.cells
            is_header = bool(cells) and cells[0].strip(BLANKS).casefold() in HEADER_NAMES
            has_verdict = len(cells) > 1 and self._words.of(cells[1]) is not None
            scores.append((len(cells) > 1 and (is_header or has_verdict), len(cells)))
        return DELIMITERS[scores.index(max(scores))]

    # -- One row -------------------------------------------------------------------------------------------------------

    def _unit(self, row: CsvRow, columns: _Columns | None) -> Unit:
        if row.problem:
            return Left(row.line, Reject.BAD_ROW, row.problem)
        cells = [unguarded(cell) for cell in row.cells]
        key = cells[0] or None
        try:
            if columns is None:
                return self._bare(row, cells)
            named = _named(cells, columns)
            return self._said(row, named, _labels_of(named))
        except _BadRowError as error:
            return Left(row.line, error.code, str(error), key=key)
        except BadAnswerError as error:
            return Left(row.line, _CODES.get(error.code, Reject.BAD_ROW), error.message, key=key)

    def _bare(self, row: CsvRow, cells: list[str]) -> Unit:
        """A row of a file without a header: key, verdict, labels."""
        if len(cells) < 2:
            raise _BadRowError(Reject.SHORT_ROW, "one cell; key and verdict are needed")
        labels = [label for cell in cells[2:] if (label := cell.strip())]
        return self._said(row, {"key": cells[0], "verdict": cells[1]}, checked_labels(labels) or None)

    def _said(self, row: CsvRow, named: dict[str, str], labels: tuple[str, ...] | None) -> Unit:
        text = named.get("verdict", "").strip()
        if text.casefold() == UNRESOLVED and self._words.of(text) is None:
            return Left(row.line, SkipReason.UNRESOLVED, key=named["key"])
        verdict = self._verdict(text)
        if verdict is None and labels is None:
            return Left(row.line, SkipReason.EMPTY, key=named["key"])
        return Said(
            at=row.line,
            images=self._images(row, named),
            etag=named.get("etag", "").strip().strip('"') or None,
            size_bytes=_size(named.get("size_bytes", "")),
            reviewer=checked_reviewer(name) if (name := named.get("reviewer", "").strip()) else None,
            at_unix_s=_moment(named.get("at", "")),
            verdict=verdict,
            labels=labels,
            note=checked_note(named.get("note")),
        )

    def _verdict(self, text: str) -> PersonVerdict | None:
        verdict = self._words.of(text)
        if verdict is None and text:
            raise _BadRowError(Reject.BAD_VERDICT, f"the verdict is {text[:60]!r}, not keep, reject or unsure")
        return verdict

    def _images(self, row: CsvRow, named: dict[str, str]) -> tuple[Address, ...]:
        if not named["key"]:
            raise _BadRowError(Reject.BAD_ROW, "there is no key")
        bucket = named.get("bucket", "").strip()
        if bucket:
            return tuple(dict.fromkeys([Address(bucket, named["key"]), Address(bucket, row.cells[0])]))
        # A cell that another program wrote may begin with an apostrophe of its own.
        return tuple(dict.fromkeys([*self._addresses.of_cell(named["key"]), Address(None, row.cells[0])]))


_MOST_BLANK = 1_000
_CODES = {"bad_label": Reject.BAD_LABELS, "too_many_labels": Reject.BAD_LABELS}


def _header(row: CsvRow) -> _Columns | None:
    names = tuple(cell.strip(BLANKS).casefold() for cell in row.cells)
    return _Columns(names) if names and names[0] in HEADER_NAMES else None


def _named(cells: list[str], columns: _Columns) -> dict[str, str]:
    """The cells by the names of their columns; of two columns of one name the first."""
    expected = len(columns.names)
    if len(cells) < expected:
        raise _BadRowError(Reject.SHORT_ROW, f"{len(cells)} cells, the header has {expected}")
    if len(cells) > expected:
        raise _BadRowError(Reject.BAD_ROW, f"{len(cells)} cells, the header has {expected}")
    named = {"key": cells[0]}
    for name, cell in zip(columns.names[1:], cells[1:expected], strict=True):
        named.setdefault(name, cell)
    return named


def _labels_of(named: dict[str, str]) -> tuple[str, ...] | None:
    """The labels in the columns ``label``, which is the first of them, and ``labels``, a JSON array."""
    first, text = named.get("label", "").strip(), named.get("labels", "").strip()
    found: list[str] | None = None
    if text:
        try:
            found = msgspec.json.decode(text, type=list[str])
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise _BadRowError(Reject.BAD_LABELS, f"labels is {text[:60]!r}, not a JSON array of texts") from error
    if first:
        found = [first, *(found or ())]
    return None if found is None else checked_labels(found)


def _size(cell: str) -> int | None:
    text = cell.strip()
    if not text:
        return None
    if not _WHOLE.fullmatch(text):
        raise _BadRowError(Reject.BAD_ROW, f"size_bytes is {text[:60]!r}, not a whole number")
    return int(text)


def _moment(cell: str) -> float | None:
    text = cell.strip()
    moment = moment_unix_s(text) if text else None
    if text and moment is None:
        raise _BadRowError(Reject.BAD_ROW, f"at is {text[:60]!r}, not a time in ISO 8601")
    return moment
