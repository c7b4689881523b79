"""The stored listing as one in ranges of keys: rows by key, and how far each range is, in one transaction.

Until it is whole and ranked, its origin is ``IN_RANGES``: an asyncfilter that knows nothing of ranges takes it for
another list, and lists anew.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from asyncfilter.checkpoint import sql
from asyncfilter.checkpoint.rows import pack_etag, unpack_etag
from asyncfilter.checkpoint.schema import SHUFFLE
from asyncfilter.checkpoint.state import IN_RANGES, LISTING, SPREAD_KEYS, ListingState, read_state, write_state
from asyncfilter.model import ListedObject
from asyncfilter.records.listing_ranges import ListingRanges


class RangedListingTable:
    """The table ``listing`` of one open file, for a listing in ranges.

    Args:
        db: The connection of the file.
        transaction: Runs a block as one transaction.
    """

    def __init__(self, db: sqlite3.Connection, transaction: Callable[[], AbstractContextManager[None]]) -> None:
        self._db = db
        self._transaction = transaction

    def save_ranges(
        self,
        ranked: Sequence[tuple[int, ListedObject]],
        ranges: ListingRanges,
        *,
        is_ranked: bool,
        spread: Sequence[str] = (),
    ) -> None:
        """See ``Checkpoint.save_ranges``."""
        rows = [(one.key, rank, one.size_bytes, pack_etag(one.etag), one.storage_class) for rank, one in ranked]
        is_whole = not ranges.left
        state = ListingState(origin=IN_RANGES, is_whole=is_whole, ranges=ranges)
        with self._transaction():
            sql.insert(self._db, "INSERT OR IGNORE INTO listing", rows)
            if is_whole and is_ranked:
                (last_key,) = self._db.execute("SELECT max(key) FROM listing").fetchone()
                state = ListingState(is_whole=True, last_key=last_key)
                self._db.execute(SHUFFLE)
            write_state(self._db, {LISTING: state, **({SPREAD_KEYS: spread} if is_whole else {})})

    def listing_ranges(self) -> ListingRanges | None:
        """See ``Checkpoint.listing_ranges``."""
        state = read_state(self._db, LISTING, ListingState)
        return None if state is None or state.origin != IN_RANGES else state.ranges

    def listed_between(self, after: str, upto: str | None, limit: int) -> list[ListedObject]:
        """See ``Checkpoint.listed_between``."""
        end, ends = ("", ()) if upto is None else ("AND key <= ?", (upto,))
        rows = self._db.execute(
            f"SELECT key, size_bytes, etag, storage_class FROM listing WHERE key > ? {end} ORDER BY key LIMIT ?",  # noqa: S608  no value
            (after, *ends, limit),
        )
        return [ListedObject(key, size_bytes, unpack_etag(etag), kind) for key, size_bytes, etag, kind in rows]

    def count_listed(self, after: str) -> int:
        """See ``Checkpoint.count_listed``."""
        (count,) = self._db.execute("SELECT count(*) FROM listing WHERE key > ?", (after,)).fetchone()
        return int(count)

    def spread_keys(self) -> list[str]:
        """See ``Checkpoint.spread_keys``."""
        return read_state(self._db, SPREAD_KEYS, list[str]) or []
