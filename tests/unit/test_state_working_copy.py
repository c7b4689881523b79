"""The file on this machine: kept, renewed, moved aside or made, and nothing that was paid for is lost."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from asyncfilter.checkpoint import open_checkpoint, read_identity, read_images
from asyncfilter.checkpoint.changes import ChangeLog, Counted, read_shipment
from asyncfilter.checkpoint.lock import RunLock
from asyncfilter.checkpoint.open_file import connect
from asyncfilter.checkpoint.state import EPOCH, write_state
from asyncfilter.checkpoint.tables import Tables
from asyncfilter.errors import CheckpointError, CheckpointLockedError
from asyncfilter.records.images import StoredImage
from asyncfilter.records.progress import Batch, Totals
from asyncfilter.state.working_copy import FileRelation, bring_up, check_beginning, check_first_file
from asyncfilter.testing.state_store import MemoryStateStore
from tests.kit.checkpoints import LABELS, stored_image
from tests.kit.states import HandMade, contents_of, names_in

pytestmark = pytest.mark.anyio


@pytest.fixture
def state(tmp_path: Path) -> HandMade:
    """A state with a snapshot and a segment: images 1 to 3."""
    made = HandMade(MemoryStateStore(), tmp_path / "origin")
    made.commit_snapshot()
    made.commit_segment()
    return made


def local(
    state: HandMade,
    path: Path,
    *,
    state_id: str | None = None,
    epoch: int | None = None,
    counted: Counted | None = None,
) -> Path:
    """A copy of the state's file, as an owner on this machine left it."""
    shutil.copy(state.path, path)
    with closing(connect(path, "rw")) as db:
        log = ChangeLog(db)
        log.begin()
        number = state.head.epoch if epoch is None else epoch
        log.bind(state.head.state_id if state_id is None else state_id, number, state.head.commit)
        log.confirm(state.head.commit, counted)
        write_state(db, {EPOCH: number})
        db.execute("DELETE FROM unshipped")
        db.execute("DELETE FROM shipping")
    return path


def add(path: Path, *images: StoredImage, totals: Totals | None = None) -> None:
    """Commit images to a file whose changes are noted."""
    with closing(connect(path, "rw")) as db:
        tables = Tables(db, path)
        tables.etag_index.load()
        log = ChangeLog(db)
        log.begin()
        tables.commit(Batch(new=list(images), totals=totals))


def cut(path: Path) -> str:
    """Let what is noted be on its way; the random part of the name of its object."""
    with closing(connect(path, "rw")) as db:
        log = ChangeLog(db)
        log.begin()
        db.execute("BEGIN IMMEDIATE")
        log.cut()
        db.execute("COMMIT")
        return read_shipment(db).cut


async def test_a_missing_file_is_made(state: HandMade, tmp_path: Path) -> None:
    """Also its folder; it knows what it is of."""
    path = tmp_path / "new" / ".asyncfilter" / "robins.db"
    found = await bring_up(state.store, state.place, state.head, path)
    assert found.relation is FileRelation.MISSING
    assert found.restored is not None
    assert contents_of(path) == contents_of(state.path)
    with closing(connect(path, "ro")) as db:
        shipment = read_shipment(db)
    assert (shipment.state_id, shipment.commit) == (state.head.state_id, state.head.commit)


async def test_a_file_of_the_same_epoch_is_kept(state: HandMade, tmp_path: Path) -> None:
    """With what it holds beyond S3; nothing is fetched."""
    path = local(state, tmp_path / "robins.db")
    add(path, stored_image(4))
    before = contents_of(path)
    state.store.requests.clear()
    found = await bring_up(state.store, state.place, state.head, path)
    assert found.relation is FileRelation.CURRENT
    assert contents_of(path) == before
    assert state.store.requests == []


async def test_an_old_copy_of_the_same_epoch_is_brought_up_to_date(state: HandMade, tmp_path: Path) -> None:
    """Somebody put a backup in the place of the file: it lacks commits that the head names."""
    path = local(state, tmp_path / "robins.db")
    state.commit_segment()
    state.commit_segment()
    found = await bring_up(state.store, state.place, state.head, path)
    assert found.relation is FileRelation.OLDER
    assert contents_of(path) == contents_of(state.path)


async def test_a_commit_whose_answer_was_lost_is_not_missed(state: HandMade, tmp_path: Path) -> None:
    """The process died before it noted that S3 has the rows that were on their way."""
    path = local(state, tmp_path / "robins.db")
    state.commit_segment()
    assert (await bring_up(state.store, state.place, state.head, path)).relation is FileRelation.OLDER
    path = local(state, tmp_path / "wrens.db")
    state.commit_segment(random=cut(path))
    assert (await bring_up(state.store, state.place, state.head, path)).relation is FileRelation.CURRENT


async def test_a_backup_that_has_a_part_of_the_newest_commit_lacks_it(state: HandMade, tmp_path: Path) -> None:
    """Rows were on their way when it was made, and more of them when they arrived, after a lost attempt."""
    path = local(state, tmp_path / "robins.db")
    backup = tmp_path / "backup.db"
    add(path, stored_image(4))
    cut(path)
    shutil.copy(path, backup)
    add(path, stored_image(5))
    state.commit_segment(random=cut(path))
    assert (await bring_up(state.store, state.place, state.head, path)).relation is FileRelation.CURRENT
    assert (await bring_up(state.store, state.place, state.head, backup)).relation is FileRelation.OLDER


async def test_an_owner_that_committed_nothing_leaves_the_file_current(state: HandMade, tmp_path: Path) -> None:
    """It took the state and died, or another machine did: the file lacks nothing, and keeps its positions."""
    path = local(state, tmp_path / "robins.db")
    add(path, stored_image(4))
    state.write_head(epoch=state.head.epoch + 1)
    state.write_head(epoch=state.head.epoch + 1, owner=None)
    before = contents_of(path)
    found = await bring_up(state.store, state.place, state.head, path)
    assert (found.relation, found.aside) == (FileRelation.CURRENT, None)
    assert contents_of(path) == before


@pytest.mark.parametrize("grants", [False, True])
async def test_what_an_older_copy_has_spent_beyond_its_last_commit_is_counted(
    state: HandMade, tmp_path: Path, grants: bool
) -> None:
    """Nobody but its file knows of it; where commits grant what is spent, they have counted it."""
    path = local(state, tmp_path / "robins.db", counted=None if grants else Counted(3_000, 3))
    add(path, stored_image(40, key="only/here.jpg"), totals=Totals(billed_calls=8, spent_micros=8_000))
    state.commit_segment()
    found = await bring_up(state.store, state.place, state.head, path)
    assert (found.relation, found.spare_rows, found.spent_micros) == (FileRelation.OLDER, 1, 0 if grants else 5_000)
    identity = read_identity(path)
    async with await open_checkpoint(path, identity=identity, name="robins", ships=True) as opened:
        totals = opened.opened.totals
    assert totals.spent_micros == (6_000 if grants else 11_000)


async def test_an_older_file_becomes_the_state_and_its_answers_spare_rows(state: HandMade, tmp_path: Path) -> None:
    """Another machine went on: its rows count, and what only this machine paid for is kept without a position."""
    path = local(state, tmp_path / "robins.db")
    mine = stored_image(40, seq=4, key="only/here.jpg")
    twice = stored_image(41, seq=5, key="birds/004.jpg", etag=stored_image(4).etag, size_bytes=1004)
    add(path, mine, twice)
    state.head = msgspec.structs.replace(state.head, epoch=state.head.epoch + 1)
    state.commit_segment()
    found = await bring_up(state.store, state.place, state.head, path)
    assert found.relation is FileRelation.OLDER
    assert found.spare_rows == 1
    assert found.aside is not None
    images = {image.key: image for image in read_images(path)}
    assert [image.seq for key, image in sorted(images.items()) if key.startswith("birds/")] == [1, 2, 3, 4, 5, 6]
    spare = images["only/here.jpg"]
    assert (spare.seq, spare.decision, spare.detection, spare.etag) == (None, None, LABELS, mine.etag)
    assert len({image.id for image in images.values()}) == 7
    with closing(connect(path, "ro")) as db:
        assert ("image", spare.id) in db.execute("SELECT name, id FROM unshipped").fetchall()
    assert len(list(read_images(found.aside))) == 5


async def test_an_older_file_with_nothing_of_its_own_is_replaced(state: HandMade, tmp_path: Path) -> None:
    """No second file is left behind by every change of machines."""
    path = local(state, tmp_path / "robins.db")
    state.head = msgspec.structs.replace(state.head, epoch=state.head.epoch + 1)
    state.commit_segment()
    found = await bring_up(state.store, state.place, state.head, path)
    assert (found.relation, found.aside, found.spare_rows) == (FileRelation.OLDER, None, 0)
    assert contents_of(path) == {**contents_of(state.path)}
    assert names_in(tmp_path) == ["origin", "robins.db"]


@pytest.mark.parametrize("state_id", ["0" * 16, ""])
async def test_a_file_of_another_state_is_moved_aside(state: HandMade, tmp_path: Path, state_id: str) -> None:
    """Never deleted, and told."""
    path = local(state, tmp_path / "robins.db", state_id=state_id)
    add(path, stored_image(40, key="only/here.jpg"))
    before = contents_of(path)
    found = await bring_up(state.store, state.place, state.head, path)
    assert found.relation is FileRelation.OTHER
    assert found.aside is not None
    assert contents_of(found.aside) == before
    assert contents_of(path) == contents_of(state.path)


async def test_a_file_that_a_run_holds_is_left_alone(state: HandMade, tmp_path: Path) -> None:
    """Whoever lost the state may still have it open."""
    path = local(state, tmp_path / "robins.db", epoch=0)
    before = contents_of(path)
    lock = RunLock(path)
    lock.hold_file()
    try:
        with pytest.raises(CheckpointLockedError):
            await bring_up(state.store, state.place, state.head, path)
    finally:
        lock.release()
    assert contents_of(path) == before


@pytest.mark.parametrize("epoch", [0, 1])
async def test_a_damaged_state_leaves_the_file_as_it_is(state: HandMade, tmp_path: Path, epoch: int) -> None:
    """An older file is not touched before the newer one is whole."""
    path = local(state, tmp_path / "robins.db", epoch=epoch)
    state.head = msgspec.structs.replace(state.head, epoch=2)
    state.commit_segment()
    state.store.write(state.place.at(state.head.segments[0].key.removeprefix(state.place.folder)), b"x")
    before = contents_of(path)
    with pytest.raises(CheckpointError):
        await bring_up(state.store, state.place, state.head, path)
    assert contents_of(path) == before
    assert names_in(tmp_path) == ["origin", "robins.db"]


def test_without_a_head_only_a_copy_begins_from_a_file(state: HandMade, tmp_path: Path) -> None:
    """``checkpoint: s3://`` refuses, and says how to begin."""
    path = local(state, tmp_path / "robins.db")
    check_beginning(state.place, path, is_authoritative=False)
    check_beginning(state.place, tmp_path / "none.db", is_authoritative=True)
    with pytest.raises(CheckpointError) as caught:
        check_beginning(state.place, path, is_authoritative=True)
    assert "asyncfilter state push" in str(caught.value.hint)


@pytest.mark.parametrize("state_id", ["", "0" * 16])
def test_a_file_that_a_killed_process_left_empty_begins_a_state_without_commits(
    state: HandMade, tmp_path: Path, state_id: str
) -> None:
    """As after kill -9 before the first snapshot, once or twice; one with images of something else is refused."""
    first = msgspec.structs.replace(state.head, snapshot=None, segments=[], epoch=7)
    check_first_file(state.place, tmp_path / "none.db", first)
    check_first_file(state.place, local(state, tmp_path / "older.db", epoch=6), first)
    path = local(state, tmp_path / "robins.db", state_id=state_id)
    with pytest.raises(CheckpointError, match="left behind") as caught:
        check_first_file(state.place, path, first)
    assert "another prefix" in str(caught.value.hint)
    with closing(connect(path, "rw")) as db:
        db.execute("DELETE FROM image")
    check_first_file(state.place, path, first)
