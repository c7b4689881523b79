"""A checkpoint of an earlier version works like a present one: it resumes, refilters, applies and undoes.

``tests/data/former_checkpoints`` has one file for every case below, written by this module at the commit that the
README there names. Each test performs the same operations on such a file and on one that the present code writes, and
compares the results. As a program, the module writes such files:
``python tests/contract/test_former_checkpoints.py FOLDER``. It had to run at that commit, so it has clock, crash and
job of its own in place of those of ``tests/kit``.
"""

from __future__ import annotations

import gzip
import json
import sqlite3
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from asyncfilter import Job, parse_job
from asyncfilter.checkpoint import read_images, read_status
from asyncfilter.checkpoint.schema import STEPS
from asyncfilter.clock import SystemClock
from asyncfilter.errors import ImageError
from asyncfilter.model import Box, Detection, Instance, Label, ObjectRef, S3Location, StopReason
from asyncfilter.policy.removal_plan import Consent
from asyncfilter.records.images import StoredImage
from asyncfilter.records.removal import Step, Versioning
from asyncfilter.testing import MemoryReferences, MemoryStore
from asyncfilter.wiring import Overrides, plan_apply, plan_undo, undo
from asyncfilter.wiring.apply import apply
from asyncfilter.wiring.refilter import refilter
from asyncfilter.wiring.run import run

DATA = Path(__file__).parents[1] / "data" / "former_checkpoints"

SAME_AS = {9: 3, 16: 4, 30: 3, 41: 2}
"""The number of an image, and of the earlier image with the same content."""

UNREADABLE = {7, 25}
NAMES = ("Robin", "Person", "Cat")
KEYS = [f"birds/{number:02d}.jpg" for number in range(48)]
ROBINS = "s3://refs/robin.jpg"
BUCKETS = ("raw", "clean", "bin")


def content_of(key: str) -> int:
    """The number of the first image with the same content."""
    number = KEYS.index(key)
    return SAME_AS.get(number, number)


def body_of(key: str) -> bytes:
    """The bytes of an image, which determine its ETag."""
    return f"image {content_of(key):02d}".encode()


def detection_of(key: str) -> Detection:
    """Labels with all that a detection can have: boxes, parents, aliases, categories, and unmodelled members."""
    number = content_of(key)
    box = Box(0.1 + number / 100, 0.25, 0.5, 0.125)
    boxes = tuple(Instance(box, 50.0 + number / 2) for _ in range(number % 4))
    shown = Label(NAMES[number % 3], 99.0 - number / 3, boxes, ("Animal",), ("Redbreast",), ("Animals and Pets",))
    return Detection((shown, Label("Outdoors", 51.5)), "3.0", b'{"ImageProperties":{}}' if number % 5 == 0 else b"")


class FastClock(SystemClock):
    """A clock a hundred times as fast, so that the ramp of the rate takes little real time."""

    def monotonic(self) -> float:
        """See ``Clock``."""
        return 100 * super().monotonic()

    async def sleep(self, delay_s: float) -> None:
        """See ``Clock``."""
        await super().sleep(delay_s / 100)


class CountingDetector:
    """Answers by content and counts calls; one image can be delayed for ever, or all of them until all were asked.

    Args:
        late: The image that is never answered.
        together: The number of calls that are all in flight before the first is answered.
    """

    def __init__(self, late: str = "", together: int = 0) -> None:
        self.calls: Counter[str] = Counter()
        self._late = late
        self._together = together
        self._all_asked = anyio.Event()

    async def detect(self, image: ObjectRef) -> Detection:
        """See ``Detector``."""
        self.calls[image.key] += 1
        if image.key == self._late:
            await anyio.sleep_forever()
        if self.calls.total() >= self._together:
            self._all_asked.set()
        await self._all_asked.wait()
        await anyio.lowlevel.checkpoint()
        if content_of(image.key) in UNREADABLE:
            raise ImageError("Request has invalid image format", code="invalid_image_format")
        return detection_of(image.key)


class Crash(BaseException):
    """The process was killed."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One state in which a checkpoint can be left, and the changes of its job."""

    prepare: Callable[[Workspace], Awaitable[None]]
    changes: Mapping[str, Any] = field(default_factory=dict)
    versioning: Versioning = Versioning.ON


class Workspace:
    """A store in memory and a checkpoint file, on which processes run one after another."""

    def __init__(self, path: Path, case: Case) -> None:
        self.path = path
        self.case = case
        self.store = MemoryStore("raw", versioning=case.versioning, page_objects=12)
        self.detector = CountingDetector()
        self.references = MemoryReferences({ROBINS: detection_of(KEYS[0])})
        for key in KEYS:
            self.store.put(key, body_of(key))
        self.store.put("birds/06.jpg", b"another image", "clean")

    def job(self, **changes: Any) -> Job:
        """A job that copies robins, tags cats, moves the rest out, and deletes duplicates."""
        document: dict[str, Any] = {
            "version": 1,
            "name": "former",
            "source": "s3://raw/",
            "detector": {"min_confidence": 40},
            "rules": [{"keep": {"any": "Robin", "confidence": 60}}, {"review": {"any": "Cat"}}],
            "otherwise": "reject",
            "actions": {
                "keep": {"copy": "s3://clean/{key}", "if_exists": "fail"},
                "review": {"tag": {"looked": "at"}},
                "reject": {"move": "s3://bin/gone/{key}"},
                "duplicate": "delete",
            },
            "limits": {"tps": 5000, "concurrency": 8, "budget_usd": 1},
            "pricing": {"tiers": [{"up_to": None, "usd": 0.001}]},
            "checkpoint": str(self.path),
        }
        return parse_job(document | dict(self.case.changes) | changes, base_dir=self.path.parent)

    def overrides(self) -> Overrides:
        """All ports but the checkpoint, which is the job's file."""
        return Overrides(
            source=self.store,
            detector=self.detector,
            sink=self.store,
            remover=self.store,
            references=self.references,
            clock=FastClock(),
        )

    async def call(
        self, verb: Callable[..., Awaitable[Any]], *arguments: Any, retry_failed: bool = False, **changes: Any
    ) -> dict[str, Any]:
        """Run a command as one process; its result without the values in ``VARYING``."""
        options = {"retry_failed": True} if retry_failed else {}
        result: dict[str, Any] = comparable(
            msgspec.to_builtins(await verb(self.job(**changes), *arguments, overrides=self.overrides(), **options))
        )
        return result

    async def remove(
        self, plan: Callable[..., Awaitable[Any]], verb: Callable[..., Awaitable[Any]], **changes: Any
    ) -> Any:
        """``apply`` or ``undo`` of all that is planned; the plan and the summary."""
        planned = await self.call(plan, **changes)
        return planned, await self.call(verb, Consent(images=planned["images"], max_share=1.0), **changes)

    def rows(self) -> list[StoredImage]:
        """The rows of the file."""
        return list(read_images(self.path))

    def progress(self) -> tuple[int, int, int, int]:
        """Numbers of placed images, settled images, effects, and objects of the stored listing."""
        if not self.path.exists():
            return 0, 0, 0, 0
        status = read_status(self.path)
        return status.positioned, status.watermark.seq, status.effects, status.listed

    def spent_micros(self) -> int:
        """The amount paid, plus the amount that a killed process had reserved."""
        totals = read_status(self.path).totals
        return totals.spent_micros + totals.reserved_micros

    def entries(self, step: Step) -> int:
        """The number of entries of the journal at a step."""
        with closing(sqlite3.connect(self.path)) as db:
            return int(db.execute("SELECT count(*) FROM removal WHERE step = ?", (STEPS[step],)).fetchone()[0])

    def state(self) -> Any:
        """All that must not depend on the version that wrote the file."""
        rows, status = self.rows(), read_status(self.path)
        keys = {row.id: row.key for row in rows}
        images = [
            (
                row.seq,
                row.key,
                row.decision,
                row.failure and row.failure.code,
                row.detection,
                keys.get(row.same_as or 0),
                sorted((effect.kind.value, effect.target) for effect in row.effects),
            )
            for row in rows
        ]
        return {
            "images": sorted(images, key=lambda image: (image[0] is None, image[0] or 0, image[1])),
            "objects": {bucket: self.objects(bucket) for bucket in BUCKETS},
            "tags": {object_.uri: tags for object_, tags in self.store.tags.items()},
            "tally": msgspec.to_builtins(status.watermark.tally),
            "totals": comparable(msgspec.to_builtins(status.totals)),
            "decided_by": status.decided_by,
            "calls": self.detector.calls,
            "references": self.references.attempts,
        }

    def objects(self, bucket: str) -> dict[str, bytes | None]:
        """Contents of a bucket by key."""
        return {key: self.store.body(key, bucket) for key in self.store.keys(bucket)}

    # -- Files ---------------------------------------------------------------------------------------------------------

    def save(self, folder: Path, name: str) -> None:
        """Save the checkpoint, and the changes that turn a new store with ``KEYS`` into this one."""
        (folder / f"{name}.db.gz").write_bytes(gzip.compress(self.path.read_bytes(), mtime=0))
        outside = {
            "deleted": [object_.key for object_, _ in self.store.deleted if object_.bucket == "raw"],
            "copies": [[source.key, target.bucket, target.key] for source, target in self.store.copies],
            "tags": {object_.key: tags for object_, tags in self.store.tags.items()},
        }
        (folder / f"{name}.json").write_text(json.dumps(outside, indent=1) + "\n")

    def restore(self, folder: Path, name: str) -> None:
        """Restore the checkpoint and the store from ``save``."""
        self.path.write_bytes(gzip.decompress((folder / f"{name}.db.gz").read_bytes()))
        outside = json.loads((folder / f"{name}.json").read_text())
        for source, bucket, key in outside["copies"]:
            self.store.put(key, body_of(source), bucket)
        for key in outside["deleted"]:
            self.store.remove(key)  # in the same order, so that delete markers have the same version ids
        self.store.tags = {S3Location("raw", key): dict(tags) for key, tags in outside["tags"].items()}


VARYING = {"run_id", "checkpoint", "wall_s", "tps_mean", "tps_limit", "spent_micros", "billed_calls", "epoch"}
"""Values that depend on time or location, among them the reservation of a killed run, which counts as spent.

The epoch counts openings; those of a former file were not counted.
"""


def comparable(result: Any) -> Any:
    """The part of a result that is equal for two equal runs."""
    if isinstance(result, dict):
        return {name: comparable(value) for name, value in result.items() if name not in VARYING}
    return result


# -- How checkpoints are left ------------------------------------------------------------------------------------------


def prepare_interrupted(
    *, positioned: int = 0, settled: int = 0, effects: int = 0, listed: int = 0, page: str | None = None
) -> Callable[[Workspace], Awaitable[None]]:
    """Kill a run that can make no more progress: one image, and the listing after ``page``, are never answered."""

    async def prepare(workspace: Workspace) -> None:
        workspace.detector = CountingDetector(late=KEYS[20])
        workspace.store.point = stop_at
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(workspace.call, run)
            for _ in range(1200):
                if workspace.progress() == (positioned, settled, effects, listed):
                    break
                await anyio.sleep(0.05)
            else:
                raise AssertionError(f"the run did not reach exactly this progress: {workspace.progress()}")
            tasks.cancel_scope.cancel()

    async def stop_at(what: str) -> None:
        await anyio.lowlevel.checkpoint()
        if what == f"list {page}":
            await anyio.sleep_forever()

    return prepare


async def prepare_finished(workspace: Workspace) -> None:
    """Finish a run whose stop rule held at an image while all following images were in flight."""
    calls = len(KEYS) - len(SAME_AS)
    workspace.detector = CountingDetector(together=calls)
    result = await workspace.call(run, limits={"tps": 5000, "concurrency": calls, "budget_usd": 1})
    assert result["stop_reason"] == StopReason.MATCHES


async def prepare_applied(workspace: Workspace) -> None:
    """Remove all pending images from the source."""
    await workspace.call(run)
    await workspace.remove(plan_apply, apply)


def prepare_killed(crash_point: str) -> Callable[[Workspace], Awaitable[None]]:
    """Kill ``apply`` at a crash point."""

    async def prepare(workspace: Workspace) -> None:
        await workspace.call(run)

        async def crash_at(what: str) -> None:
            await anyio.lowlevel.checkpoint()
            if what == crash_point:
                raise Crash

        workspace.store.point = crash_at
        was_killed = False
        try:
            await workspace.remove(plan_apply, apply)
        except* Crash:
            was_killed = True
        assert was_killed, f"there is no such crash point: {crash_point}"

    return prepare


SHUFFLED = {
    "source": {"uri": "s3://raw/", "order": "random", "seed": 7},
    "rules": [{"keep": {"like": ROBINS, "confidence": 60}}, {"review": {"any": "Cat"}}],
}

CASES = {
    "interrupted": Case(prepare=prepare_interrupted(positioned=35, settled=20, effects=11, page=KEYS[35])),
    "shuffled": Case(prepare=prepare_interrupted(positioned=47, settled=19, effects=13, listed=48), changes=SHUFFLED),
    "shuffled-listing": Case(prepare=prepare_interrupted(listed=36, page=KEYS[35]), changes=SHUFFLED),
    "finished": Case(prepare=prepare_finished, changes={"stop": {"matches": 8}}),
    "killed-copying": Case(prepare=prepare_killed("copied birds/13.jpg")),
    "killed-verifying": Case(prepare=prepare_killed("head gone/birds/13.jpg"), versioning=Versioning.OFF),
    "killed-deleting": Case(prepare=prepare_killed("deleted birds/13.jpg")),
    "applied": Case(prepare=prepare_applied),
    "applied-unversioned": Case(prepare=prepare_applied, versioning=Versioning.OFF),
}


# -- What can be done with them ----------------------------------------------------------------------------------------


async def resume(workspace: Workspace) -> Any:
    """Run to the end of the listing."""
    return await workspace.call(run, stop={})


async def refilter_changed(workspace: Workspace) -> Any:
    """Refilter by other rules, which need boxes too, to other targets."""
    return await workspace.call(refilter, **CHANGED)


async def remove_and_return(workspace: Workspace) -> Any:
    """Remove all pending images, then restore all that can be."""
    return await workspace.remove(plan_apply, apply), await workspace.remove(plan_undo, undo)


async def return_first(workspace: Workspace) -> Any:
    """Restore the removed images, then continue the run."""
    return await workspace.remove(plan_undo, undo), await workspace.call(run)


async def everything(workspace: Workspace) -> Any:
    """All commands one after another, as over the weeks of a job."""
    return [
        await resume(workspace),
        await workspace.remove(plan_apply, apply, stop={}),
        await refilter_changed(workspace),
        await workspace.remove(plan_undo, undo),
        await workspace.call(run, **CHANGED, retry_failed=True),
        await workspace.remove(
            partial(plan_apply, stale=True, allow_places=FORMER),
            partial(apply, stale=True, allow_places=FORMER),
            **CHANGED,
        ),
    ]


FORMER = ("s3://clean/birds/",)
"""Where the job copied to before its actions were changed."""

CHANGED: dict[str, Any] = {
    "rules": [{"reject": {"count": {"label": "Robin", "min": 2}}}, {"keep": {"any": ["Robin", "Redbreast", "Person"]}}],
    "otherwise": "review",
    "actions": {"keep": {"copy": "s3://clean/again/{key}"}, "review": {"tag": {"looked": "twice"}}, "reject": "delete"},
    "stop": {},
}

VERBS = [resume, refilter_changed, remove_and_return, return_first, everything]


async def outcome(workspace: Workspace, verb: Callable[[Workspace], Awaitable[Any]]) -> Any:
    """The result and the final state of a verb whose processes are not killed."""
    workspace.store.point = lambda _what: anyio.lowlevel.checkpoint()
    workspace.detector = CountingDetector()
    workspace.references.attempts.clear()
    spent_micros = workspace.spent_micros()
    result = await verb(workspace)
    return {"result": result, "spent_micros": workspace.spent_micros() - spent_micros} | workspace.state()


def unexamined(rows: Sequence[StoredImage]) -> set[int]:
    """Contents for which no row has labels or a failure."""
    paid = {content_of(row.key) for row in rows if row.detection is not None}
    return {content_of(key) for key in KEYS} - paid - {content_of(row.key) for row in rows if row.failure is not None}


@pytest.fixture(scope="module")
def files_of_today(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the present code writes in every case."""
    folder = tmp_path_factory.mktemp("today")
    anyio.run(main, folder)
    return folder


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("name", CASES)
async def test_a_former_file_is_as_good_as_one_of_today(
    name: str, verb: Callable[[Workspace], Awaitable[Any]], files_of_today: Path, tmp_path: Path
) -> None:
    """Every verb gives the same result, payment and final state on both files."""
    former, today = (Workspace(tmp_path / f"{age}.db", CASES[name]) for age in ("former", "today"))
    former.restore(DATA, name)
    today.restore(files_of_today, name)
    former_billed = read_status(today.path).totals.month_use.calls
    then, now = await outcome(former, verb), await outcome(today, verb)
    month_then, month_now = (found["totals"].pop("month_use") for found in (then, now))
    assert then == now
    # A former file does not say in which month its calls were billed, so they lower no price.
    assert month_then["calls"] == month_now["calls"] - former_billed


@pytest.mark.parametrize("name", CASES)
async def test_no_image_is_paid_for_twice(name: str, tmp_path: Path) -> None:
    """Contents with labels in the file are not sent again; all others are, once."""
    workspace = Workspace(tmp_path / "former.db", CASES[name])
    workspace.restore(DATA, name)
    wanted = unexamined(workspace.rows())
    await resume(workspace)
    assert Counter(content_of(key) for key in workspace.detector.calls.elements()) == Counter(wanted)
    assert workspace.references.attempts == {}


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.versioning is Versioning.ON])
async def test_what_was_taken_out_comes_back(name: str, tmp_path: Path) -> None:
    """Images removed by the former version or by this one are restored."""
    workspace = Workspace(tmp_path / "former.db", CASES[name])
    every = workspace.objects("raw")
    workspace.restore(DATA, name)
    await workspace.remove(plan_apply, apply)
    await workspace.remove(plan_undo, undo)
    assert (workspace.objects("raw"), workspace.objects("bin")) == (every, {})


def test_the_files_cover_what_a_checkpoint_can_hold(tmp_path: Path) -> None:
    """The files hold cached rows, failures, all effects, a stored listing and removals at every step of ``apply``."""
    steps: set[Step] = set()
    held: set[str] = set()
    for name, case in CASES.items():
        workspace = Workspace(tmp_path / f"{name}.db", case)
        workspace.restore(DATA, name)
        rows, status = workspace.rows(), read_status(workspace.path)
        steps |= {step for step in Step if workspace.entries(step)}
        held |= {effect.kind.value for row in rows for effect in row.effects}
        held |= {what for what in ("pending", "cached", "listed") if getattr(status, what)}
        held |= {row.failure.code for row in rows if row.failure is not None}
        held |= {"reserved"} if status.totals.reserved_calls else set()
    assert steps == {Step.STARTED, Step.COPIED, Step.VERIFIED, Step.DELETED}
    assert held == {
        *("copy", "tag", "move", "delete", "pending", "cached", "listed", "reserved"),
        *("invalid_image_format", "target_exists"),
    }


async def main(folder: Path) -> None:
    """Write a file for every case."""
    for name, case in CASES.items():
        path = folder / f"{name}.db"
        workspace = Workspace(path, case)
        await case.prepare(workspace)
        workspace.save(folder, name)
        path.unlink()


if __name__ == "__main__":
    anyio.run(main, Path(sys.argv[1]).resolve())
