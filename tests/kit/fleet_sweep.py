"""Fleets whose workers are killed, frozen, cut off and slowed down at random, in virtual time: ``sweep fleets``.

A run with a fleet in memory is compared with one process: answer, stop, calls made twice, and money.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import anyio

from asyncfilter import Job
from asyncfilter.events import WorkerLost
from asyncfilter.model import ObjectRef, StopReason, Summary
from asyncfilter.ports import Prepared
from asyncfilter.testing import BROKEN, Stage
from asyncfilter.testing.fleet import MemoryHub, MemoryWorker
from tests.kit import jobs
from tests.kit.fleets import FleetStage
from tests.kit.sweep import Sweep

IMAGES = 400
BUDGET_USD = 0.2
STOPS: Mapping[str, dict[str, Any]] = {
    "none": {},
    "matches": {"stop": {"matches": 20}},
    "misses_in_a_row": {"stop": {"misses_in_a_row": 3}},
    "errors": {"stop": {"errors": {"rate": 0.1, "window": 30}}},
    "max_images": {"limits": {"max_images": 150}},
    "budget": {"limits": {"budget_usd": BUDGET_USD}},
}
_NAMES = ("Robin", "Cat", "Cat", "Wing", "Cat", BROKEN)
_RATES = (50.0, 200.0, 800.0)


class _Preparation:
    """Prepares images in a tenth of a second."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    async def prepare(self, image: ObjectRef) -> Prepared:
        await anyio.sleep(0.1)
        return Prepared(detector=self._stage.detector, held_bytes=1_000_000)


def _job(name: str, tps: float) -> Job:
    given = STOPS[name]
    return jobs.make_job(
        rules=[{"keep": {"any": "Robin"}}, {"review": {"any": "Wing"}}],
        stop=given.get("stop", {}),
        limits={"tps": tps, "concurrency": IMAGES, **given.get("limits", {})},
    )


# -- Trouble -----------------------------------------------------------------------------------------------------------

Trouble = Callable[[random.Random, FleetStage, MemoryHub, MemoryWorker], Awaitable[None]]


async def _kill(rng: random.Random, _fleet: FleetStage, hub: MemoryHub, worker: MemoryWorker) -> None:
    if not worker.is_dead:
        worker.kill()
        await anyio.sleep(rng.choice([0.0, 0.001, 0.3, 2.0]))
        hub.restart(worker)


async def _kill_all(rng: random.Random, fleet: FleetStage, hub: MemoryHub, _worker: MemoryWorker) -> None:
    dead = [worker for worker in fleet.workers if not worker.is_dead]
    for worker in dead:
        worker.kill()
    await anyio.sleep(rng.choice([0.0, 1.0]))
    for worker in dead:
        hub.restart(worker)


async def _freeze(rng: random.Random, _fleet: FleetStage, _hub: MemoryHub, worker: MemoryWorker) -> None:
    worker.freeze(rng.choice([rng.uniform(0.01, 2.0), rng.uniform(4.0, 9.0)]))


async def _cut(rng: random.Random, _fleet: FleetStage, _hub: MemoryHub, worker: MemoryWorker) -> None:
    worker.is_cut = True
    await anyio.sleep(rng.choice([rng.uniform(0.0, 3.0), rng.uniform(4.0, 9.0)]))
    worker.is_cut = False


async def _slow(rng: random.Random, _fleet: FleetStage, _hub: MemoryHub, worker: MemoryWorker) -> None:
    worker.latency_s = rng.choice([0.0005, 0.002, 0.004])


async def _mute(rng: random.Random, fleet: FleetStage, _hub: MemoryHub, worker: MemoryWorker) -> None:
    if len(fleet.workers) > 1:
        worker.is_mute = True
        await anyio.sleep(rng.uniform(0.0, 30.0))
        worker.is_mute = False


async def _leave(_rng: random.Random, fleet: FleetStage, hub: MemoryHub, worker: MemoryWorker) -> None:
    if worker.examiner is not None and not worker.is_dead:
        worker.examiner.leave("spot")
        hub.start(fleet.worker())


TROUBLES: tuple[Trouble, ...] = (_kill, _kill, _kill_all, _freeze, _cut, _slow, _mute, _leave)


# -- Runs --------------------------------------------------------------------------------------------------------------


def _compare(sweep: Sweep, seed: int) -> None:
    rng = random.Random(seed)
    name, fault_rate = rng.choice(list(STOPS)), rng.choice([0.0, 0.0, 0.05])
    labels = {f"{index:05d}.jpg": _NAMES[index % len(_NAMES)] for index in range(IMAGES)}
    alone = Stage(labels, seed=seed, fault_rate=fault_rate)
    expected = alone.run(_job(name, 2_000))
    stage = Stage(labels, seed=seed, fault_rate=fault_rate)
    if rng.random() < 0.5:
        stage.preparation = _Preparation(stage)
    fleet = FleetStage(
        stage, _job(name, rng.choice(_RATES)), workers=rng.choice([1, 2, 3, 5]), cpus=4, preparation=stage.preparation
    )

    async def script(fleet: FleetStage, hub: MemoryHub) -> None:
        for _ in range(rng.randrange(1, 7)):
            await anyio.sleep(rng.uniform(0.0, 1.5))
            sweep.counts["troubles"] += 1
            await rng.choice(TROUBLES)(rng, fleet, hub, rng.choice(fleet.workers))

    _check(sweep, f"seed {seed}, {name}: ", fleet, fleet.run(script), alone, expected, has_faults=fault_rate > 0)
    sweep.counts[name] += 1


def _check(
    sweep: Sweep,
    what: str,
    fleet: FleetStage,
    summary: Summary,
    alone: Stage,
    expected: Summary,
    *,
    has_faults: bool,
) -> None:
    mine, other = fleet.stage.verdicts(), alone.verdicts()
    if expected.stop_reason is StopReason.BUDGET:  # what was counted twice is paid from the same budget
        sweep.check(mine.items() <= other.items(), what + "other answers")
        sweep.check(summary.counts.spent_micros <= BUDGET_USD * 1_000_000, what + "above the budget")
    else:
        sweep.check((mine, fleet.stage.copied()) == (other, alone.copied()), what + "another answer")
        sweep.check(summary.stop_reason is expected.stop_reason, f"{what}stopped by {summary.stop_reason}")
    if not has_faults:
        repeated = sum(times - 1 for times in fleet.stage.detector.attempts.values())
        lost = sum(event.asks for event in fleet.said(WorkerLost))
        sweep.counts["calls repeated"] += repeated
        sweep.check(repeated <= lost, f"{what}{repeated} calls repeated, {lost} asks lost")


def sweep_fleets(_folder: Path, *, moments: int, seed: int) -> Sweep:
    """``moments`` runs."""
    sweep = Sweep()
    for number in range(moments):
        _compare(sweep, seed + number)
        sweep.over(f"run {number}")
    return sweep
