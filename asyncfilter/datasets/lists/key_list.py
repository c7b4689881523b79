"""The entries of a list of keys: a table with a column of keys or addresses, or a manifest of ``source-ref`` lines.

Keys are literal: nothing is decoded. A list may have more columns; size and ETag are used where both are there.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import BinaryIO, NamedTuple

from asyncfilter.datasets.lists.entries import Entry, check_key, decoded, entry_of
from asyncfilter.datasets.lists.tables import (
    MOST_BYTES,
    arrow_table,
    beginning,
    csv_rows,
    is_arrow,
    is_json,
    is_text,
    json_rows,
    text_lines,
    unpacked,
)
from asyncfilter.errors import UsageError
from asyncfilter.job.addresses import check_bucket
from asyncfilter.model import S3
from asyncfilter.policy.extensions import CONVERTED, READ_AS_THEY_ARE, extension_of

KEY_COLUMNS = (
    "source-ref",
    "source_ref",
    "uri",
    "s3_uri",
    "url",
    "s3_path",
    "key",
    "path",
    "filename",
    "file",
    "image",
)
"""Columns of keys or addresses, case-folded; the first one that a list has is used."""

_SIZES, _ETAGS = ("size_bytes", "size"), ("etag", "e_tag")
_SNIFFED_BYTES = 4096
_BATCH_CELLS = 2


class Columns(NamedTuple):
    """The names of a list's columns; None for one that it does not have."""

    key: str
    bucket: str | None
    size: str | None
    etag: str | None

    def entry(self, where: str, row: Mapping[str, object]) -> Entry:
        """The entry of a row.

        Raises:
            UsageError: The row has no key, or a size that is none.
        """
        return entry_of(
            where,
            _text(where, self.key, row.get(self.key)),
            bucket=_optional(where, self.bucket, row),
            size_bytes=_size(where, self.size, row),
            etag=(_optional(where, self.etag, row) or "").strip('"'),
        )


def list_entries(name: str, stream: BinaryIO, column: str | None = None) -> Generator[Entry]:
    """The entries of a list, in its order.

    Args:
        name: For messages; its ending tells the format where the content does not.
        stream: The file; Parquet and ORC are read anywhere in it.
        column: Of the keys or addresses; None for the first of ``KEY_COLUMNS``.

    Raises:
        UsageError: The list cannot be read; the message names the line.
    """
    with unpacked(name, stream) as (plain_name, plain):
        head = beginning(plain, _SNIFFED_BYTES)
        if is_arrow(head):
            yield from _of_arrow(name, plain, head, column)
        elif is_json(plain_name, head):
            yield from _of_json(name, plain, column)
        elif is_text(plain_name):
            yield from (entry_of(where, text) for where, text in text_lines(name, plain))
        else:
            yield from _of_csv(plain_name, plain, column)


def _of_arrow(name: str, stream: BinaryIO, head: bytes, column: str | None) -> Generator[Entry]:
    table = arrow_table(name, stream, head)
    columns = _columns(name, table.names, column)
    names = list(dict.fromkeys(one for one in columns if one is not None))
    for number, row in enumerate(table.rows(names), 1):
        yield columns.entry(f"{name}, row {number:,}", dict(zip(names, row, strict=True)))


def _of_json(name: str, stream: BinaryIO, column: str | None) -> Generator[Entry]:
    columns: Columns | None = None
    for where, row in json_rows(name, stream):
        if columns is None or columns.key not in row:
            columns = _columns(where, list(row), column)
        yield columns.entry(where, row)


def _of_csv(name: str, stream: BinaryIO, column: str | None) -> Generator[Entry]:
    rows = csv_rows(name, stream)
    where, header = next(rows, (name, []))
    if column is None and _is_batch(header):
        yield _of_batch(where, header)
        yield from (_of_batch(where, row) for where, row in rows)
        return
    if column is None and _is_data(header):
        yield entry_of(where, header[0])
        yield from (entry_of(where, row[0]) for where, row in rows)
        return
    if not header:
        return
    names = [cell.strip() for cell in header]
    columns = _columns(where, names, column)
    for where, row in rows:
        if len(row) != len(names):
            raise UsageError(f"{where}: expected {len(names)} cells as in the first line, found {len(row)}")
        yield columns.entry(where, dict(zip(names, row, strict=True)))


def _is_data(row: Sequence[str]) -> bool:
    """Whether the first row of a table is none of names: it begins with an address, or is the name of one image."""
    if not row:
        return False
    return row[0].startswith(S3) or (len(row) == 1 and extension_of(row[0]) in READ_AS_THEY_ARE | CONVERTED)


def _is_batch(row: Sequence[str]) -> bool:
    """Whether the first row is one of an S3 Batch Operations manifest: a bucket and the encoded key of an image."""
    if len(row) != _BATCH_CELLS or extension_of(row[1]) not in READ_AS_THEY_ARE | CONVERTED:
        return False
    try:
        check_bucket(row[0])
    except ValueError:
        return False
    return True


def _of_batch(where: str, row: Sequence[str]) -> Entry:
    """The entry of such a row (S3 user guide, *Specifying a manifest*: keys are URL-encoded).

    Raises:
        UsageError: It has another number of cells, or no key.
    """
    if len(row) != _BATCH_CELLS:
        raise UsageError(f"{where}: expected a bucket and a key as in the first line, found {len(row)} cells")
    try:
        key = decoded(row[1])
    except ValueError as error:
        raise UsageError(f"{where}: {error}") from error
    check_key(where, key)
    return Entry(where, row[0], key)


def _columns(where: str, names: Sequence[str], column: str | None) -> Columns:
    """The columns of a list with these names.

    Raises:
        UsageError: None is one of keys or addresses.
    """
    by_fold = {name.casefold(): name for name in reversed(names)}
    wanted = KEY_COLUMNS if column is None else (column.casefold(),)
    key = next((by_fold[one] for one in wanted if one in by_fold), None)
    if key is None:
        raise UsageError(
            f"{where}: expected a column {' or '.join(('key', 'uri', 'source-ref') if column is None else (column,))}, "
            f"found {', '.join(map(repr, names[:20])) or 'none'}",
            hint="Name the column of keys or addresses in source.column, or in the first line of the list.",
        )
    return Columns(key, by_fold.get("bucket"), _first(by_fold, _SIZES), _first(by_fold, _ETAGS))


def _first(by_fold: Mapping[str, str], names: Sequence[str]) -> str | None:
    return next((by_fold[one] for one in names if one in by_fold), None)


def _text(where: str, column: str, value: object) -> str:
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError as error:
            raise UsageError(f"{where}: {column} is not text in UTF-8") from error
    if not isinstance(value, str):
        raise UsageError(f"{where}: expected text in {column}, found {str(value)[:80]!r}")
    return value


def _optional(where: str, column: str | None, row: Mapping[str, object]) -> str | None:
    value = None if column is None else row.get(column)
    return None if column is None or value is None else _text(where, column, value)


def _size(where: str, column: str | None, row: Mapping[str, object]) -> int | None:
    value = None if column is None else row.get(column)
    if value is None or value == "":
        return None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < MOST_BYTES:
        raise UsageError(f"{where}: expected a number of bytes in {column}, found {str(value)[:80]!r}")
    return value
