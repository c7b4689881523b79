"""Which images have a content: an index of ETags whose newest entries wait in memory.

ETags come in no order. An index that is kept up row by row changes another of its pages for nearly every image, which
was half of what writing one cost. So entries wait, sorted, and a hand sweeps over them: every commit puts those that
come next into the file, as many as it adds, and several go to one page. No commit takes longer than another.

Invariant: an entry is in ``content``, or it waits; both tables, and where the hand is, are rolled back as one. What
waited is found again from the rows when the file is opened: those with a higher id than any had when the last whole
round began.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from asyncfilter.checkpoint import sql
from asyncfilter.checkpoint.schema import CONTENT, table_names
from asyncfilter.checkpoint.state import INDEXED, read_state, write_state

WAITING = 16_384
"""Entries that wait: half a megabyte of memory, and some four times as many rows to read when a file is opened."""

_BEGINNING = 4
"""Bytes, or characters, of an ETag that are indexed: enough to tell millions of images apart, in little space."""

_START, _END = ("", 0), (b"\xff" * (_BEGINNING + 1), 0)
"""Before and after every entry."""

_TABLES = """
CREATE TEMP TABLE waiting (beginning, image, PRIMARY KEY (beginning, image)) WITHOUT ROWID;
CREATE TEMP TABLE hand (beginning, image, waiting, past);
"""
"""``hand`` has one row: the entry it is at, how many wait, and the highest row id when its round began."""

_ENTRIES = f"SELECT substr(etag, 1, {_BEGINNING}), id FROM image WHERE detection IS NOT NULL"  # noqa: S608  a number


class ContentIndex:
    """Finds images by the beginning of their ETag.

    Args:
        db: A connection in autocommit mode, used by one thread at a time.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def load(self) -> None:
        """Find what waits; to be called before anything else, outside a transaction.

        A file that had another index gets this one: a second for a million images.
        """
        if "content" not in table_names(self._db):
            self._build()
        self._db.execute("PRAGMA temp_store = MEMORY")
        self._db.executescript(_TABLES)
        indexed = read_state(self._db, INDEXED, int) or 0
        waiting = self._db.execute(f"INSERT INTO waiting {_ENTRIES} AND id > ?", (indexed,)).rowcount
        self._db.execute("INSERT INTO hand VALUES (?, ?, ?, ?)", (*_START, waiting, self._last()))

    def add(self, entries: Sequence[tuple[int, bytes | str]]) -> None:
        """Enter images by row id and ETag as it is stored; to be called inside a transaction, after their rows.

        An ETag that an image had before goes on finding it.
        """
        *at, waiting, past = self._db.execute("SELECT * FROM hand").fetchone()
        # A row that was there when the round began, or has an id like that, is not read again once the round is over.
        late = [(etag[:_BEGINNING], id_) for id_, etag in entries if id_ <= past]
        new = [(etag[:_BEGINNING], id_) for id_, etag in entries if id_ > past]
        sql.insert(self._db, "INSERT OR IGNORE INTO content", late)
        sql.insert(self._db, "INSERT OR IGNORE INTO waiting", new)
        waiting += len(new)
        # Many wait after a kill; twice what is added brings that down without a long commit.
        count = min(waiting - WAITING, 2 * len(entries))
        if count > 0:
            to = self._sweep(at, count)
            waiting -= count
            if to is None:
                write_state(self._db, {INDEXED: past})
                to, waiting, past = _START, self._count(), self._last()
            at = to
        self._db.execute("UPDATE hand SET beginning = ?, image = ?, waiting = ?, past = ?", (*at, waiting, past))

    def find(self, etags: Sequence[bytes | str]) -> list[int]:
        """Row ids of all images with one of ``etags``, and of some with another; some may be of no row any more."""
        found: set[int] = set()
        for some in sql.chunks([etag[:_BEGINNING] for etag in etags], sql.VALUES_PER_STATEMENT):
            for table in ("content", "waiting"):
                query = f"SELECT image FROM {table} WHERE beginning IN ({sql.marks(len(some))})"  # noqa: S608  only marks
                found.update(id_ for (id_,) in self._db.execute(query, some))
        return sorted(found)

    def _build(self) -> None:
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute(CONTENT)
            self._db.execute(f"INSERT INTO content {_ENTRIES} ORDER BY 1, 2")
            self._db.execute("DROP INDEX IF EXISTS image_etag")  # what there was in its place
            write_state(self._db, {INDEXED: self._last()})

    def _sweep(self, at: Sequence[object], count: int) -> Sequence[object] | None:
        """Put the ``count`` entries after ``at`` into the file; returns the last, None when there are fewer."""
        beyond = "FROM waiting WHERE (beginning, image) > (?, ?)"
        nth = f"SELECT beginning, image {beyond} ORDER BY beginning, image LIMIT 1 OFFSET ?"
        last: Sequence[object] | None = self._db.execute(nth, (*at, count - 1)).fetchone()
        these, bounds = f"{beyond} AND (beginning, image) <= (?, ?)", (*at, *(last or _END))
        self._db.execute(f"INSERT OR IGNORE INTO content SELECT beginning, image {these}", bounds)
        self._db.execute(f"DELETE {these}", bounds)
        return last

    def _count(self) -> int:
        (waiting,) = self._db.execute("SELECT count(*) FROM waiting").fetchone()
        return int(waiting)

    def _last(self) -> int:
        (last,) = self._db.execute("SELECT coalesce(max(id), 0) FROM image").fetchone()
        return int(last)
