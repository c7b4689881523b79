"""The index from ETag to images: a small log-structured merge (LSM) tree with two levels.

ETags come in random order. An index that is updated row by row changes a different page for nearly every image, which
was half of the cost of writing one. So new entries are added to the *memtable*, sorted in memory, and are moved to the
table ``content`` of the file in the order of the index, where several entries share a page.

No merge delays a commit: the *flush* is spread over all commits. A *cursor* moves through the memtable in order; every
commit flushes the entries after it, as many as the commit adds, so that the memtable keeps its size and no commit takes
longer than another. A round ends when the cursor passes the last entry; the next one starts at the first.

The write-ahead log of the memtable is the table ``image`` itself. When a round ends, every entry of a row that existed
when the round began is in ``content``; the highest id of those rows is stored (``INDEXED``). Opening a file fills the
memtable from the rows with a higher id. An entry in both does no harm.

Invariant: an entry is in ``content`` or in the memtable. Memtable and cursor are SQLite's temporary tables, so that a
rollback restores them too.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from asyncfilter.checkpoint import sql
from asyncfilter.checkpoint.schema import CONTENT, table_names
from asyncfilter.checkpoint.state import INDEXED, read_state, write_state

MEMTABLE_ENTRIES = 16_384
"""Size of the memtable: half a megabyte of memory, and up to five times as many rows to read when a file is opened."""

_PREFIX = 4
"""Bytes, or characters, of an ETag that are indexed: enough to distinguish millions of images, in little space."""

_START, _END = ("", 0), (b"\xff" * (_PREFIX + 1), 0)
"""Before and after every entry: in SQLite every text sorts before every blob."""

_TABLES = """
CREATE TEMP TABLE memtable (beginning, image, PRIMARY KEY (beginning, image)) WITHOUT ROWID;
CREATE TEMP TABLE cursor (beginning, image, entries, last_row);
"""
"""``cursor`` has one row: the entry flushed last, the size of the memtable, and the last row when the round began."""

_ENTRIES = f"SELECT substr(etag, 1, {_PREFIX}), id FROM image WHERE detection IS NOT NULL"  # noqa: S608  a number


class EtagIndex:
    """Finds images by the beginning of their ETag.

    Args:
        db: A connection in autocommit mode, used by one thread at a time.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def load(self) -> None:
        """Fill the memtable from the rows; to be called before all other methods, outside a transaction.

        In a file without the table ``content`` it is created: one second for a million images.
        """
        if "content" not in table_names(self._db):
            self._build()
        # Before the temporary tables are created: a change of this setting deletes them.
        self._db.execute("PRAGMA temp_store = MEMORY")
        self._db.executescript(_TABLES)
        indexed = read_state(self._db, INDEXED, int) or 0
        entries = self._db.execute(f"INSERT INTO memtable {_ENTRIES} AND id > ?", (indexed,)).rowcount
        self._db.execute("INSERT INTO cursor VALUES (?, ?, ?, ?)", (*_START, entries, self._last_row()))

    def add(self, images: Sequence[tuple[int, bytes | str]]) -> None:
        """Add images by row id and stored form of the ETag; to be called inside a transaction, after their rows.

        An earlier ETag of an image still finds it.
        """
        *at, entries, last_row = self._db.execute("SELECT * FROM cursor").fetchone()
        # At the end of this round all rows up to last_row must be in the file, and the cursor may have passed the
        # position of a new entry of such a row: these entries are written to the file directly.
        late = [(etag[:_PREFIX], id_) for id_, etag in images if id_ <= last_row]
        new = [(etag[:_PREFIX], id_) for id_, etag in images if id_ > last_row]
        sql.insert(self._db, "INSERT OR IGNORE INTO content", late)
        sql.insert(self._db, "INSERT OR IGNORE INTO memtable", new)
        entries += len(new)
        # The memtable may be too large after a kill: flushing twice what is added shrinks it without a long commit.
        count = min(entries - MEMTABLE_ENTRIES, 2 * len(images))
        if count > 0:
            flushed_to = self._flush(at, count)
            entries -= count
            if flushed_to is None:
                # In the transaction of the round's last entries: after a crash the file has both, or neither.
                write_state(self._db, {INDEXED: last_row})
                # Counted anew once a round: `OR IGNORE` may have skipped entries that the running number includes.
                flushed_to, entries, last_row = _START, self._count(), self._last_row()
            at = flushed_to
        self._db.execute(
            "UPDATE cursor SET beginning = ?, image = ?, entries = ?, last_row = ?", (*at, entries, last_row)
        )

    def find(self, etags: Sequence[bytes | str]) -> list[int]:
        """Row ids of all images with one of ``etags``, and of some other ones; not all of these rows may exist."""
        found: set[int] = set()
        for some in sql.chunks([etag[:_PREFIX] for etag in etags], sql.VALUES_PER_STATEMENT):
            for table in ("content", "memtable"):
                query = f"SELECT image FROM {table} WHERE beginning IN ({sql.marks(len(some))})"  # noqa: S608  only marks
                found.update(id_ for (id_,) in self._db.execute(query, some))
        return sorted(found)

    def _build(self) -> None:
        """Create the table ``content`` from the rows, sorted once."""
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute(CONTENT)
            self._db.execute(f"INSERT INTO content {_ENTRIES} ORDER BY 1, 2")
            self._db.execute("DROP INDEX IF EXISTS image_etag")  # the index of earlier files
            write_state(self._db, {INDEXED: self._last_row()})

    def _flush(self, at: Sequence[object], count: int) -> Sequence[object] | None:
        """Move the ``count`` entries after ``at`` into the file.

        Returns:
            The last of them; None when there are fewer, which ends the round.
        """
        beyond = "FROM memtable WHERE (beginning, image) > (?, ?)"
        nth = f"SELECT beginning, image {beyond} ORDER BY beginning, image LIMIT 1 OFFSET ?"
        last: Sequence[object] | None = self._db.execute(nth, (*at, count - 1)).fetchone()
        these, bounds = f"{beyond} AND (beginning, image) <= (?, ?)", (*at, *(last or _END))
        # OR IGNORE: after a kill in the middle of a round the memtable gets entries again that are in the file already.
        self._db.execute(f"INSERT OR IGNORE INTO content SELECT beginning, image {these}", bounds)
        self._db.execute(f"DELETE {these}", bounds)
        return last

    def _count(self) -> int:
        (entries,) = self._db.execute("SELECT count(*) FROM memtable").fetchone()
        return int(entries)

    def _last_row(self) -> int:
        (last,) = self._db.execute("SELECT coalesce(max(id), 0) FROM image").fetchone()
        return int(last)
