"""How long it takes until many workers have joined one head, and what the head costs while they are idle.

Head and workers are in one process, over the transport in memory, in real time: the times and the processor time are
those of both ends together, without Ray.

``python -m benchmarks.workloads.workers WORKERS`` measures and prints JSON.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import anyio

from asyncfilter.clock import SystemClock
from asyncfilter.fleet.asks import Terms
from asyncfilter.fleet.crew import Crew
from asyncfilter.fleet.examiner import ExaminerPorts
from asyncfilter.fleet.transit import fleet_clock
from asyncfilter.testing import ScriptedDetector
from asyncfilter.testing.fleet import FINGERPRINT, VERSION, MemoryHub, MemoryWorker
from benchmarks.bench import Bench

WORKERS = 1_000
_IDLE_S = 10.0
_PATIENCE_S = 600.0


async def joined(workers: int) -> dict[str, float]:
    """Let them join; seconds until all have, and the share of a core that they take together when idle."""
    clock = SystemClock()
    ports = ExaminerPorts(detector=ScriptedDetector({}))
    terms = Terms(version=VERSION, fingerprint=FINGERPRINT, epoch=1, attempt_s=30.0)
    async with anyio.create_task_group() as tasks:
        hub = MemoryHub(tasks)
        crew = Crew(hub, terms, engine="memory", emit=lambda _event: None, clock=clock, now=fleet_clock)
        began_s, began_cpu_s = time.perf_counter(), time.process_time()
        for number in range(workers):
            hub.start(MemoryWorker(f"w{number}", ports, clock=clock))
        tasks.start_soon(crew.run)
        await crew.gather(workers, wait_s=_PATIENCE_S, settle_s=_PATIENCE_S)
        joined_s, joined_cpu_s = time.perf_counter() - began_s, time.process_time() - began_cpu_s
        idle_s, idle_cpu_s = time.perf_counter(), time.process_time()
        await anyio.sleep(_IDLE_S)
        core = (time.process_time() - idle_cpu_s) / (time.perf_counter() - idle_s)
        told = crew.statistics()
        tasks.cancel_scope.cancel()
    return {
        "workers": workers,
        "joined": told.joined,
        "lost": told.lost,
        "joined_s": round(joined_s, 2),
        "joined_cpu_s": round(joined_cpu_s, 2),
        "idle_core": round(core, 3),
    }


def measure(bench: Bench) -> dict[str, Any]:
    """What ``joined`` measures of a thousand workers."""
    found: dict[str, Any] = bench.module(__name__, WORKERS)
    return found


if __name__ == "__main__":
    print(json.dumps(anyio.run(joined, int(sys.argv[1]))))
