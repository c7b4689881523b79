"""Reading and writing of an open checkpoint file: plain SQL, on the calling thread.

Every change is one transaction: durable when the method returns, rolled back when the method raises.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from asyncfilter.checkpoint import sql
from asyncfilter.checkpoint.answers import write_answers
from asyncfilter.checkpoint.changes import ChangeLog
from asyncfilter.checkpoint.collected_list import CollectedList
from asyncfilter.checkpoint.etag_index import EtagIndex
from asyncfilter.checkpoint.ranged_listing import RangedListingTable
from asyncfilter.checkpoint.removal_journal import CLAIMS, RemovalTable
from asyncfilter.checkpoint.rows import CACHED_WITH_LABELS, WITH_LABELS, RowCodec, pack_etag, select, unpack_etag
from asyncfilter.checkpoint.schema import ACTIONS, SHUFFLE, UNSHUFFLE
from asyncfilter.checkpoint.sql import Row
from asyncfilter.checkpoint.state import (
    ANSWERS,
    DECIDED_BY,
    LISTING,
    MODEL,
    REFERENCES,
    TOTALS,
    WATERMARK,
    ListingState,
    merged,
    read_references,
    read_state,
    write_state,
)
from asyncfilter.checkpoint.transaction import committed
from asyncfilter.errors import CheckpointError
from asyncfilter.model import ActionKind, Counts, Label, LabelFilter, ListedObject, StopReason
from asyncfilter.records.images import DoneEffect, Owner, StoredImage, StoredReference
from asyncfilter.records.progress import Batch, Watermark


class Tables:
    """The tables of one open file.

    Args:
        db: A connection in autocommit mode, used by one thread at a time.
        path: The file, which must stay in place while it is written to.

    Attributes:
        removal: The removal journal, and the images that are to leave the source.
        ranged: The stored listing as one in ranges.
        etag_index: Finds images by ETag; to be loaded before anything is written.
        log: Notes what changes, for a state in S3; None without one.
    """

    def __init__(self, db: sqlite3.Connection, path: Path) -> None:
        self._db = db
        self._path = path
        self._codec = RowCodec(db)
        self.removal = RemovalTable(db, self._codec)
        self.etag_index = EtagIndex(db)
        self.ranged = RangedListingTable(db, self.transaction)
        self._inode = _inode(path)
        self._collected: CollectedList | None = None
        self.log: ChangeLog | None = None

    def commit(self, batch: Batch) -> None:
        """See ``Checkpoint.commit``."""
        codec = self._codec
        with self.transaction():
            if batch.unpositioned:
                # First, because positions are unique: an image of this batch cannot get one that another row still has.
                self._drop_position(batch.unpositioned)
            if batch.new:
                rows = [codec.new_row(image) for image in batch.new]
                sql.insert(self._db, "INSERT INTO image", rows)
                self.etag_index.add([(row[0], row[3]) for row in rows if row[-1] is not None])
            if batch.positioned:
                outcomes = [(image.id, image.seq, *codec.outcome(image)) for image in batch.positioned]
                self._update(("seq", "decision", "label", "failure", "message"), outcomes)
            has_answers = write_answers(self._db, batch, is_first=not codec.has_answers)
            if batch.revoked:
                self.removal.revoke(batch.revoked)
            if batch.renewed:
                etags = [(pack_etag(etag), id_) for id_, etag in batch.renewed]
                self._db.executemany("UPDATE image SET etag = ? WHERE id = ?", etags)
                self.etag_index.add([(id_, etag) for etag, id_ in etags])
            if batch.effects:
                # After the new rows: an action may belong to one of them.
                self._confirm(batch.effects)
            if batch.removals:
                self.removal.write(batch.removals)
            if batch.failures:
                failures = [(id_, failure.code, failure.message) for id_, failure in batch.failures]
                self._update(("failure", "message"), failures)
            state: dict[str, object] = {
                WATERMARK: batch.watermark,
                TOTALS: batch.totals,
                MODEL: batch.model,
                ANSWERS: batch.answers,
            }
            if batch.references:
                state[REFERENCES] = merged(read_references(self._db), batch.references)
            write_state(self._db, {key: value for key, value in state.items() if value is not None})
        # Only after the commit: a rollback removes the table, too.
        codec.has_answers = has_answers
        self._count_changed(batch)

    def by_keys(self, keys: Sequence[str]) -> list[StoredImage]:
        """See ``Checkpoint.by_keys``."""
        # Text sorts by code point here and by UTF-8 bytes in SQLite, which is the same order.
        found: list[StoredImage] = []
        for some in sql.chunks(sorted(set(keys)), sql.VALUES_PER_STATEMENT):
            query = f"WHERE key IN ({sql.marks(len(some))}) ORDER BY key, id"
            found += self._images(select(CACHED_WITH_LABELS) + query, some)
        return found

    def by_etags(self, etags: Sequence[str]) -> list[StoredImage]:
        """See ``Checkpoint.by_etags``."""
        wanted = {etag: pack_etag(etag) for etag in etags}
        found: list[StoredImage] = []
        for some in sql.chunks(self.etag_index.find(list(wanted.values())), sql.VALUES_PER_STATEMENT):
            query = f"WHERE detection IS NOT NULL AND id IN ({sql.marks(len(some))}) ORDER BY id"
            found += self._images(select(WITH_LABELS) + query, some)
        return [image for image in found if image.etag in wanted]

    def rows(self, ids: Sequence[int]) -> list[StoredImage]:
        """See ``Checkpoint.rows``."""
        return self._codec.by_ids(ids)

    def references(self) -> list[StoredReference]:
        """See ``Checkpoint.references``."""
        return read_references(self._db)

    def labels(self, *, boxes: bool = False) -> list[Label]:
        """See ``Checkpoint.labels``."""
        return self._codec.every_label(boxes=boxes)

    def positioned(self, after_seq: int, limit: int, *, is_asked: LabelFilter | None = None) -> list[StoredImage]:
        """See ``Checkpoint.positioned``."""
        return self._images(select(WITH_LABELS) + "WHERE seq > ? ORDER BY seq LIMIT ?", (after_seq, limit), is_asked)

    def at(self, seqs: Sequence[int], *, is_asked: LabelFilter | None = None) -> list[StoredImage]:
        """See ``Checkpoint.at``."""
        found: list[StoredImage] = []
        for some in sql.chunks(sorted(set(seqs)), sql.VALUES_PER_STATEMENT):
            query = select(WITH_LABELS) + f"WHERE seq IN ({sql.marks(len(some))}) ORDER BY seq"
            found += self._images(query, some, is_asked)
        return found

    def failed(self, after_seq: int, up_to_seq: int, limit: int) -> list[StoredImage]:
        """See ``Checkpoint.failed``."""
        query = "WHERE seq > ? AND seq <= ? AND failure IS NOT NULL ORDER BY seq LIMIT ?"
        return self._images(select(WITH_LABELS) + query, (after_seq, up_to_seq, limit))

    def drop_positions_after(self, seq: int) -> None:
        """See ``Checkpoint.drop_positions_after``."""
        with self.transaction():
            self._db.execute("UPDATE image SET seq = NULL WHERE seq > ?", (seq,))

    def overshoot(self) -> int:
        """See ``Checkpoint.overshoot``."""
        (count,) = self._db.execute(
            "SELECT count(*) FROM image AS cached WHERE seq IS NULL AND detection IS NOT NULL AND NOT EXISTS "
            "(SELECT 1 FROM image WHERE image.key = cached.key AND image.seq IS NOT NULL)"
        ).fetchone()
        return int(count)

    def decided(self, fingerprint: str | None, watermark: Watermark) -> None:
        """See ``Checkpoint.decided``."""
        with self.transaction():
            write_state(self._db, {WATERMARK: watermark, **({DECIDED_BY: fingerprint} if fingerprint else {})})
            if fingerprint is None:
                self._db.execute("DELETE FROM state WHERE key = ?", (DECIDED_BY,))

    def owners(self, targets: Sequence[str]) -> dict[str, Owner]:
        """See ``Checkpoint.owners``; a moved image has an effect and a claim, and the claim replaces the effect."""
        found: dict[str, Owner] = {}
        for some in sql.chunks(targets, sql.VALUES_PER_STATEMENT):
            among = f"target <> '' AND target IN ({sql.marks(len(some))})"
            written = "SELECT target, key, NULL FROM effect JOIN image ON image.id = effect.image"
            query = f"{written} WHERE {among} AND kind <> {ACTIONS[ActionKind.TAG]} UNION ALL {CLAIMS} AND {among}"
            rows = self._db.execute(query, (*some, *some))
            found.update((target, Owner(key=key, moved=moved)) for target, key, moved in rows)
        return found

    def save_listing(self, ranked: Sequence[tuple[int, ListedObject]], *, is_last: bool, origin: str = "") -> None:
        """See ``Checkpoint.save_listing``."""
        rows = [
            (entry.key, rank, entry.size_bytes, pack_etag(entry.etag), entry.storage_class) for rank, entry in ranked
        ]
        if origin:
            self._save_list(rows, is_last=is_last, origin=origin)
            return
        state = self._listing_state()
        keys = [entry.key for _, entry in ranked]
        last_key = max([*keys, *([] if state.last_key is None else [state.last_key])], default=None)
        with self.transaction():
            sql.insert(self._db, "INSERT OR IGNORE INTO listing", rows)
            write_state(self._db, {LISTING: ListingState(is_whole=is_last, last_key=last_key)})
            if is_last:
                self._db.execute(SHUFFLE)

    def _save_list(self, rows: Sequence[Row], *, is_last: bool, origin: str) -> None:
        """Add rows of a list, whose keys are in any order; they are stored together with the last ones."""
        if self._collected is None:
            self._collected = CollectedList(self._path)
        self._collected.add(rows)
        if is_last:
            self._check_place()
            if self.log is not None:
                # Before it: another connection stores the list, and its rows are not noted.
                with self.transaction():
                    self.log.note_whole()
            self._collected.store(origin)
            self.close()

    def close(self) -> None:
        """Forget a list of which not all rows were added."""
        if self._collected is not None:
            self._collected.close()
            self._collected = None

    def listing(self, after: tuple[int, str] | None, limit: int) -> list[ListedObject]:
        """See ``Checkpoint.listing``."""
        columns = "SELECT key, size_bytes, etag, storage_class FROM listing"
        where = "" if after is None else "WHERE (rank, key) > (?, ?)"
        rows = self._db.execute(f"{columns} {where} ORDER BY rank, key LIMIT ?", (*(after or ()), limit))
        return [ListedObject(key, size_bytes, unpack_etag(etag), kind) for key, size_bytes, etag, kind in rows]

    def listing_state(self) -> tuple[bool, str | None]:
        """See ``Checkpoint.listing_state``."""
        state = self._listing_state()
        return state.is_whole, state.last_key

    def listing_origin(self) -> str:
        """See ``Checkpoint.listing_origin``."""
        return self._listing_state().origin

    def listing_rank(self, key: str) -> int | None:
        """See ``Checkpoint.listing_rank``."""
        row = self._db.execute("SELECT rank FROM listing WHERE key = ?", (key,)).fetchone()
        return None if row is None else int(row[0])

    def drop_listing(self) -> None:
        """See ``Checkpoint.drop_listing``."""
        self.close()
        with self.transaction():
            self._db.execute(UNSHUFFLE)
            self._db.execute("DELETE FROM listing")
            self._db.execute("DELETE FROM state WHERE key = ?", (LISTING,))

    def begin_run(self, run_id: str, started_unix_s: float) -> None:
        """See ``Checkpoint.begin_run``."""
        with self.transaction():
            self._db.execute("INSERT INTO run (id, started_unix_s) VALUES (?, ?)", (run_id, started_unix_s))

    def end_run(self, run_id: str, ended_unix_s: float, stop_reason: StopReason, counts: Counts) -> None:
        """See ``Checkpoint.end_run``."""
        ending = (ended_unix_s, stop_reason.value, msgspec.json.encode(counts).decode(), run_id)
        with self.transaction():
            self._db.execute("UPDATE run SET ended_unix_s = ?, outcome = ?, counts = ? WHERE id = ?", ending)

    # -- Parts of the above --------------------------------------------------------------------------------------------

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Run the block as one transaction: all of it becomes durable, or none of it.

        Raises:
            CheckpointError: The file was moved or deleted, so that what is written to it would be lost.
        """
        self._check_place()
        with committed(self._db):
            yield
            self._codec.save_interned()
        # Only after the commit: after a rollback the new names still have to be written by the next transaction.
        self._codec.interned_saved()

    def _check_place(self) -> None:
        if _inode(self._path) != self._inode:
            raise CheckpointError(f"{self._path}: moved or deleted while it was in use")

    def _listing_state(self) -> ListingState:
        return read_state(self._db, LISTING, ListingState) or ListingState()

    def _images(
        self, query: str, parameters: Sequence[object], is_asked: LabelFilter | None = None
    ) -> list[StoredImage]:
        return self._codec.images(self._db.execute(query, parameters).fetchall(), is_asked)

    def _update(self, columns: Sequence[str], rows: Sequence[Row]) -> None:
        """Set ``columns`` of the rows whose id each row begins with."""
        names = ", ".join(columns)
        new = ", ".join(f"v.column{position}" for position, _ in enumerate(columns, 2))
        update = ", ".join(f"{column} = excluded.{column}" for column in columns)
        changed = 0
        for clause, parameters in sql.values(rows):
            # An upsert that never inserts: UPDATE takes no list of rows before SQLite 3.33.
            changed += self._db.execute(
                f"INSERT INTO image (id, key, etag, size_bytes, {names}) "  # noqa: S608  names and marks only
                f"SELECT image.id, image.key, image.etag, image.size_bytes, {new} "
                f"FROM ({clause}) AS v JOIN image ON image.id = v.column1 WHERE true "
                f"ON CONFLICT (id) DO UPDATE SET {update}",
                parameters,
            ).rowcount
        if changed != len(rows):
            raise CheckpointError(f"{self._path}: {len(rows) - changed} rows to change are not there")

    def _count_changed(self, batch: Batch) -> None:
        if self.log is not None:
            self.log.changed_rows += len(batch.new) + len(batch.positioned)

    def _confirm(self, effects: Sequence[tuple[int, DoneEffect]]) -> None:
        ids = sorted({id_ for id_, _ in effects})
        there = 0
        for some in sql.chunks(ids, sql.VALUES_PER_STATEMENT):
            among = f"id IN ({sql.marks(len(some))})"
            there += self._db.execute(f"SELECT count(*) FROM image WHERE {among}", some).fetchone()[0]  # noqa: S608  only marks
        if there != len(ids):
            raise CheckpointError(f"{self._path}: {len(ids) - there} rows to change are not there")
        rows = [(id_, ACTIONS[effect.kind], effect.target) for id_, effect in effects]
        # Replaces the same action of the same image, and the same target of another row with the same key.
        sql.insert(self._db, "INSERT OR REPLACE INTO effect (image, kind, target)", rows)

    def _drop_position(self, ids: Sequence[int]) -> None:
        for some in sql.chunks(ids, sql.VALUES_PER_STATEMENT):
            among = f"id IN ({sql.marks(len(some))})"
            # A row without labels has no use as a cached row.
            self._db.execute(f"DELETE FROM image WHERE detection IS NULL AND {among}", some)  # noqa: S608  only marks
            self._db.execute(f"UPDATE image SET seq = NULL WHERE {among}", some)  # noqa: S608  only marks


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
