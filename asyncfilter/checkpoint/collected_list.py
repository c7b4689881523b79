"""A list of keys on its way into the stored listing: collected on disk, sorted, and stored in one transaction.

Rows in any order, stored one by one, would each write a page of the table: five times the work for a million of them.
A connection of its own does it, since that of the checkpoint keeps what is temporary in memory.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from asyncfilter.checkpoint import sql
from asyncfilter.checkpoint.sql import Row
from asyncfilter.checkpoint.state import LISTING, ListingState, write_state

_CACHE = "PRAGMA cache_size = -16384"
"""16 MB, also for sorting."""

_COLLECT = "CREATE TABLE collected (key, rank, size_bytes, etag, storage_class)"

_STORE = "INSERT OR IGNORE INTO file.listing SELECT * FROM main.collected ORDER BY key, rowid"
"""The first row of each key."""

_SHUFFLE = "CREATE INDEX IF NOT EXISTS file.listing_rank ON listing (rank)"

_BUSY_MS = 60_000


class CollectedList:
    """The rows of a list, in its order, in a database without a name that is gone when it is closed.

    Args:
        path: The checkpoint file, which is open on another connection of the same thread.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._db.execute(_CACHE)
        self._db.execute(_COLLECT)

    def add(self, rows: Sequence[Row]) -> None:
        """Add rows, as the table ``listing`` has them."""
        sql.insert(self._db, "INSERT INTO collected", rows)

    def store(self, origin: str) -> None:
        """Store the list, durably and at once; the stored listing must be empty."""
        self._db.execute("ATTACH DATABASE ? AS file", (str(self._path),))
        self._db.execute("PRAGMA file.synchronous = FULL")
        self._db.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
        self._db.execute("BEGIN IMMEDIATE")
        self._db.execute(_STORE)
        self._db.execute(_SHUFFLE)
        write_state(self._db, {LISTING: ListingState(is_whole=True, origin=origin)})
        self._db.execute("COMMIT")

    def close(self) -> None:
        """Forget the rows; an open transaction is rolled back."""
        self._db.close()
