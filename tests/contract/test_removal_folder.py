"""``apply`` and ``undo`` on files: moved by hard link or by copy, deleted, brought back, killed around every call."""

from __future__ import annotations

import os
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import anyio
import pytest
from rich.console import Console

from asyncfilter.clock import SystemClock
from asyncfilter.datasets.folder import FolderRemover, FolderSink, FolderSource
from asyncfilter.datasets.folder import sink as folder_sink
from asyncfilter.errors import ImageError
from asyncfilter.job import Job, parse_job
from asyncfilter.model import FOLDER, S3Location
from asyncfilter.policy.removal import Consent, RemovalSummary
from asyncfilter.ports import Condemned, Found, Gone, Remover
from asyncfilter.report.removal import draw_plan
from asyncfilter.testing import MemoryCheckpoint, ScriptedDetector
from asyncfilter.wiring import Overrides, apply, plan_apply, plan_undo, run, undo

LABELS = {"a robin.jpg": "Robin", "deep/b.jpg": "Person", "deep/c.jpg": "Person", "d.jpg": "Person"}
GOING = sorted(key for key, label in LABELS.items() if label == "Person")


class Died(BaseException):
    """The process was killed."""


class Hurried(SystemClock):
    """A hundred seconds pass in one, so that the ramp of the rate is over at once."""

    def monotonic(self) -> float:
        """See ``Clock``."""
        return 100 * super().monotonic()

    async def sleep(self, delay_s: float) -> None:
        """See ``Clock``."""
        await super().sleep(delay_s / 100)


class Mortal:
    """A remover whose process is killed before or after its n-th call."""

    def __init__(self, remover: Remover, at: int) -> None:
        self._remover = remover
        self._left = at

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._remover, name)

        async def call(*args: Any) -> Any:
            self._pass()
            answer = await method(*args)
            self._pass()
            return answer

        return call

    def _pass(self) -> None:
        self._left -= 1
        if self._left == 0:
            raise Died


class Place:
    """A folder that was examined."""

    def __init__(self, root: Path, action: Any) -> None:
        self.folder, self.trash = root / "photos", root / "trash"
        for key in LABELS:
            path = self.folder / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(key.encode())
        self.checkpoint = MemoryCheckpoint()
        self.job = self.a_job(root, action)
        self.inodes = {key: (self.folder / key).stat().st_ino for key in LABELS}
        self.run()

    def a_job(self, root: Path, action: Any) -> Job:
        """Robins stay, people go."""
        return parse_job(
            {
                "version": 1,
                "name": "cleanup",
                "source": str(self.folder),
                "rules": [{"keep": {"any": "Robin"}}],
                "otherwise": "reject",
                "actions": {"reject": action},
            },
            base_dir=root,
        )

    def run(self) -> Any:
        """``asyncfilter run``."""
        detector = ScriptedDetector({key: [(label, 90.0)] for key, label in LABELS.items()})
        source, sink = FolderSource(self.folder), FolderSink(self.folder)
        overrides = Overrides(source=source, detector=detector, sink=sink, checkpoint=self.checkpoint, clock=Hurried())
        try:
            return anyio.run(lambda: run(self.job, overrides=overrides))
        finally:
            self.checkpoint = self.checkpoint.reopen()

    def apply(self, at: int = 0) -> RemovalSummary | None:
        """``asyncfilter apply``; None when it was killed."""
        return self._live(plan_apply, apply, at)

    def undo(self, at: int = 0) -> RemovalSummary | None:
        """``asyncfilter undo``; None when it was killed."""
        return self._live(plan_undo, undo, at)

    def _live(self, plan: Any, verb: Any, at: int) -> RemovalSummary | None:
        async def live() -> RemovalSummary | None:
            mortal: Any = Mortal(FolderRemover(self.folder), at)
            images = (await plan(self.job, overrides=self._overrides(FolderRemover(self.folder)))).images
            summary = None
            try:
                summary = await verb(self.job, Consent(images=images, max_share=1.0), overrides=self._overrides(mortal))
            except* Died:
                pass
            return summary

        try:
            return anyio.run(live)
        finally:
            self.checkpoint = self.checkpoint.reopen()

    def _overrides(self, remover: Remover) -> Overrides:
        self.checkpoint = self.checkpoint.reopen()
        return Overrides(remover=remover, checkpoint=self.checkpoint)

    def files(self, root: Path | None = None) -> dict[str, bytes]:
        """What lies in a folder."""
        root = root or self.folder
        return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("can_link", [True, False])
def test_killed_around_every_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, can_link: bool) -> None:
    """No file is lost and nothing of it lies about, there and back, with hard links and without."""
    if not can_link:
        monkeypatch.setattr(folder_sink, "_link", _no_links)
    for at in count(1):
        place = Place(tmp_path / str(at), {"move": f"{tmp_path / str(at)}/trash/"})
        is_dead = place.apply(at) is None
        assert {*place.files(), *place.files(place.trash)} == set(LABELS)
        if is_dead:
            place.apply()
        assert sorted(place.files(place.trash)) == GOING
        assert place.files() == {"a robin.jpg": b"a robin.jpg"}
        if place.undo(at) is None:
            assert {*place.files(), *place.files(place.trash)} == set(LABELS)
            place.undo()
        assert place.files() == {key: key.encode() for key in LABELS}
        assert place.files(place.trash) == {}
        if can_link:
            assert {key: (place.folder / key).stat().st_ino for key in LABELS} == place.inodes
        assert place.run().this_run.calls == 0  # also for what came back as another file
        if not is_dead:
            assert at > 10
            break


def _no_links(effect: Any, part: Path) -> None:
    raise folder_sink.UnlinkableError(f"{effect.source.uri}: another file system")


def test_deleted_files_are_gone_and_changed_ones_stay(tmp_path: Path) -> None:
    """The time and inode that were examined are the condition; undo says that it cannot."""
    place = Place(tmp_path, "delete")
    (place.folder / GOING[0]).write_bytes(b"newer")
    summary = place.apply()
    assert summary is not None
    assert (summary.deleted, summary.failed) == (2, {"changed": 1})
    assert place.files() == {"a robin.jpg": b"a robin.jpg", GOING[0]: b"newer"}
    plan = anyio.run(lambda: plan_undo(place.job, overrides=place._overrides(FolderRemover(place.folder))))
    assert (plan.images, sum(group.images for group in plan.lost)) == (0, 2)


def test_the_plan_speaks_of_files(tmp_path: Path) -> None:
    """A folder is no bucket, and deleting there is for ever."""
    place = Place(tmp_path, "delete")
    plan = anyio.run(lambda: plan_apply(place.job, overrides=place._overrides(FolderRemover(place.folder))))
    console = Console(width=200)
    with console.capture() as captured:
        console.print(draw_plan(plan, 0.5))
    assert "deleted images are gone for ever, and undo cannot bring them back" in captured.get()
    assert "bucket" not in captured.get()


def test_undo_never_overwrites_a_file(tmp_path: Path) -> None:
    """What lies in a file's place now stays, and the file stays in the trash."""
    place = Place(tmp_path, {"move": f"{tmp_path}/trash/"})
    place.apply()
    (place.folder / GOING[0]).write_bytes(b"newer")
    summary = place.undo()
    assert summary is not None
    assert (summary.restored, summary.failed) == (2, {"source_exists": 1})
    assert place.files()[GOING[0]] == b"newer"
    assert place.files(place.trash) == {GOING[0]: GOING[0].encode()}


def test_a_move_never_overwrites_in_the_trash(tmp_path: Path) -> None:
    """Another file of that name in the trash keeps the image where it is."""
    place = Place(tmp_path, {"move": f"{tmp_path}/trash/"})
    place.trash.mkdir()
    (place.trash / "d.jpg").write_bytes(b"older")
    summary = place.apply()
    assert summary is not None
    assert (summary.moved, summary.failed) == (2, {"target_exists": 1})
    assert place.files(place.trash)["d.jpg"] == b"older"
    assert place.files()["d.jpg"] == b"d.jpg"


@pytest.mark.parametrize("way", ["copy", "link"])
def test_stale_files_go_while_their_images_stand(tmp_path: Path, way: str) -> None:
    """Copies and hard links that the rules no longer make are deleted; the last of its bytes and others' files stay."""
    place = Place(tmp_path, {way: f"{tmp_path}/trash/"})
    (place.folder / GOING[0]).unlink()
    (place.trash / GOING[1]).unlink()
    (place.trash / GOING[1]).write_bytes(b"somebody's own")
    before = place.files()
    place.job = place.a_job(tmp_path, "none")
    place.run()
    summary = place._live(partial(plan_apply, stale=True), partial(apply, stale=True), 0)
    assert summary is not None
    assert (summary.cleared, summary.failed) == (1, {"original_gone": 1, "target_exists": 1})
    assert place.files(place.trash) == {GOING[0]: GOING[0].encode(), GOING[1]: b"somebody's own"}
    assert place.files() == before


def test_the_remover_itself(tmp_path: Path) -> None:
    """Nothing, a folder and a file that is not the one examined; each delete's own outcome."""
    (tmp_path / "folder").mkdir()
    for name in ("a", "b", "c"):
        (tmp_path / name).write_bytes(name.encode())
    remover, bucket = FolderRemover(tmp_path), f"{FOLDER}{tmp_path}"

    def look(name: str) -> Found | None:
        return anyio.run(remover.look, S3Location(bucket, name))

    assert (look("none"), look("folder")) == (None, None)
    found = {name: look(name) for name in ("a", "b", "c")}
    assert anyio.run(remover.look, S3Location(FOLDER, f"{tmp_path}/a".removeprefix("/"))) == found["a"]
    os.utime(tmp_path / "b", ns=(1, 1))
    (tmp_path / "c").unlink()
    wanted = [Condemned(key=name, etag=one.etag, size_bytes=1) for name, one in found.items() if one is not None]
    results = anyio.run(remover.delete, bucket, wanted)
    assert results[0] == Gone()
    assert [result.code for result in results if isinstance(result, ImageError)] == ["changed", "vanished"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "folder"]
