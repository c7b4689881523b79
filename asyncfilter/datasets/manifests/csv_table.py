"""CSV files as rows: their encoding, their header, and what their columns hold."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import suppress
from enum import StrEnum
from typing import BinaryIO, NamedTuple

from asyncfilter.errors import UsageError

BLANKS = " \t"
"""What is trimmed from cells."""

HEADER_NAMES = frozenset({"image", "filename", "file", "path", "source-ref", "source_ref", "url", "key", "s3_path"})
"""First cells of a header, case-folded."""

BOX_COLUMNS = ("filename", "width", "height", "class", "xmin", "ymin", "xmax", "ymax")
"""Columns of boxes, in the order that holds without a header."""


MAX_CELL_CHARS = 16 * 1024 * 1024
"""The longest cell. Python's own limit, 131,072, is below what columns of outlines have; a bound there must be, since a
quote that is missing makes one cell of all that follows."""


class CsvKind(StrEnum):
    """What the rows of a file hold."""

    AUTO = "auto"
    IMAGE = "image"
    BOXES = "boxes"


class CsvHeader(StrEnum):
    """Whether the first row has the names of columns."""

    AUTO = "auto"
    YES = "yes"
    NO = "no"


class TableForm(NamedTuple):
    """The form of a file.

    Attributes:
        has_header: Whether the first row is no data.
        box_columns: Where each of ``BOX_COLUMNS`` is; None for rows of images.
    """

    has_header: bool
    box_columns: tuple[int, ...] | None


class CsvTable:
    """A CSV file (RFC 4180), in UTF-8 or, with a byte order mark, UTF-16.

    Args:
        name: For messages.
        stream: The bytes, which can be read again with ``seek(0)``.
        delimiter: Between cells.
        quotes_hint: What to do about quotes that are wrong.
    """

    def __init__(
        self,
        name: str,
        stream: BinaryIO,
        *,
        delimiter: str = ",",
        quotes_hint: str = "Correct the quotes, or give the character between cells with --delimiter.",
    ) -> None:
        self._name, self._stream, self._delimiter, self._quotes_hint = name, stream, delimiter, quotes_hint

    def rows(self) -> Iterator[list[str]]:
        """All rows from the first on; of a blank one all cells are blank.

        Raises:
            UsageError: The file cannot be read, or is not CSV.
        """
        self._stream.seek(0)
        is_utf16 = self._stream.read(2) in {codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE}
        self._stream.seek(0)
        text = io.TextIOWrapper(self._stream, encoding="utf-16" if is_utf16 else "utf-8-sig", newline="")
        csv.field_size_limit(max(csv.field_size_limit(), MAX_CELL_CHARS))
        reader = csv.reader(text, delimiter=self._delimiter, strict=True)
        try:
            yield from reader
        except UnicodeError as error:
            encoding = "UTF-16" if is_utf16 else "UTF-8"
            raise self._unreadable(reader.line_num + 1, f"the text is not {encoding}", "Save it as UTF-8.") from error
        except csv.Error as error:
            raise self._unreadable(reader.line_num, self._problem(error), self._quotes_hint) from error
        except OSError as error:
            raise UsageError(f"{self._name}: {error.strerror or error}") from error
        finally:
            with suppress(ValueError):  # the caller has closed the stream before all rows were read
                text.detach()

    def form(self, *, header: CsvHeader, kind: CsvKind) -> TableForm:
        """The form of the file, from its first row that is not blank.

        Raises:
            UsageError: Columns of boxes are missing.
        """
        first = next((row for row in self.rows() if not is_blank(row)), [""])
        names = [cell.strip(BLANKS).casefold() for cell in first]
        has_boxes = set(BOX_COLUMNS) <= set(names)
        has_header = header is CsvHeader.YES or (header is CsvHeader.AUTO and (names[0] in HEADER_NAMES or has_boxes))
        if kind is CsvKind.IMAGE or (kind is CsvKind.AUTO and not (has_header and has_boxes)):
            return TableForm(has_header, None)
        if not has_header:
            return TableForm(has_header, tuple(range(len(BOX_COLUMNS))))
        missing = [name for name in BOX_COLUMNS if name not in names]
        if missing:
            raise UsageError(
                f"{self._name}: the header has no column {', '.join(missing)}",
                hint=f"Boxes need {', '.join(BOX_COLUMNS)}.",
            )
        return TableForm(has_header, tuple(map(names.index, BOX_COLUMNS)))

    @staticmethod
    def _problem(error: csv.Error) -> str:
        if "field limit" in str(error):
            return f"a cell has over {MAX_CELL_CHARS:,} characters; a quote is probably missing"
        return str(error)

    def _unreadable(self, line: int, what: str, hint: str) -> UsageError:
        return UsageError(f"{self._name}:{line}: {what}", hint=hint)


def is_blank(row: Sequence[str]) -> bool:
    """Whether nothing stands in a row."""
    return not any(cell.strip(BLANKS) for cell in row)
