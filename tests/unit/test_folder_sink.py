"""Copies, links and deletes of files: complete or not at all, of the examined file only, and repeatable."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from pathlib import Path
from typing import Any

import anyio
import pytest

from asyncfilter.errors import AccessError, ImageError, PermissionDeniedError, TransientError, UsageError
from asyncfilter.folders import FolderSink, FolderSource
from asyncfilter.folders.sink import delete
from asyncfilter.model import ActionKind, Effect, IfExists, ObjectRef, S3Location


class SinkFolders:
    """A source folder with one picture, and a sink."""

    def __init__(self, folder: Path) -> None:
        self.root, self.clean = folder / "photos", folder / "clean"
        (self.root / "sub").mkdir(parents=True)
        self.file = self.root / "sub" / "a.jpg"
        self.file.write_bytes(b"picture")
        os.utime(self.file, ns=(10**18, 10**18 + 7))
        self.sink = FolderSink(self.root)

    def image(self, key: str = "sub/a.jpg") -> ObjectRef:
        """A file as it is listed now."""
        (found,) = [item for item in anyio.run(FolderSource(self.root).page, None).objects if item.key == key]
        return ObjectRef(bucket=f"file://{self.root}", key=key, size_bytes=found.size_bytes, etag=found.etag, seq=1)

    def effect(self, kind: ActionKind = ActionKind.COPY, key: str = "sub/a.jpg", **more: Any) -> Effect:
        """An action whose target is below the clean folder."""
        more = {"source": self.image(), **more}
        return Effect(kind=kind, target=S3Location(f"file://{self.clean}", key), **more)

    def perform(self, effect: Effect) -> None:
        """Perform the effect."""
        anyio.run(self.sink.perform, effect)

    def refused(self, effect: Effect) -> str:
        """The code with which an action fails."""
        with pytest.raises(ImageError) as caught:
            self.perform(effect)
        return caught.value.code

    def target_files(self) -> list[str]:
        """Every file at the targets."""
        return sorted(str(path.relative_to(self.clean)) for path in self.clean.rglob("*") if not path.is_dir())


@pytest.fixture
def folders(tmp_path: Path) -> SinkFolders:
    """A source folder with one picture, and a sink."""
    return SinkFolders(tmp_path)


@pytest.mark.parametrize("is_link", [False, True])
def test_a_copy_is_whole_keeps_its_time_and_may_be_repeated(folders: SinkFolders, is_link: bool) -> None:
    """The target has the bytes and modification time of the source, no other file is left; repeatable."""
    effect = folders.effect(is_link=is_link)
    for _ in range(2):
        folders.perform(effect)
        assert (folders.clean / "sub/a.jpg").read_bytes() == b"picture"
        assert (folders.clean / "sub/a.jpg").stat().st_mtime_ns == 10**18 + 7
        assert folders.target_files() == ["sub/a.jpg"]
    assert (folders.file.stat().st_nlink == 2) is is_link


@pytest.mark.parametrize("is_link", [False, True])
def test_only_the_file_examined_is_copied(folders: SinkFolders, is_link: bool) -> None:
    """A file that changed or vanished is reported, and nothing is written."""
    effect = folders.effect(is_link=is_link)
    folders.file.write_bytes(b"PICTURE")
    assert folders.refused(effect) == "changed"
    folders.file.unlink()
    assert folders.refused(effect) == "vanished"
    assert folders.target_files() == []


def test_a_file_that_changes_while_it_is_copied_is_not_kept(
    folders: SinkFolders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The condition is checked again after the last byte."""
    real = shutil.copyfileobj

    def copy(source: Any, out: Any, length: int) -> None:
        real(source, out, length)
        folders.file.write_bytes(b"other picture")

    monkeypatch.setattr(shutil, "copyfileobj", copy)
    assert folders.refused(folders.effect()) == "changed"
    assert folders.target_files() == []


@pytest.mark.parametrize("is_link", [False, True])
def test_existing_files_at_the_target(folders: SinkFolders, is_link: bool) -> None:
    """``overwrite`` replaces an existing file, ``skip`` keeps it, ``fail`` fails unless it is the same picture."""
    target = folders.clean / "sub/a.jpg"
    target.parent.mkdir(parents=True)
    target.write_bytes(b"another")
    folders.perform(folders.effect(if_exists=IfExists.SKIP, is_link=is_link))
    assert folders.refused(folders.effect(if_exists=IfExists.FAIL, is_link=is_link)) == "target_exists"
    assert target.read_bytes() == b"another"
    folders.perform(folders.effect(is_link=is_link))
    folders.perform(folders.effect(if_exists=IfExists.FAIL, is_link=is_link))
    assert target.read_bytes() == b"picture"
    assert folders.target_files() == ["sub/a.jpg"]


def test_overwriting_a_link_to_the_source_leaves_the_source_whole(folders: SinkFolders) -> None:
    """A linked target is replaced by name; the bytes it shares with the source are not changed."""
    folders.perform(folders.effect(is_link=True))
    folders.perform(folders.effect())
    assert folders.file.read_bytes() == b"picture"
    assert folders.file.stat().st_nlink == 1


@pytest.mark.parametrize("key", ["../photos/x.jpg", "a/../../x.jpg", "a//b.jpg", "./x.jpg", "a/", "nul\0.jpg", ""])
def test_no_target_leaves_its_folder(folders: SinkFolders, key: str) -> None:
    """A target that is no plain path below the folder is refused."""
    assert folders.refused(folders.effect(key=key)) == "target_unsafe"


def test_nothing_is_written_into_the_source_through_a_link(folders: SinkFolders) -> None:
    """A target folder that links back into the source is refused at the copy."""
    folders.clean.mkdir()
    (folders.clean / "back").symlink_to(folders.root / "sub")
    assert folders.refused(folders.effect(key="back/b.jpg")) == "target_unsafe"
    assert folders.refused(folders.effect(key="back/new/b.jpg")) == "target_unsafe"
    assert list((folders.root / "sub").iterdir()) == [folders.file]


def test_occupied_or_impossible_targets_are_refused(folders: SinkFolders) -> None:
    """A folder at the target, a file at its folder, and a name that is too long are failures of that image."""
    (folders.clean / "sub" / "a.jpg").mkdir(parents=True)
    assert folders.refused(folders.effect()) == "target_blocked"
    (folders.clean / "file").write_bytes(b"")
    assert folders.refused(folders.effect(key="file/b.jpg")) == "target_blocked"
    assert folders.refused(folders.effect(key="x" * 300)) == "target_too_long"


@pytest.mark.parametrize(
    ("number", "error"),
    [
        (errno.ENOSPC, AccessError),
        (errno.EROFS, AccessError),
        (errno.EACCES, PermissionDeniedError),
        (errno.EIO, TransientError),
    ],
)
def test_a_disk_that_cannot_be_written_stops_the_run(
    folders: SinkFolders, monkeypatch: pytest.MonkeyPatch, number: int, error: type[Exception]
) -> None:
    """A cause that concerns every file is an error of the run; a transient one is repeated; no file is left."""

    def fail(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(error):
        folders.perform(folders.effect())
    assert folders.target_files() == []


def test_an_impossible_link_is_refused_with_the_remedy(folders: SinkFolders, monkeypatch: pytest.MonkeyPatch) -> None:
    """A target on another file system stops the run with the remedy."""
    monkeypatch.setattr(Path, "hardlink_to", _no_link)
    with pytest.raises(AccessError) as caught:
        folders.perform(folders.effect(is_link=True))
    assert caught.value.hint == "Use copy in place of link."


def _no_link(*_: Any) -> None:
    raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))


def test_only_the_file_examined_is_deleted(folders: SinkFolders) -> None:
    """A changed file is kept, unchanged."""
    image = folders.image()
    folders.file.write_bytes(b"PICTURE")
    with pytest.raises(ImageError) as caught:
        delete(image)
    assert caught.value.code == "changed"
    assert folders.file.read_bytes() == b"PICTURE"


def test_a_delete_takes_the_link_and_not_what_it_leads_to(folders: SinkFolders) -> None:
    """A file is deleted; of a symbolic link only the link."""
    link, image = folders.root / "link.jpg", folders.image()
    link.symlink_to("sub/a.jpg")
    delete(folders.image("link.jpg"))
    assert not link.is_symlink()
    assert folders.file.exists()
    delete(image)
    with pytest.raises(ImageError) as caught:
        delete(image)
    assert caught.value.code == "vanished"


@pytest.mark.parametrize("kind", [ActionKind.TAG, ActionKind.MOVE, ActionKind.DELETE])
def test_a_sink_takes_no_file_out_of_the_source(folders: SinkFolders, kind: ActionKind) -> None:
    """Moves and deletes belong to ``apply`` alone, and files have no tags: the sink refuses them."""
    with pytest.raises(UsageError, match=kind.value):
        folders.perform(folders.effect(kind))
    assert folders.file.exists()


# -- Files that are no copy of a moved image ---------------------------------------------------------------------------


@pytest.mark.parametrize("is_link", [False, True])
@pytest.mark.parametrize("if_exists", list(IfExists))
@pytest.mark.parametrize("has_other_name", [False, True])
def test_the_source_by_another_path_is_no_target(
    folders: SinkFolders, if_exists: IfExists, *, is_link: bool, has_other_name: bool
) -> None:
    """In a folder that is mounted twice the file at the target is the source itself; deleting one deletes both.

    A link represents the mount here, and a sink of another folder one that cannot detect it.
    """
    if has_other_name:
        (folders.root / "other").hardlink_to(folders.file)
    folders.clean.symlink_to(folders.root)
    effect = folders.effect(if_exists=if_exists, is_link=is_link)
    with pytest.raises(ImageError) as caught:
        anyio.run(FolderSink(folders.root.parent / "elsewhere").perform, effect)
    assert caught.value.code == "target_unsafe"
    assert folders.file.read_bytes() == b"picture"


@pytest.mark.parametrize("if_exists", list(IfExists))
def test_a_file_system_without_links_takes_copies_too(
    folders: SinkFolders, monkeypatch: pytest.MonkeyPatch, if_exists: IfExists
) -> None:
    """Memory sticks have no hard links: the copy is complete or missing, and replaces no other file."""

    def refuse(*_: Any) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    effect = folders.effect(if_exists=if_exists)
    folders.perform(effect)
    assert ((folders.clean / "sub/a.jpg").read_bytes(), folders.target_files()) == (b"picture", ["sub/a.jpg"])
    (folders.clean / "sub/a.jpg").write_bytes(b"another")
    if if_exists is IfExists.FAIL:
        assert folders.refused(effect) == "target_exists"
    else:
        folders.perform(effect)
    kept = b"picture" if if_exists is IfExists.OVERWRITE else b"another"
    assert ((folders.clean / "sub/a.jpg").read_bytes(), folders.target_files()) == (kept, ["sub/a.jpg"])


def test_the_folders_of_a_copy_are_as_durable_as_the_copy(
    folders: SinkFolders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name is durable only if its folder is synced: every new folder is, up to the first existing one."""
    synced: list[Path] = []
    real = os.fsync

    def fsync(fd: int) -> None:
        synced.append(Path(f"/proc/self/fd/{fd}").readlink())
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    folders.perform(folders.effect(key="deep/deeper/a.jpg", is_link=True))
    assert {folders.root.parent, folders.clean, folders.clean / "deep", folders.clean / "deep/deeper"} == set(synced)


def test_a_copy_is_as_private_as_its_source(folders: SinkFolders) -> None:
    """Permissions are copied, and restored by undo."""
    folders.file.chmod(0o600)
    folders.perform(folders.effect())
    assert (folders.clean / "sub/a.jpg").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(("mode", "kept"), [(0o6755, 0o755), (0o4711, 0o711), (0o2770, 0o770), (0o1777, 0o777)])
def test_a_copy_has_no_special_bits(folders: SinkFolders, mode: int, kept: int) -> None:
    """Set-user-ID, set-group-ID and sticky bits stay behind."""
    folders.file.chmod(mode)
    folders.perform(folders.effect())
    assert stat.S_IMODE((folders.clean / "sub/a.jpg").stat().st_mode) == kept


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o666])
def test_a_copy_is_private_while_it_is_written(
    folders: SinkFolders, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    """Until it is complete, only the owner can read it."""
    folders.file.chmod(mode)
    seen: list[int] = []
    real = shutil.copyfileobj

    def copy(source: Any, out: Any, length: int) -> None:
        real(source, out, length)
        seen.append(stat.S_IMODE(os.fstat(out.fileno()).st_mode))

    monkeypatch.setattr(shutil, "copyfileobj", copy)
    former = os.umask(0)
    try:
        folders.perform(folders.effect())
    finally:
        os.umask(former)
    assert seen == [0o600]
    assert stat.S_IMODE((folders.clean / "sub/a.jpg").stat().st_mode) == mode


@pytest.mark.parametrize("is_hard", [False, True])
def test_no_planted_link_is_followed_by_a_copy(
    folders: SinkFolders, monkeypatch: pytest.MonkeyPatch, *, is_hard: bool
) -> None:
    """A link under the name of the incomplete copy, even if it could be guessed, or of the target."""
    victim = folders.root.parent / "victim"
    victim.write_bytes(b"precious")
    monkeypatch.setattr("secrets.token_hex", lambda _: "guessed")
    (folders.clean / "sub").mkdir(parents=True)
    for name in (".asyncfilter-guessed.part", "a.jpg"):
        planted = folders.clean / "sub" / name
        planted.hardlink_to(victim) if is_hard else planted.symlink_to(victim)
    assert folders.refused(folders.effect()) == "target_blocked"
    assert victim.read_bytes() == b"precious"
    monkeypatch.undo()
    folders.perform(folders.effect())
    assert victim.read_bytes() == b"precious"
    assert (folders.clean / "sub/a.jpg").read_bytes() == b"picture"


def test_target_folders_in_a_circle_are_blocked(folders: SinkFolders) -> None:
    """A link to itself in place of a folder of the target fails that image."""
    folders.clean.mkdir()
    (folders.clean / "loop").symlink_to("loop")
    assert folders.refused(folders.effect(key="loop/a.jpg")) == "target_blocked"
