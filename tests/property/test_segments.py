"""Segments: a snapshot with all later segments has the rows of the file, whatever was written and in which order."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asyncfilter.checkpoint.changes import DERIVED, LOG_TABLES, keyed_tables
from asyncfilter.checkpoint.errors import CorruptRowError
from asyncfilter.checkpoint.open_file import create_missing, open_tables
from asyncfilter.checkpoint.shipping import Cut, ImageCount, ShippingFile
from asyncfilter.checkpoint.state import INDEXED, TOTALS, read_state
from asyncfilter.checkpoint.tables import Tables
from asyncfilter.model import ActionKind, Counts, Decision, Detection, Failure, Label, ListedObject, StopReason, Verdict
from asyncfilter.records.answers import CurrentAnswer, CurrentVerdict
from asyncfilter.records.images import DoneEffect, StoredImage
from asyncfilter.records.progress import Batch, Totals, Watermark
from asyncfilter.records.removal import Removal, Step
from asyncfilter.state.segments import Reserved, apply_segment, pack, read_changes, unpack

QUICK = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


class Shipped:
    """A checkpoint file that ships, and the file that S3 would restore."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / "robins.db"
        self.next_id, self.commit = 1, 0
        self.confirmed: int | None = None
        self.images: ImageCount | None = None
        self.restored: Path | None = None
        self.open()

    def open(self) -> None:
        """Open the file as the next process does."""
        is_new = create_missing(self.path, {"source.uri": "s3://raw/"}, "robins")
        self.db, self.tables, opened, log = open_tables(
            self.path, {"source.uri": "s3://raw/"}, is_new=is_new, ships=True
        )
        assert log is not None
        self.file = ShippingFile(self.db, self.tables, self.path, log)
        self.file.bind("0" * 16, opened.epoch, self.commit)
        self.next_id, self.confirmed = opened.next_id, None
        self.images = None

    def reopen(self, *, ships: bool = True) -> None:
        """A process ended, and another one opens the file; or one between that ships nothing."""
        self.tables.close()
        self.db.close()
        if not ships:
            db, _, opened, _ = open_tables(self.path, {"source.uri": "s3://raw/"}, is_new=False)
            db.execute("UPDATE image SET message = 'unseen'")
            db.close()
            assert opened.epoch
        self.open()

    def image(self, seq: int | None = None) -> StoredImage:
        """A new row."""
        id_, self.next_id = self.next_id, self.next_id + 1
        labels = Detection((Label(f"Label {id_ % 7}", 90.0),), "3.0")
        return StoredImage(
            id=id_,
            seq=seq,
            key=f"birds/{id_ % 5}.jpg",
            etag=f"{id_:032x}",
            size_bytes=id_,
            decision=Decision(Verdict.KEEP, 0, f"Label {id_ % 3}"),
            detection=labels if id_ % 4 else None,
        )

    def ship(self, *, is_lost: bool = False) -> None:
        """Cut what changed, and apply it to what S3 has; ``is_lost``: the commit did not arrive."""
        cut = self.file.cut(self.confirmed)
        with closing(cut.reader):
            images = ImageCount.of(cut.reader) if self.images is None else self.images.after(cut.reader)
            if is_lost:
                self.confirmed = None
                return
            self._apply(cut)
            self.images = images
        self.commit += 1
        self.confirmed = self.commit

    def _apply(self, cut: Cut) -> None:
        if cut.is_whole or self.restored is None:
            self.restored = self.folder / f"restored-{self.commit}.db"
            with closing(sqlite3.connect(self.restored)) as copy:
                cut.reader.backup(copy)
            return
        packed = pack([read_changes(cut.reader)])
        with closing(sqlite3.connect(self.restored, isolation_level=None)) as copy:
            apply_segment(copy, packed.body, packed.inflated_bytes)

    def check(self) -> None:
        """Everything was shipped: both files have the same rows, and the restored one is a checkpoint."""
        assert self.restored is not None
        with closing(sqlite3.connect(self.path)) as mine, closing(sqlite3.connect(self.restored)) as theirs:
            assert rows(theirs) == rows(mine)
            assert theirs.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            assert theirs.execute("PRAGMA foreign_key_check").fetchall() == []
            assert self.images is not None
            assert mine.execute("SELECT count(*) FROM image").fetchone() == (self.images.rows,)
            expected = {id_ for (id_,) in mine.execute("SELECT id FROM image WHERE detection IS NOT NULL")}
        # As the next process on another machine opens it: every image is found by its content.
        db, tables, _, _ = open_tables(self.restored, {"source.uri": "s3://raw/"}, is_new=False)
        with closing(db):
            etags = [etag if isinstance(etag, str) else etag.hex() for (etag,) in db.execute("SELECT etag FROM image")]
            assert {image.id for image in tables.by_etags(etags)} == expected


def rows(db: sqlite3.Connection) -> dict[str, list[tuple[object, ...]]]:
    """All rows of the tables that are shipped."""
    found = {
        table.name: sorted(db.execute(f"SELECT {', '.join(table.columns)} FROM {table.name}"), key=repr)
        for table in keyed_tables(db)
    }
    assert not found.keys() & (LOG_TABLES | DERIVED)
    found["state"] = [row for row in found["state"] if row[0] != INDEXED]
    found["sqlite_sequence"] = db.execute("SELECT name, seq FROM sqlite_sequence").fetchall()
    found["indexes"] = db.execute("SELECT name FROM sqlite_master WHERE name LIKE 'listing%' ORDER BY name").fetchall()
    return found


@contextmanager
def shipped() -> Iterator[Shipped]:
    """A file in a folder of its own."""
    with TemporaryDirectory() as folder:
        one = Shipped(Path(folder))
        try:
            yield one
        finally:
            one.db.close()


def removal(id_: int, step: Step) -> Removal:
    """An entry of the journal."""
    return Removal(
        image=id_, key=f"{id_}.jpg", etag="a", size_bytes=1, kind=ActionKind.DELETE, step=step, decided_by="x"
    )


def work(file: Shipped, name: str, number: int) -> None:  # noqa: C901  one case a kind of write
    """Write something, as a run would."""
    tables: Tables = file.tables
    ids = [id_ for (id_,) in file.db.execute("SELECT id FROM image ORDER BY id")]
    some = ids[number % 3 :: 3]
    match name:
        case "new":
            (last,) = file.db.execute("SELECT coalesce(max(seq), 0) FROM image").fetchone()
            new = [file.image(seq=last + 1 + i if i % 2 else None) for i in range(number % 5)]
            totals = Totals(calls=number, spent_micros=1000 * number, reserved_micros=5, reserved_calls=1)
            tables.commit(Batch(new=new, totals=totals, watermark=Watermark(seq=last)))
        case "placed":
            tables.drop_positions_after(0)
            old = [image for image in tables.rows(ids) if image.id in some]
            placed = [_placed(image, seq, number) for seq, image in enumerate(old, 1)]
            tables.commit(Batch(positioned=placed))
        case "effects":
            done = [(id_, DoneEffect(ActionKind.COPY, f"s3://clean/{_key(file, id_)}")) for id_ in some]
            tables.commit(Batch(effects=done, failures=[(id_, Failure("changed", "x")) for id_ in some[:1]]))
            tables.commit(Batch(effects=[(id_, DoneEffect(ActionKind.TAG, f"a={number}")) for id_ in some]))
        case "revoked":
            tables.commit(Batch(revoked=[(id_, DoneEffect(ActionKind.TAG, f"a={number}")) for id_ in ids]))
        case "dropped":
            tables.commit(Batch(unpositioned=some))
        case "renewed":
            tables.commit(Batch(renewed=[(id_, f"{id_ + number:040x}") for id_ in some]))
        case "removals":
            step = list(Step)[number % len(Step)]
            tables.commit(Batch(removals=[removal(id_, step) for id_ in some]))
        case "listing":
            if tables.listing_state()[0]:
                tables.drop_listing()
            keys = [ListedObject(f"k{i * number % 50}", i, "e", "STANDARD") for i in range(number % 9)]
            tables.save_listing([(i, one) for i, one in enumerate(keys)], is_last=bool(number % 2))
        case "list":
            tables.drop_listing()
            keys = [ListedObject(f"l{i}", i, "e", "STANDARD") for i in range(number % 9)]
            tables.save_listing([(i, one) for i, one in enumerate(keys)], is_last=True, origin=f"v{number}")
        case "unlisted":
            tables.drop_listing()
        case "run":
            (runs,) = file.db.execute("SELECT count(*) FROM run").fetchone()
            tables.begin_run(f"run-{runs}", number)
            tables.end_run(f"run-{runs // 2}", 5.0, StopReason.COMPLETED, Counts())
        case "decided":
            tables.decided("x" if number % 2 else None, Watermark(seq=number))
        case "reopened":
            file.reopen()
        case "unseen":
            file.reopen(ships=False)
        case "shipped":
            file.ship()
        case _:
            file.ship(is_lost=True)


def _placed(image: StoredImage, seq: int, number: int) -> StoredImage:
    answer = None
    if number % 3 == 0:
        answer = CurrentAnswer(
            serial=number, verdict=CurrentVerdict.KEEP, labels=None, boxes=None, reviewer="a", at_unix_s=1.0
        )
    return StoredImage(
        id=image.id, seq=seq, key=image.key, etag=image.etag, size_bytes=image.size_bytes, failure=None, answer=answer
    )


def _key(file: Shipped, id_: int) -> str:
    (key,) = file.db.execute("SELECT key FROM image WHERE id = ?", (id_,)).fetchone()
    return str(key)


WORDS = [
    *("new", "placed", "effects", "revoked", "dropped", "renewed", "removals", "listing", "list", "unlisted", "run"),
    *("new", "new", "decided", "reopened", "unseen", "shipped", "shipped", "shipped", "lost"),
]


@QUICK
@given(st.lists(st.tuples(st.sampled_from(WORDS), st.integers(0, 30)), max_size=25))
def test_snapshot_and_segments_are_the_file(history: list[tuple[str, int]]) -> None:
    """Whatever is written, lost on its way, reopened, or written while nothing was shipped."""
    with shipped() as file:
        file.ship()
        for name, number in history:
            work(file, name, number)
        file.ship()
        file.check()


def test_everything_changed_is_in_the_next_segment_once_and_what_is_confirmed_is_not() -> None:
    """A segment has the rows since the last confirmed one; a heartbeat has none."""
    with shipped() as file:
        file.ship()
        work(file, "new", 4)
        cut = file.file.cut(file.confirmed)
        with closing(cut.reader):
            changes = read_changes(cut.reader)
        assert {table.name: len(table.rows) for table in changes.tables} == {
            "image": 4,
            "label": 3,
            "state": 2,
            "word": 3,
        } or {table.name for table in changes.tables} == {"image", "label", "state", "word"}
        file.file.confirm(2)
        assert (file.file.has_new(), file.file.behind()) == (False, 0)


def test_what_may_be_spent_is_reserved_in_the_shipped_sums_alone() -> None:
    """A process that restores them counts the grant as spent; the file itself does not."""
    with shipped() as file:
        file.ship()
        work(file, "new", 4)
        file.ship(is_lost=True)
        cut = file.file.cut(None)
        with closing(cut.reader):
            changes = read_changes(cut.reader, Reserved(granted_micros=10_000, price_micros=1000))
            own = read_state(cut.reader, TOTALS, Totals)
        packed = pack([changes])
        assert file.restored is not None
        with closing(sqlite3.connect(file.restored, isolation_level=None)) as copy:
            apply_segment(copy, packed.body, packed.inflated_bytes)
            found = read_state(copy, TOTALS, Totals)
        assert own is not None
        assert found is not None
        assert (own.spent_micros, own.reserved_micros) == (4000, 5)
        assert (found.spent_micros, found.reserved_micros, found.reserved_calls) == (4000, 6000, 6)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda body, size: (body[:-3], size),
        lambda body, size: (body + b"x", size),
        lambda body, size: (body, size - 1),
        lambda body, size: (b"not zlib", size),
        lambda body, size: (body, 1),
    ],
)
def test_a_spoilt_segment_is_refused(spoil: object) -> None:
    """Cut short, longer, of another size, or nothing that was compressed."""
    with shipped() as file:
        file.ship()
        work(file, "new", 4)
        cut = file.file.cut(file.confirmed)
        with closing(cut.reader):
            packed = pack([read_changes(cut.reader)])
    with pytest.raises(CorruptRowError):
        unpack(*spoil(packed.body, packed.inflated_bytes))  # type: ignore[operator]
