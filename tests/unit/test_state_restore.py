"""From a state to a file: everything that is committed, and no file where an object is not what it should be."""

from __future__ import annotations

import gzip
import hashlib
import sqlite3
import zlib
from contextlib import closing
from pathlib import Path

import anyio
import msgspec
import pytest

from asyncfilter.answers import open_answers
from asyncfilter.answers.leases import TABLE as LEASES
from asyncfilter.checkpoint import read_images, read_status
from asyncfilter.errors import CheckpointError, CheckpointUnreadableError, CheckpointVersionError
from asyncfilter.model import S3Location
from asyncfilter.state import fetching
from asyncfilter.state.fetching import read_head
from asyncfilter.state.files import KINDS, check_restored
from asyncfilter.state.names import StateKind
from asyncfilter.state.restore import restore, restore_newest
from asyncfilter.testing.state_store import MemoryStateStore
from tests.kit.states import HandMade, contents_of, names_in

pytestmark = pytest.mark.anyio

FORMER = Path(__file__).parents[1] / "data" / "former_checkpoints"


@pytest.fixture
def state(tmp_path: Path) -> HandMade:
    """A state with a snapshot and three segments."""
    made = HandMade(MemoryStateStore(), tmp_path / "origin")
    made.commit_snapshot()
    for _ in range(3):
        made.commit_segment()
    return made


async def restored(state: HandMade, path: Path) -> Path:
    """The file of a state."""
    await restore(state.store, state.place, state.head, path)
    return path


async def test_a_restored_file_has_all_rows(state: HandMade, tmp_path: Path) -> None:
    """Snapshot and segments in order give the file that they were made from."""
    path = await restored(state, tmp_path / "new.db")
    assert contents_of(path) == contents_of(state.path)
    assert len(list(read_images(path))) == 9
    assert read_status(path).totals.spent_micros == 9000
    assert path.stat().st_mode & 0o777 == 0o600
    assert names_in(tmp_path) == ["new.db", "origin"]


async def test_nothing_is_restored_over_a_file(state: HandMade, tmp_path: Path) -> None:
    """What came there meanwhile stays."""
    path = tmp_path / "new.db"
    path.write_bytes(b"another program's")
    with pytest.raises(CheckpointError):
        await restored(state, path)
    assert path.read_bytes() == b"another program's"


@pytest.mark.parametrize("which", ["snapshot", "segment"])
@pytest.mark.parametrize("how", ["missing", "shorter", "longer", "other", "empty"])
async def test_an_object_that_is_not_what_is_on_record_is_named(
    state: HandMade, tmp_path: Path, which: str, how: str
) -> None:
    """Exit 3 with its key; nothing is skipped or guessed, and there is no file."""
    assert state.head.snapshot is not None
    key = state.head.snapshot.key if which == "snapshot" else state.head.segments[1].key
    where = S3Location(state.place.bucket, key)
    body = state.store.objects[where].body
    changed = {"shorter": body[:-1], "longer": body + b"x", "other": body[:-1] + b"\0", "empty": b""}
    if how == "missing":
        del state.store.objects[where]
    else:
        state.store.write(where, changed[how])
    with pytest.raises(CheckpointUnreadableError, match=key) as caught:
        await restored(state, tmp_path / "new.db")
    assert caught.value.exit_code == 3
    assert names_in(tmp_path) == ["origin"]


def bomb(size_bytes: int) -> bytes:
    """A few bytes that inflate to very many."""
    packer = zlib.compressobj(9)
    piece = bytes(1 << 20)
    return b"".join(packer.compress(piece) for _ in range(size_bytes >> 20)) + packer.flush()


async def test_a_zip_bomb_is_not_inflated(state: HandMade, tmp_path: Path) -> None:
    """At most the bytes on record and one more, whatever an object holds."""
    body = bomb(48 << 20)
    state.name_segment(body, inflated_bytes=1000)
    with pytest.raises(CheckpointUnreadableError, match="bytes"):
        await restored(state, tmp_path / "new.db")
    assert state.head.snapshot is not None
    where = S3Location(state.place.bucket, state.head.snapshot.key)
    state.store.write(where, body)
    snapshot = msgspec.structs.replace(
        state.head.snapshot, bytes=len(body), sha256=hashlib.sha256(body).hexdigest(), inflated_bytes=4096
    )
    state.write_head(snapshot=snapshot)
    with pytest.raises(CheckpointUnreadableError, match="does not inflate"):
        await restored(state, tmp_path / "new.db")
    assert names_in(tmp_path) == ["origin"]
    packed, into = tmp_path / "packed", tmp_path / "into"
    await anyio.Path(packed).write_bytes(body)
    with pytest.raises(CheckpointUnreadableError):
        fetching._inflate_file(state.place, snapshot, packed, into)
    assert (await anyio.Path(into).stat()).st_size <= 4096


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TRIGGER evil AFTER INSERT ON image BEGIN DELETE FROM image; END",
        "CREATE VIEW evil AS SELECT 1",
        "CREATE TABLE evil (a)",
        "CREATE INDEX evil ON image (etag)",
        "DROP TRIGGER effect_owner; CREATE TRIGGER effect_owner BEFORE INSERT ON effect BEGIN SELECT 1; END",
        "DROP TABLE word; CREATE VIRTUAL TABLE word USING fts5(text)",
        "DROP TABLE word; CREATE VIEW word AS SELECT 1 AS id, 'x' AS text",
        "DROP TABLE word; CREATE TABLE word (id INTEGER PRIMARY KEY, text TEXT AS (upper(id)))",
        "DROP INDEX removal_step; CREATE INDEX removal_step ON removal (abs(step))",
        "DROP TABLE image",
    ],
)
async def test_a_file_with_a_foreign_schema_is_refused(state: HandMade, tmp_path: Path, sql: str) -> None:
    """No trigger and no view but ours, and no other part either."""
    with closing(sqlite3.connect(state.path)) as db:
        db.executescript(sql)
    name_raw_snapshot(state, state.path.read_bytes())
    with pytest.raises(CheckpointUnreadableError):
        await restored(state, tmp_path / "new.db")
    assert names_in(tmp_path) == ["origin"]


@pytest.mark.parametrize("body", [b"no database at all, but long enough" * 10, b"S", b"SQLite format 3\0" + bytes(84)])
async def test_what_is_no_checkpoint_is_refused(state: HandMade, tmp_path: Path, body: bytes) -> None:
    """A snapshot of something else."""
    name_raw_snapshot(state, body)
    with pytest.raises(CheckpointUnreadableError):
        await restored(state, tmp_path / "new.db")


def name_raw_snapshot(state: HandMade, plain: bytes) -> None:
    """Commit any bytes as the snapshot."""
    body = zlib.compress(plain)
    where = state.place.new_snapshot(state.head.state_id, state.head.commit + 1)
    state.store.write(where, body)
    assert state.head.snapshot is not None
    snapshot = msgspec.structs.replace(
        state.head.snapshot,
        key=where.key,
        bytes=len(body),
        sha256=hashlib.sha256(body).hexdigest(),
        commit=state.head.commit + 1,
        inflated_bytes=len(plain),
    )
    state.write_head(snapshot=snapshot, segments=[])


async def test_rows_of_a_segment_that_contradict_the_snapshot_are_refused(state: HandMade, tmp_path: Path) -> None:
    """A segment of another state, with the right digest."""
    other = HandMade(MemoryStateStore(), tmp_path / "other")
    other.commit_snapshot()
    segment = other.commit_segment(lambda db, _: db.execute("UPDATE state SET value = 'x' WHERE key = 'totals'"))
    body = other.store.objects[S3Location(other.place.bucket, segment.key)].body
    state.name_segment(body, inflated_bytes=segment.inflated_bytes)
    with pytest.raises(CheckpointError):
        await restored(state, tmp_path / "new.db")
    assert not (tmp_path / "new.db").exists()


async def test_a_newer_file_is_refused_before_anything_is_fetched(state: HandMade, tmp_path: Path) -> None:
    """``file_format`` is looked at first."""
    state.write_head(file_format=99)
    state.store.requests.clear()
    with pytest.raises(CheckpointVersionError):
        await restored(state, tmp_path / "new.db")
    assert state.store.requests == []


async def test_a_state_that_goes_on_meanwhile_is_restored_as_it_is_then(state: HandMade, tmp_path: Path) -> None:
    """An object that is gone because it was replaced is no damage: the newer head is read."""
    old = state.head.objects
    done: list[bool] = []

    def fault(operation: str, place: S3Location) -> object:
        if operation == "part" and not done:
            done.append(True)
            state.commit_snapshot()
            for one in old:
                del state.store.objects[S3Location(state.place.bucket, one.key)]
        return None

    state.store.fault = fault
    found = await restore_newest(state.store, state.place, tmp_path / "new.db")
    assert found is not None
    assert found.head == state.head
    assert contents_of(tmp_path / "new.db") == contents_of(state.path)


async def test_no_state_is_none(tmp_path: Path) -> None:
    """Without a head there is nothing."""
    made = HandMade(MemoryStateStore(), tmp_path / "origin")
    assert await read_head(made.store, made.place) is None
    assert await restore_newest(made.store, made.place, tmp_path / "new.db") is None


@pytest.mark.parametrize("which", ["snapshot", "segment"])
async def test_other_rows_of_the_same_size_are_found_by_their_digest(
    state: HandMade, tmp_path: Path, which: str
) -> None:
    """An object that inflates to as many bytes, and would be applied: only the SHA-256 tells."""
    head = state.head
    assert head.snapshot is not None
    named = head.snapshot if which == "snapshot" else head.segments[-1]
    plain = zlib.decompress(state.store.objects[S3Location(state.place.bucket, named.key)].body)
    body = zlib.compress(plain, 0)
    changes = {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    if which == "snapshot":
        state.write_head(snapshot=msgspec.structs.replace(head.snapshot, **changes), commit=head.commit)
    else:
        state.write_head(segments=[*head.segments[:-1], msgspec.structs.replace(head.segments[-1], **changes)])
    where = S3Location(state.place.bucket, named.key)
    state.store.write(where, body)
    await restored(state, tmp_path / "whole.db")
    other = plain.replace(b'"robins"', b'"wrens!"').replace(b"birds/009", b"birds/999")
    assert other != plain
    state.store.write(where, zlib.compress(other, 0))
    with pytest.raises(CheckpointUnreadableError, match="SHA-256"):
        await restored(state, tmp_path / "new.db")
    assert names_in(tmp_path) == ["origin", "whole.db"]


async def test_only_what_the_head_names_is_read(state: HandMade, tmp_path: Path) -> None:
    """A half-uploaded, unnamed or foreign object is never looked at."""
    for place in (
        state.place.new_segment(state.head.state_id, state.head.commit + 1),
        state.place.new_snapshot(state.head.state_id, 1),
        state.place.at("notes.txt"),
    ):
        state.store.write(place, b"half")
    state.store.requests.clear()
    await restored(state, tmp_path / "new.db")
    assert {place.key for _, place in state.store.requests} == state.head.named_keys


@pytest.mark.parametrize("packed", sorted(FORMER.glob("*.gz")), ids=lambda path: path.stem)
def test_files_of_earlier_versions_are_ours(packed: Path, tmp_path: Path) -> None:
    """Whatever version made it, a checkpoint can be pushed and restored."""
    path = tmp_path / "old.db"
    path.write_bytes(gzip.decompress(packed.read_bytes()))
    check_restored(path, KINDS[StateKind.CHECKPOINT])


def test_answers_files_are_checked_like_checkpoints(tmp_path: Path) -> None:
    """With all that asyncfilter makes in one, and nothing else."""
    path = tmp_path / "answers.db"
    with open_answers(path) as answers, answers.transaction() as writing:
        writing.db.execute(LEASES)
    check_restored(path, KINDS[StateKind.ANSWERS])
    with pytest.raises(CheckpointError):
        check_restored(path, KINDS[StateKind.CHECKPOINT])
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TRIGGER evil AFTER INSERT ON answer BEGIN SELECT 1; END")
    with pytest.raises(CheckpointUnreadableError, match="evil"):
        check_restored(path, KINDS[StateKind.ANSWERS])
