"""A thousand workers that join one head, over the transport in memory: head and workers share this process.

No Ray and no service: what is measured is the head's own part in greeting, hearing and asking workers, and theirs.
``python -m benchmarks.workloads.workers WORKERS IMAGES`` measures in this process and prints JSON.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import anyio

from asyncfilter.clock import SystemClock
from asyncfilter.errors import NotSentError
from asyncfilter.events import Event, WorkerLost
from asyncfilter.fleet.asks import Terms
from asyncfilter.fleet.crew import Crew
from asyncfilter.fleet.examiner import ExaminerPorts
from asyncfilter.fleet.ports import FleetDetector, LossCounts
from asyncfilter.fleet.transit import fleet_clock
from asyncfilter.interpreter import spare_collections
from asyncfilter.model import Detection, Label, ObjectRef
from asyncfilter.testing.fleet import FINGERPRINT, VERSION, MemoryHub, MemoryWorker
from benchmarks.bench import Bench

AT_ONCE = 16
"""Images under way: few, since head and workers share one event loop, in which a turn must not wait for 50 ms."""

ASKED_S = 60.0
"""The longest time for all images."""

IDLE_S = 5.0
"""How long nothing is asked: every end tells twice a second that it lives."""

_MOST_S = 600.0
_PAUSE_S = 0.02
_ANSWER = Detection((Label("Robin", 99.0),), "3.0")


class Instant:
    """A detector that answers at once."""

    async def detect(self, image: ObjectRef) -> Detection:  # noqa: ARG002  the protocol's
        """See ``Detector``."""
        return _ANSWER


async def joined(workers: int, images: int) -> dict[str, float | None]:
    """Let workers join, hear them for some seconds, then examine images."""
    spare_collections()
    clock, events = SystemClock(), list[Event]()
    terms = Terms(version=VERSION, fingerprint=FINGERPRINT, epoch=1, attempt_s=30.0)
    async with anyio.create_task_group() as tasks:
        hub = MemoryHub(tasks)
        crew = Crew(hub, terms, engine="memory", emit=events.append, clock=clock, now=fleet_clock)
        tasks.start_soon(crew.run)
        began_s, began_cpu_s = time.perf_counter(), time.process_time()
        for number in range(workers):
            hub.start(MemoryWorker(f"w{number}", ExaminerPorts(detector=Instant()), clock=clock))
        await crew.gather(workers, wait_s=_MOST_S, settle_s=_MOST_S)
        wall_s, cpu_s = time.perf_counter() - began_s, time.process_time() - began_cpu_s
        idle_cpu_s = time.process_time()
        await anyio.sleep(IDLE_S)
        idle_cpu_s = time.process_time() - idle_cpu_s
        asked_cpu_s = time.process_time()
        examined = await _examine(FleetDetector(crew, LossCounts()), images)
        asked_cpu_s = time.process_time() - asked_cpu_s
        await hub.close()
        tasks.cancel_scope.cancel()
    return {
        "workers": workers,
        "joined_wall_s": round(wall_s, 2),
        "joined_cpu_s": round(cpu_s, 2),
        "lost": sum(isinstance(event, WorkerLost) for event in events),
        "idle_core_pct": round(idle_cpu_s * 100 / IDLE_S, 1),
        "images": examined,
        "cpu_us_an_image": round(asked_cpu_s * 1e6 / examined) if examined else None,
        "returned_turns": crew.statistics().returned_turns,
    }


async def _examine(detector: FleetDetector, images: int) -> int:
    """Ask for the labels of some images; how many there were in time."""
    left, examined = iter(range(1, images + 1)), 0

    async def ask() -> None:
        nonlocal examined
        for seq in left:
            image = ObjectRef(bucket="b", key=f"{seq}.jpg", size_bytes=1000, etag="e", seq=seq)
            while True:
                try:
                    await detector.detect(image)
                    break
                except NotSentError:  # no room, or a turn that was late: repeated, as in a run
                    await anyio.sleep(_PAUSE_S)
            examined += 1

    with anyio.move_on_after(ASKED_S):
        async with anyio.create_task_group() as tasks:
            for _ in range(AT_ONCE):
                tasks.start_soon(ask)
    return examined


def measure(bench: Bench) -> dict[str, Any]:
    """Time and processor time of joining, of hearing, and of an image."""
    measured: dict[str, Any] = bench.module(__name__, bench.sizes.fleet_workers, bench.sizes.fleet_images)
    return measured


if __name__ == "__main__":
    print(json.dumps(anyio.run(joined, int(sys.argv[1]), int(sys.argv[2]))))
