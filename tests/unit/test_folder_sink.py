"""Copies, links, moves and deletes of files: whole or not at all, of the file examined, and harmless when repeated."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import anyio
import pytest

from asyncfilter.datasets.folder import FolderSink, FolderSource
from asyncfilter.datasets.folder import sink as folder_sink
from asyncfilter.errors import AccessError, ImageError, PermissionDeniedError, TransientError, UsageError
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


@pytest.mark.parametrize("across", [False, True])
def test_a_move_takes_the_file_away_once(scene: Scene, monkeypatch: pytest.MonkeyPatch, across: bool) -> None:
    """On one file system or to another: the target is there, the source is not, and a repeat is harmless."""
    if across:
        real = Path.hardlink_to

        def link(new: Path, old: Path) -> None:
            if old.is_relative_to(scene.root):
                _no_link()
            real(new, old)

        monkeypatch.setattr(Path, "hardlink_to", link)
    effect = scene.effect(ActionKind.MOVE)
    for _ in range(2):
        scene.perform(effect)
        assert (scene.clean / "sub/a.jpg").read_bytes() == b"picture"
        assert not scene.file.exists()
    (scene.clean / "sub/a.jpg").unlink()
    assert scene.refused(effect) == "vanished"


@pytest.mark.parametrize("step", ["_link", "delete"])
def test_a_move_that_died_on_the_way_is_finished_by_its_repeat(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Killed before the link or before the delete, the picture is never nowhere, and in one place after the repeat."""
    effect = scene.effect(ActionKind.MOVE)

    def die(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr(folder_sink, step, die)
        with pytest.raises(KeyboardInterrupt):
            scene.sink.move(effect)
    assert scene.file.exists()
    scene.perform(effect)
    assert (scene.left(), scene.file.exists()) == (["sub/a.jpg"], False)


def test_a_move_never_overwrites(scene: Scene) -> None:
    """Another picture at the target stays, and so does the source."""
    (scene.clean / "sub").mkdir(parents=True)
    (scene.clean / "sub" / "a.jpg").write_bytes(b"another")
    assert scene.refused(scene.effect(ActionKind.MOVE)) == "target_exists"
    assert scene.file.exists()


def test_only_the_file_examined_is_moved_or_deleted(scene: Scene) -> None:
    """What changed since stays where it is, untouched."""
    effects = [scene.effect(ActionKind.MOVE), scene.effect(ActionKind.DELETE)]
    scene.file.write_bytes(b"PICTURE")
    for effect in effects:
        assert scene.refused(effect) == "changed"
        assert scene.file.read_bytes() == b"PICTURE"


def test_a_delete_takes_the_link_and_not_what_it_leads_to(scene: Scene) -> None:
    """Files go; of a symbolic link only the link."""
    link = scene.root / "link.jpg"
    link.symlink_to("sub/a.jpg")
    scene.perform(Effect(kind=ActionKind.DELETE, source=scene.image("link.jpg")))
    assert not link.is_symlink()
    assert scene.file.exists()
    effect = scene.effect(ActionKind.DELETE)
    scene.perform(effect)
    assert scene.refused(effect) == "vanished"


def test_files_have_no_tags(scene: Scene) -> None:
    """An action that files do not know is refused."""
    with pytest.raises(UsageError, match="tag"):
        scene.perform(scene.effect(ActionKind.TAG))
