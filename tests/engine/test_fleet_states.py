"""A fleet whose checkpoint is a state in S3: the head is lost with its machine and disk, and the workers live.

In real time, because a checkpoint file has a thread; with whole workers and a store in memory.
"""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import msgspec
import pytest

from asyncfilter import Job
from asyncfilter.clock import SystemClock
from asyncfilter.errors import TransientError
from asyncfilter.events import AnswersAdopted, Emit, Event, ImageExamined
from asyncfilter.fleet.kept import KeptAnswers
from asyncfilter.model import S3Location, Summary
from asyncfilter.state import shipping, tenure
from asyncfilter.testing import Stage
from asyncfilter.testing.fleet import MemoryHub
from asyncfilter.testing.state_store import MemoryStateStore, no_fault
from asyncfilter.wiring import owned_state
from asyncfilter.wiring.run import run
from tests.kit import jobs
from tests.kit.fleets import FleetStage

pytestmark = pytest.mark.anyio

IMAGES = 200


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> MemoryStateStore:
    """The store of all states; a head that is heard of no more is waited for less long than by users."""
    made = MemoryStateStore()

    @asynccontextmanager
    async def opened(_aws: object) -> AsyncIterator[MemoryStateStore]:
        yield made

    monkeypatch.setattr(owned_state, "open_state_store", opened)
    monkeypatch.setattr(tenure, "UNCHANGED_FOR_S", 1.0)
    return made


def make_job(folder: Path, mode: str) -> Job:
    """A job on a machine of its own."""
    folder.mkdir()
    limits = {"tps": 100, "concurrency": 50, "budget_usd": 1}
    return jobs.make_job(base_dir=folder, limits=limits, **{mode: "s3://states/jobs/"})


async def head(stage: Stage, job: Job, hub: MemoryHub, on_event: Emit) -> Summary:
    """One head with a checkpoint of its own."""
    overrides = msgspec.structs.replace(stage.overrides(), checkpoint=None, clock=SystemClock(), hub=hub)
    return await run(job, overrides=overrides, on_event=on_event)


async def _never() -> None:
    return


async def _head_that_dies(stage: Stage, job: Job, hub: MemoryHub, examined: int) -> None:
    """A head that ends once so many answers are in its file; a killed one tells nobody that it ends."""
    hub.close = _never  # type: ignore[method-assign]
    with anyio.CancelScope() as alive:

        def on_event(event: Event) -> None:
            stage.events.append(event)
            if sum(isinstance(one, ImageExamined) for one in stage.events) >= examined:
                alive.cancel()

        await head(stage, job, hub, on_event)


@pytest.mark.parametrize(("mode", "examined"), [("checkpoint", 60), ("checkpoint_copy", 30)])
async def test_head_lost_with_its_disk_and_workers_alive_repeats_nothing(
    store: MemoryStateStore, tmp_path: Path, mode: str, examined: int
) -> None:
    """What no commit had is with the workers: the next head takes it over, elsewhere, and pays for the rest."""
    assert not store.objects
    stage = Stage({f"{number:04d}.jpg": "Robin" for number in range(IMAGES)}, seed=1)
    job = make_job(tmp_path / "lost", mode)
    fleet = FleetStage(stage, job)
    async with anyio.create_task_group() as tasks:
        hub = MemoryHub(tasks)
        for _ in range(2):
            hub.start(fleet.worker())
        await _head_that_dies(stage, job, hub, examined)
        shutil.rmtree(tmp_path / "lost")
        before = sum(stage.detector.attempts.values())
        assert examined <= before < IMAGES
        summary = await head(stage, make_job(tmp_path / "next", mode), hub.again(), stage.events.append)
        tasks.cancel_scope.cancel()
    assert summary.counts.examined == IMAGES
    assert max(stage.detector.attempts.values()) == 1
    (adopted,) = [event for event in stage.events if isinstance(event, AnswersAdopted)]
    assert adopted.adopted == summary.counts.adopted > 0
    assert summary.state is not None
    assert (summary.state.behind_rows, summary.state.restored is not None) == (0, True)
    assert IMAGES * jobs.PRICE_MICROS <= summary.counts.spent_micros <= 1_000_000
    assert summary.counts.spent_micros == summary.counts.billed_calls * jobs.PRICE_MICROS


async def test_a_copy_that_s3_does_not_take_does_not_stop_the_workers(
    store: MemoryStateStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They keep answers until these are committed, up to a bound; while S3 is away the file is enough."""
    monkeypatch.setattr(shipping, "BEHIND_AFTER_S", 0.5)
    stage = Stage({f"{number:04d}.jpg": "Robin" for number in range(IMAGES)}, seed=1)
    job = make_job(tmp_path / "machine", "checkpoint_copy")
    fleet = FleetStage(stage, job)

    def fault(operation: str, _place: S3Location) -> object:
        if operation == "put":
            raise TransientError("503", may_be_billed=False)
        return None

    def on_event(event: Event) -> None:
        stage.events.append(event)
        examined = sum(isinstance(one, ImageExamined) for one in stage.events)
        if isinstance(event, ImageExamined) and examined in {1, IMAGES}:
            store.fault = fault if examined == 1 else no_fault

    async with anyio.create_task_group() as tasks:
        hub = MemoryHub(tasks)
        for _ in range(2):
            hub.start(fleet.worker(kept=KeptAnswers(most_bytes=4_000)))
        summary = await head(stage, job, hub, on_event)
        tasks.cancel_scope.cancel()
    assert summary.counts.examined == IMAGES
    assert summary.state is not None
    assert summary.state.behind_rows == 0
