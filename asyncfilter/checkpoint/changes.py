"""The log of changed rows of a checkpoint whose state is in S3; a checkpoint without one has none of this.

Triggers of the one connection that writes note the table and the key of every row that is inserted, updated or
deleted. They are temporary: a file has no trigger but those of its schema, and who ships nothing pays nothing. A note
is part of the transaction that changes the row, so that a crash loses neither or both.

``unshipped`` has the rows changed since the last cut, ``shipping`` those of segments on their way. ``shipment`` says
which state the file belongs to, and up to which commit S3 has it.
"""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from asyncfilter.checkpoint.state import EPOCH, read_state

_TABLES = """
CREATE TABLE IF NOT EXISTS unshipped (name TEXT, id, PRIMARY KEY (name, id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS shipping (name TEXT, id, PRIMARY KEY (name, id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS shipment (key TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
"""

LOG_TABLES = frozenset({"unshipped", "shipping", "shipment"})
"""The tables of the log itself."""

DERIVED = frozenset({"content"})
"""Tables that are made from others."""

WHOLE = ("", "")
"""The note that stands for the whole file: changes were not noted, and only a snapshot can have them."""

_STATE_ID, _COMMIT, _EPOCH, _SCHEMA = "state_id", "commit", "epoch", "schema"
_CUT, _MICROS, _CALLS = "cut", "counted_micros", "counted_calls"


class Counted(NamedTuple):
    """What a commit counts as spent, with everything that may be spent before the next one.

    Attributes:
        micros: As a total, micro-dollars.
        calls: Calls that are or may be billed.
    """

    micros: int
    calls: int


class Shipment(NamedTuple):
    """What a file knows about its state in S3.

    Attributes:
        state_id: The state that it belongs to; empty when it was never shipped.
        epoch: The epoch of the file in the last opening that noted changes; 0 before the first.
        commit: The last commit that S3 has for certain.
        schema: A digest of its tables and columns.
        cut: The random part of the name of the object that has what is on its way.
        counted: What that last commit counts as spent; None where more than that cannot be spent before the next one.
    """

    state_id: str = ""
    epoch: int = 0
    commit: int = 0
    schema: str = ""
    cut: str = ""
    counted: Counted | None = None


class Keyed(NamedTuple):
    """A table whose changes are noted.

    Attributes:
        name: Its name.
        key: The column, or ``rowid``, that names a row.
        columns: All columns, the key among them.
    """

    name: str
    key: str
    columns: tuple[str, ...]


class ChangeLog:
    """The log of one open file; all methods are called on the thread of its connection.

    Args:
        db: The connection that writes.

    Attributes:
        changed_rows: Rows of images that were written since the last cut.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._schema_version: int | None = None
        self.changed_rows = 0

    def begin(self) -> None:
        """Note all changes from now on; to be called outside a transaction, before the first change.

        A file that was changed without notes since, or never shipped, is noted as a whole.
        """
        self._db.executescript(f"BEGIN IMMEDIATE; {_TABLES} COMMIT;")
        # A row that INSERT OR REPLACE replaces is deleted, and triggers see that only then.
        self._db.execute("PRAGMA recursive_triggers = ON")
        shipment = read_shipment(self._db)
        self._watch(shipment.schema)
        if shipment.epoch != (read_state(self._db, EPOCH, int) or 0):
            self.note_whole()

    def _watch(self, known: str) -> None:
        """Note the changes of all tables; the whole file when they are not those of the ``known`` schema.

        A table or column that is new is in no snapshot, and no statement of a segment may make one.
        """
        (version,) = self._db.execute("PRAGMA main.schema_version").fetchone()
        if version == self._schema_version:
            return
        tables = keyed_tables(self._db)
        for table in tables:
            for statement in _triggers(table):
                self._db.execute(statement)
        self._schema_version = version
        if schema_of(tables) != known:
            self.note_whole()
            self._write({_SCHEMA: schema_of(tables)})

    def note_whole(self) -> None:
        """Note that something changed without a note: the next cut is a snapshot."""
        self._db.execute("INSERT OR IGNORE INTO unshipped VALUES (?, ?)", WHOLE)

    def cut(self) -> int:
        """Make everything that is noted part of the next segment; to be called inside a transaction.

        Returns:
            The number of rows in it, those of an earlier segment that was not confirmed among them.
        """
        self._watch(read_shipment(self._db).schema)
        self.changed_rows = 0
        self._db.execute("INSERT OR IGNORE INTO shipping SELECT name, id FROM unshipped")
        self._db.execute("DELETE FROM unshipped")
        self._write({_CUT: secrets.token_hex(8)})
        (rows,) = self._db.execute("SELECT count(*) FROM shipping").fetchone()
        return int(rows)

    def confirm(self, commit: int, counted: Counted | None = None) -> None:
        """Forget what was cut: S3 has it, in ``commit``. To be called inside a transaction.

        Args:
            commit: Its number.
            counted: What may be exceeded before the next commit; None where commits grant what is spent.
        """
        self._db.execute("DELETE FROM shipping")
        self._db.execute("DELETE FROM shipment WHERE key IN (?, ?)", (_MICROS, _CALLS))
        self._write({_COMMIT: commit})
        if counted is not None:
            self._write({_MICROS: counted.micros, _CALLS: counted.calls})

    def bind(self, state_id: str, epoch: int, commit: int) -> None:
        """Note which state the file belongs to, its epoch, and what S3 has; to be called inside a transaction."""
        self._write({_STATE_ID: state_id, _EPOCH: epoch, _COMMIT: commit})

    def opened(self, epoch: int) -> None:
        """Note the epoch of an opening that notes changes; to be called inside a transaction."""
        self._write({_EPOCH: epoch})

    def unshipped(self) -> int:
        """Rows that S3 may not have."""
        (rows,) = self._db.execute(
            "SELECT count(*) FROM (SELECT name, id FROM unshipped UNION SELECT name, id FROM shipping)"
        ).fetchone()
        return int(rows)

    def has_new(self) -> bool:
        """Whether a row changed since the last cut, or a segment was not confirmed."""
        found = self._db.execute("SELECT 1 FROM unshipped UNION ALL SELECT 1 FROM shipping LIMIT 1").fetchone()
        return found is not None

    def _write(self, values: Mapping[str, object]) -> None:
        self._db.executemany("INSERT OR REPLACE INTO shipment VALUES (?, ?)", values.items())


def read_shipment(db: sqlite3.Connection) -> Shipment:
    """What a file knows about its state in S3."""
    if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'shipment'").fetchone():
        return Shipment()
    found = dict(db.execute("SELECT key, value FROM shipment"))
    return Shipment(
        state_id=str(found.get(_STATE_ID, "")),
        epoch=int(found.get(_EPOCH, 0)),
        commit=int(found.get(_COMMIT, 0)),
        schema=str(found.get(_SCHEMA, "")),
        cut=str(found.get(_CUT, "")),
        counted=Counted(int(found[_MICROS]), int(found[_CALLS])) if {_MICROS, _CALLS} <= found.keys() else None,
    )


def keyed_tables(db: sqlite3.Connection) -> list[Keyed]:
    """The tables of a file that segments have, with the key of each."""
    names = [name for (name,) in db.execute("SELECT name FROM main.sqlite_master WHERE type = 'table' ORDER BY name")]
    return [_keyed(db, name) for name in names if name not in LOG_TABLES | DERIVED and not name.startswith("sqlite_")]


def schema_of(tables: Sequence[Keyed]) -> str:
    """A digest of tables and columns."""
    text = "; ".join(f"{table.name}: {', '.join(table.columns)}" for table in tables)
    return hashlib.sha256(text.encode()).hexdigest()


def _triggers(table: Keyed) -> list[str]:
    """Statements that note every changed row of a table."""
    events = (("INSERT", "NEW"), ("UPDATE", "NEW"), ("DELETE", "OLD"))
    return [_trigger(table, event, row) for event, row in events]


def _trigger(table: Keyed, event: str, row: str) -> str:
    # Not OR IGNORE: in a trigger, the conflict clause of the statement that fires it counts.
    note = (
        f"INSERT INTO unshipped SELECT '{table.name}', {row}.{table.key} "  # noqa: S608  names of our schema
        f"WHERE NOT EXISTS (SELECT 1 FROM unshipped WHERE name = '{table.name}' AND id = {row}.{table.key})"
    )
    name = f"note_{table.name}_{event}"
    return f"CREATE TEMP TRIGGER IF NOT EXISTS {name} AFTER {event} ON main.{table.name} BEGIN {note}; END"


def _keyed(db: sqlite3.Connection, name: str) -> Keyed:
    columns = db.execute("SELECT name, type, pk FROM pragma_table_info(?)", (name,)).fetchall()
    names = tuple(column for column, _, _ in columns)
    keys = [(column, kind) for column, kind, pk in columns if pk]
    if len(keys) == 1 and keys[0][1].upper() == "INTEGER":
        return Keyed(name, keys[0][0], names)
    try:
        db.execute(f"SELECT rowid FROM main.{name} LIMIT 0")  # noqa: S608  a name of our schema
    except sqlite3.OperationalError:
        # A table without row ids, which has a primary key.
        (key, _), *more = keys
        if more:
            raise NotImplementedError(f"the table {name} has a key of several columns") from None
        return Keyed(name, key, names)
    return Keyed(name, "rowid", ("rowid", *names))
