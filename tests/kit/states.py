"""States in a store, made by hand from a checkpoint file: what an owner writes, without an owner."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec

from asyncfilter.answers import open_answers
from asyncfilter.checkpoint.changes import ChangeLog
from asyncfilter.checkpoint.open_file import connect, create_missing, stored_identity
from asyncfilter.checkpoint.tables import Tables
from asyncfilter.model import S3Location
from asyncfilter.records.images import StoredImage
from asyncfilter.records.progress import Batch, Totals, Watermark
from asyncfilter.state.head import Head, OwnerProcess, Segment, Snapshot, encode_head
from asyncfilter.state.names import StatePlace, new_id
from asyncfilter.state.segments import pack, read_changes
from asyncfilter.testing.state_store import MemoryStateStore
from tests.kit.checkpoints import IDENTITY, stored_image

PLACE = StatePlace("state", "jobs/", "robins")

SOMEBODY = OwnerProcess(
    host="elsewhere",
    boot_id="b-1",
    pid_namespace="pid:[1]",
    pid=7,
    started="12",
    run_id="r-1",
    since="2026-11-28T12:00:00Z",
)


def new_head(place: StatePlace = PLACE, **changes: object) -> Head:
    """The head of a state to which nothing was committed; ``changes`` replace its fields."""
    head = Head(
        state_id=new_id(),
        name=place.name,
        identity=dict(IDENTITY),
        file_format=1,
        epoch=1,
        commit=0,
        owner=None,
        snapshot=None,
        segments=[],
        rows=0,
        spent_micros=0,
        granted_micros=0,
        written="2026-11-28T12:00:00Z",
        nonce=new_id(),
    )
    return msgspec.structs.replace(head, **changes)


class HandMade:
    """A state whose commits a test makes one by one, from a file of its own.

    Args:
        store: Where it is.
        folder: For the file.
        place: The state.
        origin: A checkpoint whose copy the state begins from; by default an empty one.

    Attributes:
        head: The head as it was written last.
        path: The file from which it is made.
    """

    def __init__(
        self, store: MemoryStateStore, folder: Path, place: StatePlace = PLACE, *, origin: Path | None = None
    ) -> None:
        self.store, self.place = store, place
        self.path = folder / "origin.db"
        folder.mkdir(parents=True, exist_ok=True)
        if origin is None:
            create_missing(self.path, IDENTITY, place.name)
        else:
            shutil.copy(origin, self.path)
        with closing(connect(self.path, "ro")) as db:
            self.head = new_head(place, identity=stored_identity(db))
            (self._images,) = db.execute("SELECT coalesce(max(id), 0) FROM image").fetchone()

    def put(self, place: S3Location, body: bytes) -> None:
        """Write an object; the stores of other tests replace this."""
        self.store.write(place, body)

    def write_head(self, **changes: object) -> None:
        """Rewrite the head with its next commit."""
        changes = {"commit": self.head.commit + 1, "nonce": new_id()} | changes
        self.head = msgspec.structs.replace(self.head, **changes)
        self.put(self.place.head, encode_head(self.head))

    def commit_snapshot(self) -> None:
        """Commit the whole file."""
        with closing(connect(self.path, "rw")) as db:
            log = ChangeLog(db)
            log.begin()
            with _transaction(db):
                log.cut()
                log.confirm(self.head.commit + 1)
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        plain = self.path.read_bytes()
        body = zlib.compress(plain)
        where = self.place.new_snapshot(self.head.state_id, self.head.commit + 1)
        self.put(where, body)
        snapshot = Snapshot(
            key=where.key,
            bytes=len(body),
            sha256=hashlib.sha256(body).hexdigest(),
            commit=self.head.commit + 1,
            inflated_bytes=len(plain),
        )
        self.write_head(snapshot=snapshot, segments=[], rows=self._images)

    def commit_segment(
        self, change: Callable[[sqlite3.Connection, Tables], object] | None = None, *, random: str = ""
    ) -> Segment:
        """Change the file, by default by three more images, and commit what changed."""
        with closing(connect(self.path, "rw")) as db:
            tables = Tables(db, self.path)
            tables.etag_index.load()  # before the log, whose triggers it would drop
            log = ChangeLog(db)
            log.begin()
            (change or self._more)(db, tables)
            with _transaction(db):
                log.cut()
                found = read_changes(db)
                log.confirm(self.head.commit + 1)
        packed = pack([found])
        return self.name_segment(packed.body, inflated_bytes=packed.inflated_bytes, rows=found.rows, random=random)

    def name_segment(self, body: bytes, *, inflated_bytes: int, rows: int = 0, random: str = "") -> Segment:
        """Put some bytes as a segment, and name it."""
        where = self.place.new_segment(self.head.state_id, self.head.commit + 1, random=random)
        self.put(where, body)
        segment = Segment(
            key=where.key,
            bytes=len(body),
            sha256=hashlib.sha256(body).hexdigest(),
            rows=rows,
            inflated_bytes=inflated_bytes,
        )
        self.write_head(segments=[*self.head.segments, segment], rows=self._images)
        return segment

    def _more(self, _db: sqlite3.Connection, tables: Tables) -> None:
        new = [self.next_image() for _ in range(3)]
        seq = new[-1].id
        tables.commit(Batch(new=new, watermark=Watermark(seq=seq), totals=Totals(calls=seq, spent_micros=1000 * seq)))

    def next_image(self) -> StoredImage:
        """A new image."""
        self._images += 1
        return stored_image(self._images)


def put_answers(store: MemoryStateStore, path: Path, place: StatePlace) -> Head:
    """Make an answers file at ``path``, unless it is there, and commit it as the snapshot of a state of its own."""
    with open_answers(path):
        pass
    plain = path.read_bytes()
    body = zlib.compress(plain)
    head = new_head(place, commit=1, identity={})
    where = place.new_snapshot(head.state_id, 1)
    store.write(where, body)
    digest = hashlib.sha256(body).hexdigest()
    snapshot = Snapshot(key=where.key, bytes=len(body), sha256=digest, commit=1, inflated_bytes=len(plain))
    head = msgspec.structs.replace(head, snapshot=snapshot)
    store.write(place.head, encode_head(head))
    return head


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")
    yield
    db.execute("COMMIT")


def names_in(folder: Path) -> list[str]:
    """The names in a folder, in order."""
    return sorted(one.name for one in folder.iterdir())


def contents_of(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """All rows of a checkpoint by table, without what only this machine's file has."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        names = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
        own = {"unshipped", "shipping", "shipment", "content", "sqlite_stat1"}
        found = {name: db.execute(f"SELECT * FROM {name}").fetchall() for name in names if name not in own}
        return {name: sorted((row for row in rows if row[0] != "indexed"), key=repr) for name, rows in found.items()}
