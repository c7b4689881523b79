"""Which images have a content: an index of ETags that is behind the rows, and caught up with in bulk.

ETags come in no order. An index that is kept up row by row changes another of its pages for nearly every image, which
was half of what writing one cost. So the newest entries wait in memory, and thousands at a time go into the file,
sorted, many to a page. What waits is found again from the rows when the file is opened.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from asyncfilter.checkpoint import sql
from asyncfilter.checkpoint.state import INDEXED, read_state, write_state

WAITING = 32_768
"""Entries that are put off at the most: a megabyte of memory, and some 30 ms when a file is opened."""

_BEGINNING = 4
"""Bytes, or characters, of an ETag that are indexed: enough to tell millions of images apart, in little space."""


class ContentIndex:
    """Finds images by the beginning of their ETag.

    Args:
        db: A connection in autocommit mode, used by one thread at a time.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._waiting = 0  # Counts what was rolled back too: then entries only go into the file sooner.

    def load(self) -> None:
        """Find what waits; to be called before anything else."""
        self._db.execute("PRAGMA temp_store = MEMORY")
        # A transaction that is rolled back takes its entries out of both tables.
        self._db.execute("CREATE TEMP TABLE waiting (beginning, image, PRIMARY KEY (beginning, image)) WITHOUT ROWID")
        beginnings = f"SELECT substr(etag, 1, {_BEGINNING}), id FROM image"  # noqa: S608  a number
        query = f"INSERT INTO waiting {beginnings} WHERE id > ? AND detection IS NOT NULL"
        self._waiting = self._db.execute(query, (self._past(),)).rowcount

    def add(self, entries: Sequence[tuple[int, bytes | str]]) -> None:
        """Enter images by row id and ETag as it is stored; to be called inside a transaction.

        An ETag that an image had before goes on finding it.
        """
        past = self._past()
        new = [(etag[:_BEGINNING], id_) for id_, etag in entries if id_ > past]
        late = [(etag[:_BEGINNING], id_) for id_, etag in entries if id_ <= past]
        sql.insert(self._db, "INSERT OR IGNORE INTO waiting", new)
        sql.insert(self._db, "INSERT OR IGNORE INTO content", late)
        self._waiting += len(new)
        if self._waiting >= WAITING:
            self._catch_up()

    def find(self, etags: Sequence[bytes | str]) -> list[int]:
        """Row ids of all images with one of ``etags``, and of some with another; some may be of no row any more."""
        found: set[int] = set()
        for some in sql.chunks([etag[:_BEGINNING] for etag in etags], sql.VALUES_PER_STATEMENT):
            for table in ("content", "waiting"):
                query = f"SELECT image FROM {table} WHERE beginning IN ({sql.marks(len(some))})"  # noqa: S608  only marks
                found.update(id_ for (id_,) in self._db.execute(query, some))
        return sorted(found)

    def _past(self) -> int:
        """The row id up to which ``content`` has every image; beyond it, what it lacks waits."""
        return read_state(self._db, INDEXED, int) or 0

    def _catch_up(self) -> None:
        (past,) = self._db.execute("SELECT max(image) FROM waiting").fetchone()
        self._db.execute("INSERT OR IGNORE INTO content SELECT beginning, image FROM waiting")
        self._db.execute("DELETE FROM waiting")
        write_state(self._db, {INDEXED: past})
        self._waiting = 0
