"""Copies, links and deletes of files: whole or not at all, of the file examined, and harmless when repeated."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import anyio
import pytest

from asyncfilter.errors import AccessError, ImageError, PermissionDeniedError, TransientError, UsageError
from asyncfilter.folders import FolderSink, FolderSource
from asyncfilter.folders.sink import delete
from asyncfilter.model import ActionKind, Effect, IfExists, ObjectRef, S3Location


class Scene:
    """A source with one picture, and a sink."""

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
        """Carry it out."""
        anyio.run(self.sink.perform, effect)

    def refused(self, effect: Effect) -> str:
        """The code with which an action fails."""
        with pytest.raises(ImageError) as caught:
            self.perform(effect)
        return caught.value.code

    def left(self) -> list[str]:
        """Every file at the targets."""
        return sorted(str(path.relative_to(self.clean)) for path in self.clean.rglob("*") if not path.is_dir())


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """One picture."""
    return Scene(tmp_path)


@pytest.mark.parametrize("is_link", [False, True])
def test_a_copy_is_whole_keeps_its_time_and_may_be_repeated(scene: Scene, is_link: bool) -> None:
    """The target has the bytes and the time of change of the source, nothing else is left, twice is once."""
    effect = scene.effect(is_link=is_link)
    for _ in range(2):
        scene.perform(effect)
        assert (scene.clean / "sub/a.jpg").read_bytes() == b"picture"
        assert (scene.clean / "sub/a.jpg").stat().st_mtime_ns == 10**18 + 7
        assert scene.left() == ["sub/a.jpg"]
    assert (scene.file.stat().st_nlink == 2) is is_link


@pytest.mark.parametrize("is_link", [False, True])
def test_only_the_file_examined_is_copied(scene: Scene, is_link: bool) -> None:
    """A file that changed or went since is reported, and nothing is written."""
    effect = scene.effect(is_link=is_link)
    scene.file.write_bytes(b"PICTURE")
    assert scene.refused(effect) == "changed"
    scene.file.unlink()
    assert scene.refused(effect) == "vanished"
    assert scene.left() == []


def test_a_file_that_changes_while_it_is_copied_is_not_kept(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The condition is looked at again behind the last byte."""
    real = shutil.copyfileobj

    def copy(source: Any, out: Any, length: int) -> None:
        real(source, out, length)
        scene.file.write_bytes(b"other picture")

    monkeypatch.setattr(shutil, "copyfileobj", copy)
    assert scene.refused(scene.effect()) == "changed"
    assert scene.left() == []


@pytest.mark.parametrize("is_link", [False, True])
def test_what_stands_at_the_target(scene: Scene, is_link: bool) -> None:
    """``overwrite`` replaces it, ``skip`` leaves it, ``fail`` fails unless it is the same picture."""
    target = scene.clean / "sub/a.jpg"
    target.parent.mkdir(parents=True)
    target.write_bytes(b"another")
    scene.perform(scene.effect(if_exists=IfExists.SKIP, is_link=is_link))
    assert scene.refused(scene.effect(if_exists=IfExists.FAIL, is_link=is_link)) == "target_exists"
    assert target.read_bytes() == b"another"
    scene.perform(scene.effect(is_link=is_link))
    scene.perform(scene.effect(if_exists=IfExists.FAIL, is_link=is_link))
    assert target.read_bytes() == b"picture"
    assert scene.left() == ["sub/a.jpg"]


def test_overwriting_a_link_to_the_source_leaves_the_source_whole(scene: Scene) -> None:
    """A target that was linked is replaced by name; the bytes it shares with the source are not touched."""
    scene.perform(scene.effect(is_link=True))
    scene.perform(scene.effect())
    assert scene.file.read_bytes() == b"picture"
    assert scene.file.stat().st_nlink == 1


@pytest.mark.parametrize("key", ["../photos/x.jpg", "a/../../x.jpg", "a//b.jpg", "./x.jpg", "a/", "nul\0.jpg", ""])
def test_no_target_leaves_its_folder(scene: Scene, key: str) -> None:
    """Whatever a template came to, what is no plain path below the folder is refused."""
    assert scene.refused(scene.effect(key=key)) == "target_unsafe"


def test_nothing_is_written_into_the_source_through_a_link(scene: Scene) -> None:
    """A folder of targets that leads back into the source is refused when it is met."""
    scene.clean.mkdir()
    (scene.clean / "back").symlink_to(scene.root / "sub")
    assert scene.refused(scene.effect(key="back/b.jpg")) == "target_unsafe"
    assert scene.refused(scene.effect(key="back/new/b.jpg")) == "target_unsafe"
    assert list((scene.root / "sub").iterdir()) == [scene.file]


def test_places_that_are_taken_or_cannot_be(scene: Scene) -> None:
    """A folder in the target's place, a file in its folder's, and a name too long are failures of that image."""
    (scene.clean / "sub" / "a.jpg").mkdir(parents=True)
    assert scene.refused(scene.effect()) == "target_blocked"
    (scene.clean / "file").write_bytes(b"")
    assert scene.refused(scene.effect(key="file/b.jpg")) == "target_blocked"
    assert scene.refused(scene.effect(key="x" * 300)) == "target_too_long"


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
    scene: Scene, monkeypatch: pytest.MonkeyPatch, number: int, error: type[Exception]
) -> None:
    """What concerns every file is an error of the run; what may pass is repeated; nothing stays behind."""

    def fail(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(error):
        scene.perform(scene.effect())
    assert scene.left() == []


def test_a_link_that_cannot_be_says_what_to_do(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another file system stops the run with the way out."""
    monkeypatch.setattr(Path, "hardlink_to", _no_link)
    with pytest.raises(AccessError) as caught:
        scene.perform(scene.effect(is_link=True))
    assert caught.value.hint == "Use copy in place of link."


def _no_link(*_: Any) -> None:
    raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))


def test_only_the_file_examined_is_deleted(scene: Scene) -> None:
    """What changed since stays where it is, untouched."""
    image = scene.image()
    scene.file.write_bytes(b"PICTURE")
    with pytest.raises(ImageError) as caught:
        delete(image)
    assert caught.value.code == "changed"
    assert scene.file.read_bytes() == b"PICTURE"


def test_a_delete_takes_the_link_and_not_what_it_leads_to(scene: Scene) -> None:
    """Files go; of a symbolic link only the link."""
    link, image = scene.root / "link.jpg", scene.image()
    link.symlink_to("sub/a.jpg")
    delete(scene.image("link.jpg"))
    assert not link.is_symlink()
    assert scene.file.exists()
    delete(image)
    with pytest.raises(ImageError) as caught:
        delete(image)
    assert caught.value.code == "vanished"


@pytest.mark.parametrize("kind", [ActionKind.TAG, ActionKind.MOVE, ActionKind.DELETE])
def test_a_sink_takes_no_file_out_of_the_source(scene: Scene, kind: ActionKind) -> None:
    """Moves and deletes are for ``apply`` alone, and files have no tags: a run that came to ask for one is refused."""
    with pytest.raises(UsageError, match=kind.value):
        scene.perform(scene.effect(kind))
    assert scene.file.exists()


# -- What a move must never take for its copy --------------------------------------------------------------------------


@pytest.mark.parametrize("is_link", [False, True])
@pytest.mark.parametrize("if_exists", list(IfExists))
@pytest.mark.parametrize("has_other_name", [False, True])
def test_the_source_by_another_way_is_no_target(
    scene: Scene, if_exists: IfExists, *, is_link: bool, has_other_name: bool
) -> None:
    """A folder that is mounted twice: the file at the target is the file itself, and deleting one deletes both.

    A link stands for the mount here, and a sink of another folder for one that cannot see through it.
    """
    if has_other_name:
        (scene.root / "other").hardlink_to(scene.file)
    scene.clean.symlink_to(scene.root)
    effect = scene.effect(if_exists=if_exists, is_link=is_link)
    with pytest.raises(ImageError) as caught:
        anyio.run(FolderSink(scene.root.parent / "elsewhere").perform, effect)
    assert caught.value.code == "target_unsafe"
    assert scene.file.read_bytes() == b"picture"


@pytest.mark.parametrize("if_exists", list(IfExists))
def test_a_file_system_without_links_takes_copies_too(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, if_exists: IfExists
) -> None:
    """Memory sticks know no hard links: the copy is whole or not there, and takes no other file's name."""

    def refuse(*_: Any) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    effect = scene.effect(if_exists=if_exists)
    scene.perform(effect)
    assert ((scene.clean / "sub/a.jpg").read_bytes(), scene.left()) == (b"picture", ["sub/a.jpg"])
    (scene.clean / "sub/a.jpg").write_bytes(b"another")
    if if_exists is IfExists.FAIL:
        assert scene.refused(effect) == "target_exists"
    else:
        scene.perform(effect)
    kept = b"picture" if if_exists is IfExists.OVERWRITE else b"another"
    assert ((scene.clean / "sub/a.jpg").read_bytes(), scene.left()) == (kept, ["sub/a.jpg"])


def test_the_folders_of_a_copy_are_as_durable_as_the_copy(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name is on disk when its folder is: every folder that was made, up to the one that was there."""
    synced: list[Path] = []
    real = os.fsync

    def fsync(fd: int) -> None:
        synced.append(Path(f"/proc/self/fd/{fd}").readlink())
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    scene.perform(scene.effect(key="deep/deeper/a.jpg", is_link=True))
    assert {scene.root.parent, scene.clean, scene.clean / "deep", scene.clean / "deep/deeper"} == set(synced)


def test_a_copy_is_as_private_as_its_source(scene: Scene) -> None:
    """Permissions go along, and come back with undo."""
    scene.file.chmod(0o600)
    scene.perform(scene.effect())
    assert (scene.clean / "sub/a.jpg").stat().st_mode & 0o777 == 0o600
