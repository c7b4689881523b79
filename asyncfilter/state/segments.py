"""Segments: the rows that one commit, or several in a row, changed in an SQLite file; msgpack, compressed by zlib.

A segment has the changed rows as they are now, and the ids of those that are gone; it has no SQL. Invariant: the file
of a snapshot, with all later segments applied in order, has the rows of the file that they were cut from. Tables that
are made from others (the index from ETags) are kept true while a segment is applied.

Anyone with write access to the bucket may have written a segment: its size is bounded before it is inflated, every
value is of a type that SQLite stores, and only tables and columns that the file has already are touched.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec

from asyncfilter.checkpoint import sql
from asyncfilter.checkpoint.changes import Counted, Keyed, keyed_tables
from asyncfilter.checkpoint.errors import CorruptRowError
from asyncfilter.checkpoint.schema import SHUFFLE, UNSHUFFLE
from asyncfilter.checkpoint.sql import Row
from asyncfilter.checkpoint.state import INDEXED, LISTING, TOTALS, ListingState, read_state
from asyncfilter.records.progress import Totals
from asyncfilter.state.head import FORMAT, MOST_SEGMENT_BYTES

MOST_ROWS = 200_000
"""Most rows of one segment; more of them, as after a whole listing, go into a snapshot."""

_LEVEL = 6
_PREFIX = 4
"""Bytes of an ETag in the table ``content``, as in ``checkpoint.etag_index``."""

_STORED = {type(None), int, float, str, bytes}
"""The types that SQLite stores."""

_Name = Annotated[str, msgspec.Meta(max_length=64)]


class SegmentTooLargeError(Exception):
    """The rows do not fit into a segment."""


class TableRows(msgspec.Struct, frozen=True, array_like=True):
    """The changed rows of one table.

    Attributes:
        name: Of the table.
        columns: Of every row, in order.
        rows: As they are now.
        deleted: Keys of the rows that are gone.
    """

    name: _Name
    columns: Annotated[list[_Name], msgspec.Meta(max_length=64)]
    rows: list[list[Any]]
    deleted: list[int | str]


class Changes(msgspec.Struct, frozen=True, array_like=True):
    """The changed rows of one commit.

    Attributes:
        last_ids: The highest row id that was ever used, by table, where SQLite keeps it.
        tables: The tables that changed.
    """

    last_ids: dict[_Name, int]
    tables: list[TableRows]

    @property
    def rows(self) -> int:
        """Rows that changed or are gone."""
        return sum(len(table.rows) + len(table.deleted) for table in self.tables)


class _Segment(msgspec.Struct, frozen=True, array_like=True):
    format: int
    changes: list[Changes]


class Packed(NamedTuple):
    """A segment as it is stored, and its size before it was compressed."""

    body: bytes
    inflated_bytes: int


class Reserved(NamedTuple):
    """What a run may spend, for the copy of the sums that is shipped.

    Attributes:
        granted_micros: Everything that may be spent until the next commit, as a total.
        price_micros: The price of one call.
    """

    granted_micros: int
    price_micros: int


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(_Segment)


# -- Reading what changed ----------------------------------------------------------------------------------------------


def read_changes(db: sqlite3.Connection, reserved: Reserved | None = None) -> Changes:
    """The rows that are noted as on their way (``checkpoint.changes``), as they are in the snapshot that ``db`` reads.

    Args:
        db: A connection inside a transaction.
        reserved: Counts as reserved in the sums, so that a process that restores them counts it as spent.
    """
    tables = [found for table in keyed_tables(db) if (found := _table_rows(db, table, reserved)) is not None]
    return Changes(dict(db.execute("SELECT name, seq FROM sqlite_sequence")), tables)


def _table_rows(db: sqlite3.Connection, table: Keyed, reserved: Reserved | None) -> TableRows | None:
    key, columns = f"t.{table.key}", ", ".join(f"t.{column}" for column in table.columns)
    noted = "shipping AS s WHERE s.name = ?"
    query = f"SELECT {columns} FROM shipping AS s JOIN main.{table.name} AS t ON {key} = s.id WHERE s.name = ?"  # noqa: S608  names of our schema
    rows: list[Row] = db.execute(query, (table.name,)).fetchall()
    gone = f"SELECT s.id FROM {noted} AND NOT EXISTS (SELECT 1 FROM main.{table.name} AS t WHERE {key} = s.id)"  # noqa: S608  likewise
    deleted = [key for (key,) in db.execute(gone, (table.name,))]
    if table.name == "state":
        rows, deleted = _shipped_state(db, rows, reserved), [key for key in deleted if key != INDEXED]
    return TableRows(table.name, list(table.columns), [list(row) for row in rows], deleted) if rows or deleted else None


def _shipped_state(db: sqlite3.Connection, rows: list[Row], reserved: Reserved | None) -> list[Row]:
    """The rows of ``state`` without what is derived, and with what is reserved."""
    kept = [row for row in rows if row[0] != INDEXED]
    totals = None if reserved is None else read_state(db, TOTALS, Totals)
    if totals is None or reserved is None:
        return kept
    sums = with_reserved(totals, reserved)
    return [*(row for row in kept if row[0] != TOTALS), (TOTALS, msgspec.json.encode(sums).decode())]


def with_reserved(totals: Totals, reserved: Reserved) -> Totals:
    """The sums, with everything as reserved that may be spent before the next commit."""
    micros = max(totals.reserved_micros, reserved.granted_micros - totals.spent_micros)
    calls = -(-micros // reserved.price_micros) if reserved.price_micros else 0
    return msgspec.structs.replace(
        totals, reserved_micros=micros, reserved_calls=max(totals.reserved_calls, calls if micros else 0)
    )


def counted_in(totals: Totals) -> Counted:
    """What sums count as spent when they are opened: what is reserved in them, too."""
    return Counted(totals.spent_micros + totals.reserved_micros, totals.billed_calls + totals.reserved_calls)


# -- Bytes -------------------------------------------------------------------------------------------------------------


def pack(changes: Sequence[Changes]) -> Packed:
    """The segment with the changes of one or several commits, in order.

    Raises:
        SegmentTooLargeError: It would be larger than a reader accepts.
    """
    plain = _ENCODER.encode(_Segment(FORMAT, list(changes)))
    if len(plain) > MOST_SEGMENT_BYTES:
        raise SegmentTooLargeError
    return Packed(zlib.compress(plain, _LEVEL), len(plain))


def unpack(body: bytes, inflated_bytes: int) -> list[Changes]:
    """The changes in a segment; the inverse of ``pack``.

    Args:
        body: The object.
        inflated_bytes: The size after inflating that the head states; more is not inflated.

    Raises:
        CorruptRowError: It is no segment, or of another size.
    """
    inflater = zlib.decompressobj()
    try:
        plain = inflater.decompress(body, min(inflated_bytes, MOST_SEGMENT_BYTES) + 1)
    except zlib.error as exc:
        raise CorruptRowError(f"not compressed by zlib ({exc})") from exc
    if len(plain) != inflated_bytes or not inflater.eof or inflater.unused_data:
        raise CorruptRowError(f"it has not the {inflated_bytes:,} bytes after inflating that the head states")
    try:
        segment = _DECODER.decode(plain)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise CorruptRowError(f"not a segment ({exc})") from exc
    if segment.format != FORMAT:
        raise CorruptRowError(f"a segment of format {segment.format}; this asyncfilter reads {FORMAT}")
    return segment.changes


# -- Applying ----------------------------------------------------------------------------------------------------------


def apply_changes(db: sqlite3.Connection, changes: Iterable[Changes]) -> None:
    """Make the changes of a segment in the file of the snapshot before it; to be called outside a transaction.

    Each segment is one transaction. Foreign keys are off for the connection, because a row is replaced by deleting it.

    Raises:
        CorruptRowError: The segment is not of this file; nothing of it was applied.
        sqlite3.Error: A row contradicts the schema; nothing of the segment was applied.
    """
    db.execute("PRAGMA foreign_keys = OFF")
    db.execute("BEGIN IMMEDIATE")
    try:
        tables = {table.name: table for table in keyed_tables(db)}
        for one in changes:
            _apply(db, one, tables)
        _index_listing(db)
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _apply(db: sqlite3.Connection, changes: Changes, tables: Mapping[str, Keyed]) -> None:
    # All deletions first: a position or a target may pass from one row to another.
    for rows in changes.tables:
        _check(rows, tables)
        _delete(db, rows, tables[rows.name])
    for rows in sorted(changes.tables, key=lambda found: found.name != "image"):
        names = ", ".join(rows.columns)
        sql.insert(db, f"INSERT INTO main.{rows.name} ({names})", [tuple(row) for row in rows.rows])
        if rows.name == "image":
            _index_content(db, rows)
    for name, last in changes.last_ids.items():
        if name in tables:
            _keep_last_id(db, name, last)


def _check(rows: TableRows, tables: Mapping[str, Keyed]) -> None:
    table = tables.get(rows.name)
    if table is None or tuple(rows.columns) != table.columns:
        raise CorruptRowError(f"it has rows of {rows.name!r} that the snapshot has no place for")
    if any(len(row) != len(rows.columns) for row in rows.rows):
        raise CorruptRowError(f"it has a row of {rows.name!r} with too few or too many values")
    if not {type(value) for row in rows.rows for value in row} <= _STORED:
        raise CorruptRowError(f"it has a value of {rows.name!r} that SQLite does not store")


def _delete(db: sqlite3.Connection, rows: TableRows, table: Keyed) -> None:
    at = rows.columns.index(table.key)
    keys = [*rows.deleted, *(row[at] for row in rows.rows)]
    for some in sql.chunks(keys, sql.VALUES_PER_STATEMENT):
        among = f"{table.key} IN ({sql.marks(len(some))})"
        db.execute(f"DELETE FROM main.{table.name} WHERE {among}", some)  # noqa: S608  names of our schema, and marks


def _index_content(db: sqlite3.Connection, rows: TableRows) -> None:
    """Add rows to the index from ETags which it would not look at again; newer ones are added at the next opening."""
    if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'content'").fetchone() is None:
        return
    indexed = read_state(db, INDEXED, int) or 0
    keys = [row[rows.columns.index("id")] for row in rows.rows]
    for some in sql.chunks(keys, sql.VALUES_PER_STATEMENT - 1):
        found = f"detection IS NOT NULL AND id <= ? AND id IN ({sql.marks(len(some))})"
        entries = f"SELECT substr(etag, 1, {_PREFIX}), id FROM image WHERE {found}"  # noqa: S608  a number and marks
        db.execute(f"INSERT OR IGNORE INTO content {entries}", (indexed, *some))


def _keep_last_id(db: sqlite3.Connection, name: str, last: int) -> None:
    changed = db.execute("UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = ?", (last, name)).rowcount
    if not changed:
        db.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (name, last))


def _index_listing(db: sqlite3.Connection) -> None:
    """Keep the index that a whole listing has, and no other one has."""
    if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'listing'").fetchone() is None:
        return  # an answers file
    state = read_state(db, LISTING, ListingState)
    db.execute(SHUFFLE if state is not None and state.is_whole else UNSHUFFLE)


def apply_segment(db: sqlite3.Connection, body: bytes, inflated_bytes: int, where: Path | str = "") -> int:
    """Apply the segment in the bytes of an object; see ``unpack`` and ``apply_changes``.

    Returns:
        The rows that changed.
    """
    try:
        changes = unpack(body, inflated_bytes)
        apply_changes(db, changes)
    except sqlite3.IntegrityError as exc:
        raise CorruptRowError(f"{where}: its rows contradict the snapshot ({exc})") from exc
    return sum(one.rows for one in changes)
