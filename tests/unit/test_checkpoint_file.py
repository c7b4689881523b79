"""The checkpoint as a file: refusal of unsound files, locks, full disks, and reading."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from asyncfilter.checkpoint import (
    SqliteCheckpoint,
    archive_checkpoint,
    open_checkpoint,
    open_file,
    read_images,
    read_status,
)
from asyncfilter.checkpoint.schema import APPLICATION_ID
from asyncfilter.errors import (
    CheckpointError,
    CheckpointLockedError,
    CheckpointMismatchError,
    CheckpointUnreadableError,
    CheckpointVersionError,
)
from asyncfilter.model import ActionKind, Counts, Decision, Detection, Failure, Label, ListedObject, StopReason, Verdict
from asyncfilter.records.images import DoneEffect, StoredImage, StoredReference
from asyncfilter.records.progress import Batch, Totals, Watermark
from asyncfilter.records.tally import Tally

IDENTITY = {"source.uri": "s3://raw/", "detector.min_confidence": "0"}
KEEP = Decision(Verdict.KEEP, 0, "Bird")


async def opened(path: Path, identity: dict[str, str] | None = None) -> SqliteCheckpoint:
    """The checkpoint at ``path``."""
    return await open_checkpoint(path, identity=identity or IDENTITY, name="robins")


def image(id_: int, key: str | None = None, seq: int | None = None) -> StoredImage:
    """A row with labels."""
    labels = Detection(tuple(Label(name, 90.0 + id_ % 7) for name in ("Bird", "Animal")), "3.0")
    return StoredImage(
        id=id_,
        seq=seq or id_,
        key=key or f"birds/{id_:05}.jpg",
        etag=random.Random(id_).randbytes(16).hex(),
        size_bytes=id_,
        decision=KEEP,
        detection=labels,
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The path of a new checkpoint; its folder does not exist yet, and its name needs quoting in a URI."""
    return tmp_path / "a folder?" / "ro#bins%20.db"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A checkpoint that was closed normally, with enough rows for several levels of pages."""
    path = tmp_path_factory.mktemp("template") / "robins.db"

    async def fill() -> None:
        async with await opened(path) as checkpoint:
            rows = [image(id_) for id_ in range(1, 2001)]
            await checkpoint.commit(Batch(new=rows, watermark=Watermark(seq=2000)))

    anyio.run(fill)
    return path.read_bytes()


@pytest.fixture
def filled(path: Path, template: bytes) -> Path:
    """A copy of the template."""
    path.parent.mkdir()
    path.write_bytes(template)
    return path


def folder(path: Path) -> dict[str, bytes]:
    """All files of the checkpoint's folder, with their contents."""
    return {entry.name: entry.read_bytes() for entry in path.parent.iterdir()}


def replace_files(folder_path: Path, files: dict[str, bytes]) -> None:
    """Replace the content of a folder by ``files``, as after a kill."""
    shutil.rmtree(folder_path)
    folder_path.mkdir()
    for name, content in files.items():
        (folder_path / name).write_bytes(content)


# -- Refused, unchanged ------------------------------------------------------------------------------------------------


def empty(path: Path) -> None:
    """Make the file empty."""
    path.write_bytes(b"")


def text(path: Path) -> None:
    """Replace the file by a text."""
    path.write_text("hello")


def foreign(path: Path) -> None:
    """Replace the file by another program's database."""
    path.unlink()
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE image (id)")
    db.close()


def truncated(path: Path) -> None:
    """Cut off the end."""
    os.truncate(path, path.stat().st_size - 4096)


def header_only(path: Path) -> None:
    """Keep the header only, as an aborted copy does."""
    os.truncate(path, 50)


def overwritten(path: Path) -> None:
    """Overwrite a page in the middle."""
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2 // 4096 * 4096)
        file.write(b"\xa5" * 4096)


def without_table(path: Path) -> None:
    """Drop a table."""
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("DROP TABLE effect")
    db.close()


def stateless(path: Path) -> None:
    """Change the watermark."""
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE state SET value = '{\"seq\": \"many\"}' WHERE key = 'watermark'")
    db.close()


def settle(path: Path) -> None:
    """Checkpoint the log that a test's SQLite connection left beside the file."""
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("PRAGMA journal_mode = DELETE")
    db.close()


@pytest.mark.parametrize(
    "damage", [empty, text, foreign, truncated, header_only, overwritten, without_table, stateless]
)
async def test_what_is_no_sound_checkpoint_is_refused_untouched(filled: Path, damage: Callable[[Path], None]) -> None:
    """The error has a clear message and exit code 3; the file is unchanged, and no new file is beside it."""
    damage(filled)
    before = folder(filled)
    with pytest.raises(CheckpointUnreadableError) as caught:
        await opened(filled)
    assert caught.value.exit_code == 3
    assert caught.value.hint is not None
    assert "--fresh" in caught.value.hint
    assert str(filled) in caught.value.message
    assert folder(filled) == before


async def test_a_newer_format_is_refused_untouched(filled: Path) -> None:
    """An older program never writes into a file of a newer format."""
    with closing(sqlite3.connect(filled)) as db, db:
        db.execute("PRAGMA user_version = 3")
    db.close()
    before = folder(filled)
    with pytest.raises(CheckpointVersionError, match=r"newer asyncfilter \(format 3"):
        await opened(filled)
    with pytest.raises(CheckpointVersionError):
        read_status(filled)
    assert folder(filled) == before


async def test_a_mismatch_names_each_setting(filled: Path) -> None:
    """The error has old and new value of every differing setting and both remedies; the file is unchanged."""
    before = folder(filled)
    with pytest.raises(CheckpointMismatchError) as caught:
        await opened(filled, {"source.uri": "s3://other/", "detector.min_confidence": "0", "detector.model": "arn"})
    message, hint = caught.value.message, caught.value.hint or ""
    assert "source.uri: 's3://raw/' in the checkpoint, 's3://other/' in the job" in message
    assert "detector.model: '(not set)' in the checkpoint, 'arn' in the job" in message
    assert message.isprintable(), "a line end would be shown as an escape"
    assert "min_confidence" not in message
    assert "checkpoint:" in hint
    assert "--fresh" in hint
    assert folder(filled) == before


async def test_a_log_without_its_file_is_refused(filled: Path) -> None:
    """The log of a deleted file must never be replayed into a new file."""
    replace_files(filled.parent, {filled.name + "-wal": b"x" * 5000})
    with pytest.raises(CheckpointUnreadableError, match="is missing"):
        await opened(filled)
    assert set(folder(filled)) == {filled.name + "-wal"}


async def test_damage_after_a_crash_is_refused_untouched(filled: Path) -> None:
    """A damaged file is refused also while its log has changes."""
    checkpoint = await opened(filled)
    await checkpoint.commit(Batch(new=[image(3000)]))
    crashed = {name: content for name, content in folder(filled).items() if not name.endswith((".lock", "-shm"))}
    await checkpoint.aclose()
    replace_files(filled.parent, crashed)
    overwritten(filled)
    before = folder(filled)
    with pytest.raises(CheckpointUnreadableError):
        await opened(filled)
    assert folder(filled) == before


async def test_a_large_file_that_was_cut_short_is_refused(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The length of a file of any size is compared with the length in its header."""
    monkeypatch.setattr(open_file, "_CHECKED_WHOLE_BYTES", 0)
    truncated(filled)
    before = folder(filled)
    with pytest.raises(CheckpointUnreadableError, match="cut short"):
        await opened(filled)
    assert folder(filled) == before


async def test_damage_in_a_large_file_is_found(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file too large for a full check is checked at both ends of every index."""
    monkeypatch.setattr(open_file, "_CHECKED_WHOLE_BYTES", 0)
    async with await opened(filled) as checkpoint:
        query = "SELECT rootpage FROM sqlite_master WHERE name = 'image_key'"
        (page,) = checkpoint._db.execute(query).fetchone()
    with filled.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xa5" * 4096)
    before = folder(filled)
    with pytest.raises(CheckpointUnreadableError):
        await opened(filled)
    assert folder(filled) == before


async def test_damage_found_later_has_the_same_message(filled: Path) -> None:
    """Damage that the check at opening does not see is an error where it is read."""
    with closing(sqlite3.connect(filled)) as db, db:
        db.execute("UPDATE image SET detection = x'ffffffff' WHERE id = 1000")
    db.close()
    settle(filled)
    async with await opened(filled) as checkpoint:
        with pytest.raises(CheckpointUnreadableError, match="damaged"):
            await checkpoint.positioned(990, 20)
    with pytest.raises(CheckpointUnreadableError, match="damaged"):
        list(read_images(filled))


async def test_a_folder_is_not_a_checkpoint(tmp_path: Path) -> None:
    """A path to a folder is refused by name."""
    with pytest.raises(CheckpointError, match="folder"):
        await opened(tmp_path)


async def test_a_place_that_cannot_be_written_is_a_checkpoint_error(tmp_path: Path) -> None:
    """The message gives the cause, the hint the setting to change."""
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError) as caught:
        await opened(tmp_path / "file" / "below.db")
    assert "file" in caught.value.message
    assert "checkpoint:" in (caught.value.hint or "")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
async def test_a_read_only_folder_is_a_checkpoint_error(filled: Path) -> None:
    """Opening for a run needs write access; reading does not."""
    filled.parent.chmod(0o500)
    try:
        with pytest.raises(CheckpointError, match="denied"):
            await opened(filled)
        assert read_status(filled).positioned == 2000
    finally:
        filled.parent.chmod(0o700)


# -- Writing -----------------------------------------------------------------------------------------------------------


async def test_a_closed_checkpoint_is_one_file(filled: Path) -> None:
    """No log, lock or draft stays beside the file, and it has asyncfilter's application id."""
    assert list(folder(filled)) == [filled.name]
    assert folder(filled)[filled.name][68:72] == APPLICATION_ID.to_bytes(4, "big")


async def test_a_commit_is_synced(path: Path) -> None:
    """With full synchronisation and a write-ahead log commits survive a loss of power."""
    async with await opened(path) as checkpoint:
        assert checkpoint._db.execute("PRAGMA synchronous").fetchone() == (2,)
        assert checkpoint._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


async def test_a_full_disk_ends_the_run_and_breaks_nothing(filled: Path) -> None:
    """The failed commit leaves nothing, earlier commits stay, and with free space the next one works."""
    async with await opened(filled) as checkpoint:
        (pages,) = checkpoint._db.execute("PRAGMA page_count").fetchone()
        checkpoint._db.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(CheckpointError, match="no space") as caught:
            await checkpoint.commit(Batch(new=[image(id_) for id_ in range(3000, 5000)], totals=Totals(calls=9)))
        assert "Free space" in (caught.value.hint or "")
        checkpoint._db.execute("PRAGMA max_page_count = 1000000")
        assert len(await checkpoint.positioned(0, 9999)) == 2000
        await checkpoint.commit(Batch(new=[image(3000)]))
    assert read_status(filled).positioned == 2001
    assert read_status(filled).totals == Totals()


async def test_a_deleted_file_ends_the_run(filled: Path) -> None:
    """SQLite would continue to write into a file without a name; the run must end before it pays for lost labels."""
    async with await opened(filled) as checkpoint:
        replace_files(filled.parent, {})
        with pytest.raises(CheckpointError, match="moved or deleted"):
            await checkpoint.commit(Batch(new=[image(3000)]))


async def test_a_closed_checkpoint_raises(path: Path) -> None:
    """Closing twice is harmless; using it afterwards is a ``CheckpointError``."""
    checkpoint = await opened(path)
    await checkpoint.aclose()
    await checkpoint.aclose()
    with pytest.raises(CheckpointError):
        await checkpoint.commit(Batch(new=[image(1)]))


async def test_the_switch_interval_is_left_alone(path: Path) -> None:
    """The switch interval belongs to the program: opening, writing and closing a checkpoint do not change it."""
    before = sys.getswitchinterval()
    async with await opened(path) as checkpoint:
        await checkpoint.commit(Batch(new=[image(1)]))
        assert sys.getswitchinterval() == before
    assert sys.getswitchinterval() == before


async def test_a_cancelled_commit_is_whole(path: Path) -> None:
    """Cancellation waits for a begun commit: the whole batch is in the file."""
    async with await opened(path) as checkpoint:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(checkpoint.commit, Batch(new=[image(id_) for id_ in range(1, 2001)]))
                await anyio.wait_all_tasks_blocked()
                scope.cancel()
        assert len(await checkpoint.positioned(0, 9999)) == 2000


async def test_keys_are_ordered_by_their_utf8_bytes(path: Path) -> None:
    """Keys are sorted as S3 lists them: SQLite, Python and UTF-8 agree, also for astral and control characters."""
    characters = ["\x01", "\n", " ", "%", "+", "/", "A", "a", "~", "\x7f", "é", "e\u0301", "\u07ff", "\u0800", "\ud7ff"]
    keys = [*characters, "\ue000", "\uffff", "\U00010000", "\U0001f426", "\U0010ffff", "a/../b", "é" * 512, "a\x00b"]
    async with await opened(path) as checkpoint:
        await checkpoint.commit(Batch(new=[image(id_, key) for id_, key in enumerate(keys, 1)]))
        found = [row.key for row in await checkpoint.by_keys(keys)]
        in_sqlite = [key for (key,) in checkpoint._db.execute("SELECT key FROM image ORDER BY key")]
    assert found == in_sqlite == sorted(keys, key=str.encode) == sorted(keys)


async def test_only_rows_beyond_the_watermark_are_touched_at_opening(filled: Path) -> None:
    """The cost of a resume depends on the unsettled rows of the killed run, not on all rows."""
    async with await opened(filled) as checkpoint:
        await checkpoint.commit(Batch(new=[image(id_) for id_ in (2001, 2002, 2003)]))
    changes = []
    async with await opened(filled) as checkpoint:
        changes.append(checkpoint._db.total_changes)
        assert read_status(filled).cached == 3
    async with await opened(filled) as checkpoint:
        changes.append(checkpoint._db.total_changes)
    assert changes[0] - changes[1] == 3


@pytest.mark.parametrize(
    ("query", "index"),
    [
        ("WHERE seq > 5 ORDER BY seq LIMIT 5", "image_seq"),
        ("WHERE seq > 5 AND seq <= 9 AND failure IS NOT NULL ORDER BY seq LIMIT 5", "image_failed"),
        ("WHERE key IN ('a', 'b') ORDER BY key, id", "image_key"),
        ("WHERE seq IS NULL", "image_spare"),
    ],
)
async def test_no_query_reads_the_whole_table(filled: Path, query: str, index: str) -> None:
    """Every query uses an index, so that its cost does not grow with the checkpoint."""
    async with await opened(filled) as checkpoint:
        plan = checkpoint._db.execute(f"EXPLAIN QUERY PLAN SELECT * FROM image {query}").fetchall()
    assert any(index in step[3] for step in plan), plan
    assert not any("TEMP B-TREE" in step[3] for step in plan), plan


async def test_a_whole_listing_is_read_in_its_order(path: Path) -> None:
    """A complete shuffled listing is not sorted again, also not in a second pass."""
    plan = "EXPLAIN QUERY PLAN SELECT key FROM listing WHERE (rank, key) > (1, 'a') ORDER BY rank, key LIMIT 9"
    async with await opened(path) as checkpoint:
        for _ in range(2):
            await checkpoint.save_listing([(1, ListedObject("a", 1, ""))], is_last=False)
            await checkpoint.save_listing([(0, ListedObject("b", 1, ""))], is_last=True)
            steps = " ".join(step[3] for step in checkpoint._db.execute(plan))
            assert "listing_rank" in steps
            assert "TEMP B-TREE" not in steps
            await checkpoint.drop_listing()


async def test_the_work_of_a_commit_does_not_grow_with_the_checkpoint(path: Path, filled: Path) -> None:
    """The same batch takes SQLite as many steps beside 2,000 copied images as beside 20."""
    small = path.with_name("small.db")
    steps = [await _steps_of_a_commit(small, range(1, 21)), await _steps_of_a_commit(filled, range(1, 2001))]
    assert steps[1] < 1.2 * steps[0]


async def _steps_of_a_commit(path: Path, known: range) -> int:
    def copied(one: StoredImage) -> tuple[int, DoneEffect]:
        return one.id, DoneEffect(ActionKind.COPY, f"s3://clean/{one.key}")

    steps = 0

    def count() -> None:
        nonlocal steps
        steps += 1

    async with await opened(path) as checkpoint:
        before = [image(id_) for id_ in known]
        if checkpoint.opened.is_new:
            await checkpoint.commit(Batch(new=before))
        await checkpoint.commit(Batch(effects=[copied(one) for one in before]))
        checkpoint._db.set_progress_handler(count, 1)
        new = [image(id_) for id_ in range(5001, 5101)]
        await checkpoint.commit(Batch(new=new, positioned=before[:20], effects=[copied(one) for one in new]))
        await checkpoint.by_keys([one.key for one in [*new, *before[:20]]])
        await checkpoint.owners([f"s3://clean/{one.key}" for one in new])
    return steps


# -- One run at a time -------------------------------------------------------------------------------------------------


async def test_a_second_run_is_refused(filled: Path) -> None:
    """The message names the process, its host and its start; the first run is not disturbed."""
    async with await opened(filled) as checkpoint:
        with pytest.raises(CheckpointLockedError, match=rf"process {os.getpid()} on .+, since 20\d\d-"):
            await opened(filled)
        with pytest.raises(CheckpointLockedError):
            archive_checkpoint(filled)
        await checkpoint.commit(Batch(new=[image(3000)]))
    async with await opened(filled):
        pass


async def test_a_second_name_is_no_way_around_the_lock(filled: Path) -> None:
    """A link to the file has the same lock and the same log."""
    link = filled.with_name("link.db")
    link.symlink_to(filled)
    async with await opened(filled) as checkpoint:
        await checkpoint.commit(Batch(new=[image(3000)]))
        with pytest.raises(CheckpointLockedError):
            await opened(link)
        assert read_status(link).positioned == 2001


async def test_closing_beside_a_reader_loses_nothing(filled: Path) -> None:
    """Changes that cannot be checkpointed while the file is read stay in the log until the next opening."""
    checkpoint = await opened(filled)
    reading = read_images(filled, batch=10)
    next(reading)
    await checkpoint.commit(Batch(new=[image(3000)], watermark=Watermark(seq=3000)))
    await checkpoint.aclose()
    async with await opened(filled) as again:
        assert len(await again.positioned(0, 9999)) == 2001
    assert len(list(reading)) == 1999


async def test_the_lock_ends_with_its_process(filled: Path) -> None:
    """After a kill -9 the next run starts at once with the committed rows."""
    holder = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom asyncfilter.checkpoint.lock import RunLock\n"
        "lock = RunLock(Path(sys.argv[1]))\nos.kill(os.getpid(), signal.SIGKILL)\n"
    )
    with anyio.fail_after(60):
        await anyio.run_process([sys.executable, "-c", holder, str(filled)], check=False)
    assert filled.name + ".lock" in folder(filled)
    async with await opened(filled) as checkpoint:
        assert checkpoint.opened.next_id == 2001


async def test_a_refusal_gives_the_lock_back(filled: Path) -> None:
    """An open that failed for a mismatch leaves no lock."""
    with pytest.raises(CheckpointMismatchError):
        await opened(filled, {"source.uri": "s3://other/"})
    async with await opened(filled):
        pass


async def test_a_killed_creation_leaves_no_empty_checkpoint(path: Path) -> None:
    """A new file gets its name when it is complete: one that a killed run left incomplete is made again."""
    path.parent.mkdir()
    path.with_name(path.name + ".new").write_bytes(b"half")
    async with await opened(path) as checkpoint:
        assert checkpoint.opened.is_new
    assert list(folder(path)) == [path.name]


async def test_archiving_moves_everything(filled: Path) -> None:
    """The old file can still be opened under its new name, its log included; the old name is free."""
    checkpoint = await opened(filled)
    await checkpoint.commit(Batch(new=[image(3000)], watermark=Watermark(seq=3000)))
    crashed = {name: content for name, content in folder(filled).items() if not name.endswith((".lock", "-shm"))}
    await checkpoint.aclose()
    replace_files(filled.parent, crashed)
    archived = [archive_checkpoint(filled)]
    assert set(folder(filled)) == {archived[0].name, archived[0].name + "-wal"}
    assert read_status(archived[0]).positioned == 2001
    for _ in range(2):
        async with await opened(filled) as again:
            assert again.opened.is_new
        archived.append(archive_checkpoint(filled))
    assert len(set(archived)) == 3
    async with await opened(archived[0]) as old:
        assert old.opened.watermark.seq == 3000
    with pytest.raises(CheckpointError):
        archive_checkpoint(filled)


# -- Reading beside a run ----------------------------------------------------------------------------------------------


async def test_the_status_is_read_beside_a_run(path: Path) -> None:
    """A reader gets a consistent state, without a lock, a change or a delay of the run."""
    async with await opened(path) as checkpoint:
        await checkpoint.begin_run("one", 10.0)
        await checkpoint.end_run("one", 20.0, StopReason.MATCHES, Counts(examined=3, failed={"changed": 1}))
        await checkpoint.begin_run("two", 30.0)
        rows = [image(1), image(2), image(3), StoredImage(id=4, seq=None, key="x", etag="", size_bytes=0)]
        effects = [(1, DoneEffect(ActionKind.COPY, "s3://clean/1"))]
        totals = Totals(calls=3, reserved_calls=2, reserved_micros=9)
        await checkpoint.commit(Batch(new=rows, effects=effects, watermark=Watermark(seq=2), totals=totals))
        status = read_status(path)
        assert (status.name, status.identity, status.watermark.seq) == ("robins", IDENTITY, 2)
        assert (status.positioned, status.pending, status.cached, status.effects, status.listed) == (3, 1, 1, 1, 0)
        assert status.totals == totals
        assert status.held_by is not None
        assert status.held_by.pid == os.getpid()
        assert [(run.run_id, run.outcome) for run in status.runs] == [("one", "matches"), ("two", "running")]
        assert status.runs[0].counts == Counts(examined=3, failed={"changed": 1})
        assert status.size_bytes > 0
        await checkpoint.commit(Batch(new=[image(5)]))
        assert read_status(path).positioned == 4
    before = folder(path)
    status = read_status(path)
    assert status.held_by is None
    assert [run.outcome for run in status.runs] == ["matches", "died"]
    assert folder(path) == before
    async with await opened(path):
        assert [run.outcome for run in read_status(path).runs] == ["matches", "died"]


async def test_reading_after_a_kill_changes_nothing(filled: Path) -> None:
    """The status of a killed run's checkpoint includes its log, and changes neither file."""
    checkpoint = await opened(filled)
    await checkpoint.commit(Batch(new=[image(3000)]))
    crashed = folder(filled)
    await checkpoint.aclose()
    replace_files(filled.parent, crashed)
    assert read_status(filled).positioned == 2001
    after = folder(filled)
    assert set(after) == set(crashed)
    assert all(after[name] == crashed[name] for name in crashed if not name.endswith("-shm"))


async def test_images_are_read_as_of_one_moment(filled: Path) -> None:
    """An export slower than the run has the state at its beginning: placed rows in order, then cached ones."""
    async with await opened(filled) as checkpoint:
        reading = read_images(filled, batch=10)
        first = next(reading)
        await checkpoint.commit(
            Batch(new=[image(3000), StoredImage(id=3001, seq=None, key="x", etag="", size_bytes=0)])
        )
        await checkpoint.drop_positions_after(1000)
        assert [first.id, *(row.id for row in reading)] == list(range(1, 2001))
        now = list(read_images(filled))
    assert [row.seq for row in now] == [*range(1, 1001), *[None] * 1002]
    assert now[0] == image(1)
    assert now[0].detection == image(1).detection


async def test_a_reader_that_stops_early_leaves_nothing_open(filled: Path) -> None:
    """An export ended after its first line does not keep the file open."""
    reading = read_images(filled)
    next(reading)
    del reading
    assert list(folder(filled)) == [filled.name]


def test_reading_a_missing_file_is_an_error(tmp_path: Path) -> None:
    """Reading a missing checkpoint is an error and makes no file."""
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        read_status(tmp_path / "none.db")
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        list(read_images(tmp_path / "none.db"))
    assert list(tmp_path.iterdir()) == []


async def test_a_failure_s_message_may_be_anything(path: Path) -> None:
    """Messages of a service are stored unchanged."""
    failure = Failure("invalid_image_format", 'Request has "invalid" image format\n\t\U0001f426')
    async with await opened(path) as checkpoint:
        await checkpoint.commit(Batch(new=[image(1)], failures=[(1, failure)]))
        assert (await checkpoint.positioned(0, 1))[0].failure == failure


async def test_a_checkpoint_without_an_image_is_bound_to_no_source(path: Path) -> None:
    """Another source takes it, with its history and what was spent; the former listing and its counts are gone."""
    other = {"source.uri": "s3://other/", "detector.max_labels": "10"}
    async with await opened(path) as checkpoint:
        mark = Watermark(listing_done=True, tally=Tally(listed=7, skipped={"empty": 7}))
        await checkpoint.begin_run("first", 1.0)
        await checkpoint.save_listing([(1, ListedObject("a.txt", 1, "e"))], is_last=True)
        await checkpoint.commit(Batch(watermark=mark, totals=Totals(spent_micros=5)))
    async with await opened(path, other) as checkpoint:
        assert checkpoint.opened.watermark == Watermark()
        assert checkpoint.opened.totals.spent_micros == 5
        assert await checkpoint.listing_state() == (False, None)
        reference = StoredReference(uri="s3://good/1.jpg", etag="1", size_bytes=1, detection=Detection(()))
        await checkpoint.commit(Batch(references=[reference]))
    assert read_status(path).identity == other
    assert [run.run_id for run in read_status(path).runs] == ["first"]
    async with await opened(path, other | {"source.uri": "s3://third/"}) as checkpoint:
        assert list(await checkpoint.references()) == [reference]
    with pytest.raises(CheckpointMismatchError, match=r"detector\.max_labels") as caught:
        await opened(path, {"source.uri": "s3://fourth/"})
    assert "source.uri" not in caught.value.message


async def test_every_opening_for_writing_raises_the_epoch(tmp_path: Path) -> None:
    """The epoch is durable at once, rises by one with each opening, and passes one that is known from elsewhere."""
    path = tmp_path / "robins.db"
    async with await opened(path) as first:
        assert (first.opened.epoch, read_status(path).epoch) == (1, 1)
    async with await opened(path) as second:
        assert second.opened.epoch == 2
    known = await open_checkpoint(path, identity=IDENTITY, name="robins", above_epoch=7)
    await known.aclose()
    assert (known.opened.epoch, read_status(path).epoch) == (8, 8)
