"""``apply`` and ``undo`` on files: moved by hard link or by copy, deleted, restored, killed around every call."""

from __future__ import annotations

import os
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import anyio
import pytest
from rich.console import Console

from asyncfilter.errors import ImageError
from asyncfilter.folders import FolderRemover, FolderSink, FolderSource, files
from asyncfilter.folders import remover as folder_remover
from asyncfilter.folders import sink as folder_sink
from asyncfilter.folders import source as folder_source
from asyncfilter.job import Job
from asyncfilter.model import FOLDER, ActionKind, ObjectRef, S3Location
from asyncfilter.policy.removal_plan import Consent, RemovalSummary
from asyncfilter.ports.remover import DeleteRequest, DeleteResult, ObjectState, Remover
from asyncfilter.records.progress import Batch
from asyncfilter.records.removal import Removal, Step
from asyncfilter.report.terminal.apply import draw_plan
from asyncfilter.testing import MemoryCheckpoint, ScriptedDetector
from asyncfilter.testing.crash import CrashPlan, crashing, unless_crashed
from asyncfilter.wiring import Overrides, plan_apply, plan_undo, undo
from asyncfilter.wiring.apply import apply
from asyncfilter.wiring.run import run
from tests.kit.clocks import FastClock
from tests.kit.jobs import make_bare_job

LABELS = {"a robin.jpg": "Robin", "deep/b.jpg": "Person", "deep/c.jpg": "Person", "d.jpg": "Person"}
GOING = sorted(key for key, label in LABELS.items() if label == "Person")


class ExaminedFolder:
    """A folder whose images were examined, on which processes run one after another."""

    def __init__(self, root: Path, action: Any) -> None:
        self.folder, self.trash = root / "photos", root / "trash"
        for key in LABELS:
            path = self.folder / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(key.encode())
        self.checkpoint = MemoryCheckpoint()
        self.job = self.a_job(action)
        self.inodes = {key: (self.folder / key).stat().st_ino for key in LABELS}
        self.run()

    def a_job(self, action: Any) -> Job:
        """A job that keeps robins and removes people."""
        return make_bare_job(base_dir=self.folder.parent, source=str(self.folder), actions={"reject": action})

    def run(self) -> Any:
        """``asyncfilter run``."""
        detector = ScriptedDetector({key: [(label, 90.0)] for key, label in LABELS.items()})
        source, sink = FolderSource(self.folder), FolderSink(self.folder)
        overrides = Overrides(
            source=source, detector=detector, sink=sink, checkpoint=self.checkpoint, clock=FastClock()
        )
        try:
            return anyio.run(lambda: run(self.job, overrides=overrides))
        finally:
            self.checkpoint = self.checkpoint.reopen()

    def apply(self, at: int = 0) -> RemovalSummary | None:
        """``asyncfilter apply``; None when it was killed."""
        return self._remove(plan_apply, apply, at)

    def undo(self, at: int = 0) -> RemovalSummary | None:
        """``asyncfilter undo``; None when it was killed."""
        return self._remove(plan_undo, undo, at)

    def _remove(self, plan: Any, verb: Any, at: int) -> RemovalSummary | None:
        async def remove() -> RemovalSummary | None:
            remover = FolderRemover(self.folder)
            images = (await plan(self.job, overrides=self._overrides(remover))).images
            overrides = self._overrides(crashing(remover, CrashPlan(at)))
            return await unless_crashed(verb(self.job, Consent(images=images, max_share=1.0), overrides=overrides))

        try:
            return anyio.run(remove)
        finally:
            self.checkpoint = self.checkpoint.reopen()

    def _overrides(self, remover: Remover) -> Overrides:
        self.checkpoint = self.checkpoint.reopen()
        return Overrides(remover=remover, checkpoint=self.checkpoint)

    def files(self, root: Path | None = None) -> dict[str, bytes]:
        """Contents of a folder by path."""
        root = root or self.folder
        return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("can_link", [True, False])
def test_killed_around_every_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, can_link: bool) -> None:
    """No file is lost or left over after ``apply`` and ``undo``, with hard links and without."""
    if not can_link:
        monkeypatch.setattr(folder_sink, "_link", _no_links)
    for at in count(1):
        examined = ExaminedFolder(tmp_path / str(at), {"move": f"{tmp_path / str(at)}/trash/"})
        was_killed = examined.apply(at) is None
        assert {*examined.files(), *examined.files(examined.trash)} == set(LABELS)
        if was_killed:
            examined.apply()
        assert sorted(examined.files(examined.trash)) == GOING
        assert examined.files() == {"a robin.jpg": b"a robin.jpg"}
        if examined.undo(at) is None:
            assert {*examined.files(), *examined.files(examined.trash)} == set(LABELS)
            examined.undo()
        assert examined.files() == {key: key.encode() for key in LABELS}
        assert examined.files(examined.trash) == {}
        if can_link:
            assert {key: (examined.folder / key).stat().st_ino for key in LABELS} == examined.inodes
        assert examined.run().this_run.calls == 0  # also for images restored as another file
        if not was_killed:
            assert at > 10
            break


def _no_links(effect: Any, part: Path) -> None:
    raise folder_sink.UnlinkableError(f"{effect.source.uri}: another file system")


def test_deleted_files_are_gone_and_changed_ones_stay(tmp_path: Path) -> None:
    """A delete requires the examined time and inode; undo reports that it cannot restore."""
    examined = ExaminedFolder(tmp_path, "delete")
    (examined.folder / GOING[0]).write_bytes(b"newer")
    summary = examined.apply()
    assert summary is not None
    assert (summary.deleted, summary.failed) == (2, {"changed": 1})
    assert examined.files() == {"a robin.jpg": b"a robin.jpg", GOING[0]: b"newer"}
    plan = anyio.run(lambda: plan_undo(examined.job, overrides=examined._overrides(FolderRemover(examined.folder))))
    assert (plan.images, sum(group.images for group in plan.lost)) == (0, 2)


def test_the_plan_of_a_folder_names_files(tmp_path: Path) -> None:
    """Deletes in a folder cannot be undone, unlike those in a versioned bucket; the plan shows it."""
    examined = ExaminedFolder(tmp_path, "delete")
    plan = anyio.run(lambda: plan_apply(examined.job, overrides=examined._overrides(FolderRemover(examined.folder))))
    console = Console(width=200)
    with console.capture() as captured:
        console.print(draw_plan(plan, 0.5))
    assert "deleted images are gone for ever, and undo cannot bring them back" in captured.get()
    assert "bucket" not in captured.get()


def test_undo_never_overwrites_a_file(tmp_path: Path) -> None:
    """A newer file is not overwritten, and the moved one stays in the trash."""
    examined = ExaminedFolder(tmp_path, {"move": f"{tmp_path}/trash/"})
    examined.apply()
    (examined.folder / GOING[0]).write_bytes(b"newer")
    summary = examined.undo()
    assert summary is not None
    assert (summary.restored, summary.failed) == (2, {"source_exists": 1})
    assert examined.files()[GOING[0]] == b"newer"
    assert examined.files(examined.trash) == {GOING[0]: GOING[0].encode()}


def test_a_move_never_overwrites_in_the_trash(tmp_path: Path) -> None:
    """If the trash has another file of that name, the image is not moved."""
    examined = ExaminedFolder(tmp_path, {"move": f"{tmp_path}/trash/"})
    examined.trash.mkdir()
    (examined.trash / "d.jpg").write_bytes(b"older")
    summary = examined.apply()
    assert summary is not None
    assert (summary.moved, summary.failed) == (2, {"target_exists": 1})
    assert examined.files(examined.trash)["d.jpg"] == b"older"
    assert examined.files()["d.jpg"] == b"d.jpg"


@pytest.mark.parametrize("action", ["copy", "link"])
def test_stale_files_are_deleted_while_their_images_exist(tmp_path: Path, action: str) -> None:
    """Copies and hard links no longer wanted are deleted; last copies and foreign files stay."""
    examined = ExaminedFolder(tmp_path, {action: f"{tmp_path}/trash/"})
    (examined.folder / GOING[0]).unlink()
    (examined.trash / GOING[1]).unlink()
    (examined.trash / GOING[1]).write_bytes(b"somebody's own")
    before = examined.files()
    examined.job = examined.a_job("none")
    examined.run()
    former = partial(apply, stale=True, allow_places=(f"{tmp_path}/trash",))
    summary = examined._remove(partial(plan_apply, stale=True), former, 0)
    assert summary is not None
    assert (summary.cleared, summary.failed) == (1, {"original_gone": 1, "target_exists": 1})
    assert examined.files(examined.trash) == {GOING[0]: GOING[0].encode(), GOING[1]: b"somebody's own"}
    assert examined.files() == before


def test_the_remover_itself(tmp_path: Path) -> None:
    """A missing file, a folder and a changed file each give an outcome of their own."""
    (tmp_path / "folder").mkdir()
    for name in ("a", "b", "c"):
        (tmp_path / name).write_bytes(name.encode())
    remover, bucket = FolderRemover(tmp_path), f"{FOLDER}{tmp_path}"

    def head(name: str) -> ObjectState | None:
        return anyio.run(remover.head, S3Location(bucket, name))

    assert (head("none"), head("folder")) == (None, None)
    found = {name: head(name) for name in ("a", "b", "c")}
    assert anyio.run(remover.head, S3Location(FOLDER, f"{tmp_path}/a".removeprefix("/"))) == found["a"]
    os.utime(tmp_path / "b", ns=(1, 1))
    (tmp_path / "c").unlink()
    wanted = [DeleteRequest(key=name, etag=one.etag, size_bytes=1) for name, one in found.items() if one is not None]
    results = anyio.run(remover.delete, bucket, wanted)
    assert results[0] == DeleteResult()
    assert [result.code for result in results if isinstance(result, ImageError)] == ["changed", "vanished"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "folder"]


def test_a_link_to_an_image_is_no_other_image(tmp_path: Path) -> None:
    """Its content would be gone with the one file; a hard link has it, and is not read."""
    (tmp_path / "z.jpg").write_bytes(b"one picture")
    (tmp_path / "link.jpg").symlink_to("z.jpg")
    (tmp_path / "hard.jpg").hardlink_to(tmp_path / "z.jpg")
    remover, bucket = FolderRemover(tmp_path), f"{FOLDER}{tmp_path}"

    def image(name: str) -> ObjectRef:
        found = anyio.run(remover.head, S3Location(bucket, name))
        assert found is not None
        return ObjectRef(bucket=bucket, key=name, size_bytes=found.size_bytes, etag=found.etag, seq=1)

    for original in ("link.jpg", "z.jpg"):
        with pytest.raises(ImageError, match="itself") as caught:
            anyio.run(remover.same_content, image("z.jpg"), image(original))
        assert caught.value.code == "original_gone"
    assert anyio.run(remover.same_content, image("z.jpg"), image("hard.jpg"))


@pytest.mark.parametrize("step", [Step.COPIED, Step.VERIFIED])
def test_a_file_with_the_time_and_inode_of_another_is_no_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: Step
) -> None:
    """As on two disks, whose inodes have the same numbers, or through another mount: a move that is continued stops."""
    for module in (files, folder_sink, folder_remover, folder_source):
        monkeypatch.setattr(module, "etag_of", lambda status: f"{status.st_mtime_ns:x}-7")
    folder = ExaminedFolder(tmp_path, {"move": f"{tmp_path}/trash/"})
    image, copy = folder.folder / "d.jpg", folder.trash / "d.jpg"
    copy.parent.mkdir()
    copy.write_bytes(b"x" * image.stat().st_size)
    os.utime(copy, ns=(image.stat().st_mtime_ns,) * 2)
    row = next(row for row in folder.checkpoint.images if row.key == "d.jpg")
    entry = Removal(
        image=row.id,
        key=row.key,
        etag=row.etag,
        size_bytes=row.size_bytes,
        kind=ActionKind.MOVE,
        target=f"{FOLDER}{copy}",
        step=step,
        copied=row.etag,
    )
    anyio.run(folder.checkpoint.commit, Batch(removals=[entry]))
    folder.checkpoint = folder.checkpoint.reopen()
    summary = folder.apply()
    assert summary is not None
    assert summary.failed == {"original_gone": 1}
    assert image.read_bytes() == b"d.jpg"
