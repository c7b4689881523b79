"""A checkpoint has one place: no second name, no planted link, no special file, nothing that others can read."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import anyio
import pytest

from asyncfilter.checkpoint import SqliteCheckpoint, archive_checkpoint, open_checkpoint, read_images, read_status
from asyncfilter.checkpoint.place import checkpoint_exists
from asyncfilter.errors import CheckpointError, CheckpointLockedError
from asyncfilter.mounts import Mount, is_mount_point, read_mounts, real_places
from asyncfilter.records.progress import Batch, Watermark
from tests.kit.checkpoints import IDENTITY, stored_image
from tests.kit.mounts import bind_mount

IS_LINUX = sys.platform == "linux"
linux = pytest.mark.skipif(not IS_LINUX, reason="the lock on the file itself needs Linux")


async def opened(path: Path) -> SqliteCheckpoint:
    """The checkpoint at ``path``."""
    return await open_checkpoint(path, identity=IDENTITY, name="robins")


def content(path: Path) -> bytes:
    """The bytes of a file."""
    return path.read_bytes()


def names(folder: Path) -> set[str]:
    """The names in a folder."""
    return {one.name for one in folder.iterdir()}


def modes(folder: Path) -> dict[str, int]:
    """Names and permissions of the files in a folder."""
    return {one.name: stat.S_IMODE(one.stat().st_mode) for one in folder.iterdir()}


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """A checkpoint with two images, closed."""
    path = tmp_path / "robins.db"
    async with await opened(path) as checkpoint:
        await checkpoint.commit(Batch(new=[stored_image(1), stored_image(2)], watermark=Watermark(seq=2)))
    return path


# -- One checkpoint, one run -------------------------------------------------------------------------------------------


async def test_a_run_over_a_file_with_two_names_is_refused(path: Path) -> None:
    """Under either name; the file is left as it is, can be read, and one name alone is a checkpoint again."""
    other = path.with_name("other.db")
    other.hardlink_to(path)
    before = content(path)
    for name in (path, other):
        with pytest.raises(CheckpointError, match=r"2 names \(hard links\)"):
            await opened(name)
        assert read_status(name).positioned == 2
    assert content(path) == before
    assert names(path.parent) == {path.name, other.name}
    other.unlink()
    async with await opened(path) as checkpoint:
        assert not checkpoint.opened.is_new


@linux
@pytest.mark.parametrize("rename", ["link", "rename", "link in another folder", "rename through a folder"])
async def test_a_name_made_during_a_run_is_no_way_around_the_lock(path: Path, rename: str) -> None:
    """A run holds the file and not its name: a new link to it and a renamed file are held."""
    target = path.parent / "folder" / "b.db" if "folder" in rename else path.with_name("b.db")
    await anyio.Path(target.parent).mkdir(exist_ok=True)
    async with await opened(path) as checkpoint:
        await (anyio.Path(target).hardlink_to(path) if "link" in rename else anyio.Path(path).rename(target))
        with pytest.raises(CheckpointLockedError, match="under another name or mount"):
            await opened(target)
        with pytest.raises(CheckpointLockedError):
            archive_checkpoint(target)
        with pytest.raises(CheckpointError, match="a run works on this file under another name"):
            read_status(target)
        if "link" in rename:  # a run whose file lost its name ends with its next commit
            await checkpoint.commit(Batch(new=[stored_image(3)], watermark=Watermark(seq=3)))


@linux
async def test_another_process_holds_the_file(path: Path) -> None:
    """Between processes too; after a kill -9 the lock is gone."""
    program = (
        "import os, sys, time\nfrom pathlib import Path\nfrom asyncfilter.checkpoint.lock import RunLock\n"
        "lock = RunLock(Path(sys.argv[1]))\nlock.hold_file()\nprint(flush=True)\ntime.sleep(60)\n"
    )
    moved = path.with_name("moved.db")
    async with await anyio.open_process([sys.executable, "-c", program, str(path)]) as process:
        assert process.stdout is not None
        await process.stdout.receive()
        await anyio.Path(path).rename(moved)
        with pytest.raises(CheckpointLockedError, match="under another name"):
            await opened(moved)
        process.kill()
    async with await opened(moved) as checkpoint:
        assert not checkpoint.opened.is_new


async def test_reading_beside_a_run_of_this_process_keeps_its_locks(path: Path) -> None:
    """SQLite's locks end when the process closes any handle on the file: a reader must not close one of its own."""
    probe = (
        "import fcntl, sys\nwith open(sys.argv[1], 'r+b') as file:\n    try:\n"
        "        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 510, 0x40000002)\n"
        "    except OSError:\n        sys.exit(9)\n"
    )

    def is_locked() -> bool:
        return subprocess.run([sys.executable, "-c", probe, str(path)], check=False).returncode == 9

    async with await opened(path) as checkpoint:
        await checkpoint.commit(Batch(new=[stored_image(3)], watermark=Watermark(seq=3)))
        assert is_locked()
        assert read_status(path).positioned == 3
        assert len(list(read_images(path))) == 3
        assert is_locked()


async def test_a_file_mounted_by_itself_is_refused(path: Path, tmp_path: Path) -> None:
    """A mount of the file alone lacks its log: no run there, also not after one that was killed."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "b.db").touch()
    with bind_mount(path, elsewhere / "b.db"):
        with pytest.raises(CheckpointError, match="mounted here by itself"):
            await opened(elsewhere / "b.db")
        async with await opened(path):
            with pytest.raises(CheckpointLockedError):
                await opened(elsewhere / "b.db")


async def test_a_folder_mounted_twice_has_one_lock(path: Path, tmp_path: Path) -> None:
    """As in two containers that share a volume: the second run is refused by the name of the first."""
    view = tmp_path / "view"
    view.mkdir()
    with bind_mount(path.parent, view):
        async with await opened(path):
            with pytest.raises(CheckpointLockedError, match=f"process {os.getpid()} on "):
                await opened(view / path.name)
            assert read_status(view / path.name).held_by is not None
        async with await opened(view / path.name) as checkpoint:
            assert not checkpoint.opened.is_new


# -- Private -----------------------------------------------------------------------------------------------------------


@contextmanager
def umask(mask: int) -> Iterator[None]:
    """The process's umask for the length of the block."""
    former = os.umask(mask)
    try:
        yield
    finally:
        os.umask(former)


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
async def test_a_new_checkpoint_is_private(tmp_path: Path, mask: int) -> None:
    """The file, its log, its index and its lock are the owner's alone, whatever the umask."""
    path = tmp_path / "new.db"
    with umask(mask):
        async with await opened(path) as checkpoint:
            await checkpoint.commit(Batch(new=[stored_image(1)], watermark=Watermark(seq=1)))
            found = modes(tmp_path)
    assert found == dict.fromkeys(["new.db", "new.db-wal", "new.db-shm", "new.db.lock"], 0o600)


async def test_permissions_that_the_owner_gave_are_kept(path: Path) -> None:
    """A checkpoint that a group shares stays shared, with its lock."""
    await anyio.Path(path).chmod(0o660)
    with umask(0o022):
        async with await opened(path):
            found = modes(path.parent)
    assert len(found) == 4
    assert set(found.values()) == {0o660}


# -- Planted links -----------------------------------------------------------------------------------------------------


def _symbolic(planted: Path, victim: Path) -> None:
    planted.symlink_to(victim)


def _hard(planted: Path, victim: Path) -> None:
    planted.hardlink_to(victim)


@pytest.mark.parametrize("plant", [_symbolic, _hard])
@pytest.mark.parametrize("suffix", [".lock", ".new", ".new-journal", "-wal", "-shm"])
@pytest.mark.parametrize("is_new", [True, False])
async def test_no_planted_link_is_followed(
    tmp_path: Path, suffix: str, is_new: bool, plant: Callable[[Path, Path], None]
) -> None:
    """A link under a name that is used beside a checkpoint: refused, or replaced; its file is never changed."""
    path, victim = tmp_path / "a.db", tmp_path / "victim"
    if not is_new:
        await (await opened(path)).aclose()
    victim.write_bytes(b"precious" * 1000)
    plant(tmp_path / f"a.db{suffix}", victim)
    with suppress(CheckpointError):
        async with await opened(path) as checkpoint:
            await checkpoint.commit(Batch(new=[stored_image(1)], watermark=Watermark(seq=1)))
    assert victim.read_bytes() == b"precious" * 1000


async def test_a_link_that_leads_nowhere_is_not_followed_either(tmp_path: Path) -> None:
    """Nothing is created at its end."""
    for suffix in (".lock", ".new", "-wal"):
        (tmp_path / f"a.db{suffix}").symlink_to(tmp_path / "made")
    with pytest.raises(CheckpointError):
        await opened(tmp_path / "a.db")
    assert not (tmp_path / "made").exists()


# -- Special files and odd paths ---------------------------------------------------------------------------------------


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


def _folder(path: Path) -> None:
    path.mkdir()


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("make", [_pipe, _socket, _folder, _device])
async def test_a_special_file_is_no_checkpoint(tmp_path: Path, make: Callable[[Path], None]) -> None:
    """It is named, not waited for, left in place, and never set aside by --fresh."""
    path = tmp_path / "odd.db"
    make(path)
    kind = stat.S_IFMT(path.lstat().st_mode)
    with pytest.raises(CheckpointError, match=r"it is a |not a regular file"):
        await opened(path)
    for call in (read_status, archive_checkpoint):
        with pytest.raises(CheckpointError):
            call(path)
    assert checkpoint_exists(path)
    assert names(tmp_path) == {"odd.db"}
    assert stat.S_IFMT(path.lstat().st_mode) == kind


def _loop(folder: Path) -> Path:
    (folder / "loop.db").symlink_to("loop.db")
    return folder / "loop.db"


def _looped_folder(folder: Path) -> Path:
    (folder / "a").symlink_to("b")
    (folder / "b").symlink_to("a")
    return folder / "a" / "x.db"


def _file_as_folder(folder: Path) -> Path:
    (folder / ".asyncfilter").write_text("")
    return folder / ".asyncfilter" / "x.db"


def _long_name(folder: Path) -> Path:
    return folder / ("n" * 300 + ".db")


def _long_path(folder: Path) -> Path:
    return folder.joinpath(*["d" * 100] * 6, "x.db")


def _endless_path(folder: Path) -> Path:
    return folder.joinpath(*["d" * 200] * 30, "x.db")


@pytest.mark.parametrize("make", [_loop, _looped_folder, _file_as_folder, _long_name, _long_path, _endless_path])
async def test_an_impossible_path_is_a_checkpoint_error(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    """In one line, with a hint, from every function; no file is left behind."""
    path = make(tmp_path)
    for call in (read_status, archive_checkpoint):
        with pytest.raises(CheckpointError):
            call(path)
    with pytest.raises(CheckpointError) as caught:
        await opened(path)
    assert "\n" not in caught.value.message
    assert "checkpoint:" in (caught.value.hint or "")
    assert not [one async for one in anyio.Path(tmp_path).rglob("*.db*") if not await one.is_symlink()]


async def test_a_path_that_is_not_utf_8_works(tmp_path: Path) -> None:
    """Folder and file are used under their own bytes."""
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9/\xff.db"))
    async with await opened(path) as checkpoint:
        await checkpoint.commit(Batch(new=[stored_image(1)], watermark=Watermark(seq=1)))
    assert os.listdir(os.fsencode(tmp_path) + b"/caf\xe9") == [b"\xff.db"]  # noqa: PTH208  names as bytes
    assert read_status(path).positioned == 1
    archived = archive_checkpoint(path)
    assert read_status(archived).positioned == 1


async def test_the_longest_path_that_sqlite_opens_works(tmp_path: Path) -> None:
    """Up to about 500 bytes."""
    room = 500 - len(os.fsencode(tmp_path)) - len("/x.db")
    folder = tmp_path.joinpath(*["d" * 99] * (room // 100))
    async with await opened(folder / "x.db"):
        pass
    shutil.rmtree(tmp_path / ("d" * 99))


# -- Mounts ------------------------------------------------------------------------------------------------------------

TABLE = r"""21 1 8:1 / / rw - ext4 /dev/sda1 rw
30 21 8:2 / /data rw - ext4 /dev/sdb1 rw
31 21 8:2 /raw/photos /view rw - ext4 /dev/sdb1 rw
32 30 8:2 /out /data/raw/photos/in\040side rw - ext4 /dev/sdb1 rw
33 21 8:1 /etc/x.db /srv/a\134b.db rw - ext4 /dev/sda1 rw
34 21 0:9 / /view/deep rw - tmpfs tmpfs rw
too short"""


@pytest.mark.parametrize(
    ("folder", "places"),
    [
        ("/home", ["/8:1/home"]),
        ("/data/raw/photos", ["/8:2/raw/photos", "/8:2/out"]),
        ("/view", ["/8:2/raw/photos", "/0:9"]),
        ("/view/robin", ["/8:2/raw/photos/robin"]),
        ("/views", ["/8:1/views"]),
        ("/data/raw/photos/in side/x", ["/8:2/out/x"]),
    ],
)
def test_a_path_is_traced_to_its_device(tmp_path: Path, folder: str, places: list[str]) -> None:
    """Through the nearest mount, with everything mounted below; names are unescaped."""
    (tmp_path / "table").write_text(TABLE)
    mounts = read_mounts(tmp_path / "table")
    assert real_places(folder, mounts) == places
    assert is_mount_point(Path("/srv/a\\b.db"), mounts)
    assert not is_mount_point(Path("/srv"), mounts)


def test_the_last_of_several_mounts_at_a_place_counts() -> None:
    """It hides the others."""
    mounts = [Mount("8:1", "/", "/"), Mount("8:2", "/old", "/m"), Mount("8:3", "/new", "/m")]
    assert real_places("/m/x", mounts) == ["/8:3/new/x"]


def test_a_system_without_the_table_has_no_mounts(tmp_path: Path) -> None:
    """Then nothing is known."""
    assert real_places("/home", read_mounts(tmp_path / "none")) == []
