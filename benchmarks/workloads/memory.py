"""Memory of a whole run with a thousand calls in flight, for several numbers of objects."""

from __future__ import annotations

from typing import Any

from asyncfilter.sandbox import Latency
from benchmarks.bench import Bench
from benchmarks.peers import ours
from benchmarks.workloads.whole import UNBOUNDED_TPS

IN_FLIGHT = 1000
LATENCY = Latency(0.15, 0.15)
"""Half of the service's latency, so that a thousand calls in flight examine two million objects in five minutes."""
_POINTS = 200
"""Number of points of the memory curve in the results."""


def measure(bench: Bench) -> dict[str, Any]:
    """Peak and curve of the resident memory by number of objects."""
    return {
        "latency_s": LATENCY.p50_s,
        "by_objects": {str(objects): _run(bench, objects) for objects in bench.sizes.memory},
    }


def _run(bench: Bench, objects: int) -> dict[str, Any]:
    folder = bench.new_folder()
    task = bench.task(tps=UNBOUNDED_TPS)
    with bench.sandbox(objects, latency=LATENCY) as sandbox:
        job = ours.write_job(task, folder, concurrency=IN_FLIGHT)
        ran = bench.run(ours.command("run", job), sandbox, folder)
        detect = sandbox.stats().operations["DetectLabels"]
    return {
        "peak_mb": ran.peak_mb,
        "examined": detect.accepted,
        "in_flight_max": detect.in_flight_max,
        "wall_s": round(ran.wall_s, 1),
        "memory": ran.memory[:: max(1, len(ran.memory) // _POINTS)],
    }
