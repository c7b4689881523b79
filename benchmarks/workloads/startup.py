"""The start of the program: ``asyncfilter --help``, and a run until its first call reaches the sandbox."""

from __future__ import annotations

import statistics
import sys
import time
from typing import Any

from benchmarks.bench import Bench, wait_for_first_call
from benchmarks.peers import PEERS
from benchmarks.process import cpu_s


def measure(bench: Bench) -> dict[str, Any]:
    """Medians over at least three rounds, because the first round also fills the disk cache."""
    rounds = max(3, bench.sizes.rounds)
    helped = [bench.run([sys.executable, "-m", "asyncfilter", "--help"]) for _ in range(rounds)]
    begun = [_first_call(bench) for _ in range(rounds)]
    return {
        "rounds": rounds,
        "help_wall_s": round(statistics.median(ran.wall_s for ran in helped), 3),
        "help_cpu_s": round(statistics.median(ran.cpu_s for ran in helped), 3),
        "first_call_wall_s": round(statistics.median(wall_s for wall_s, _ in begun), 3),
        "first_call_cpu_s": round(statistics.median(used_s for _, used_s in begun), 3),
    }


def _first_call(bench: Bench) -> tuple[float, float]:
    """Wall and processor time of a run until its first detection arrives."""
    folder = bench.new_folder()
    task = bench.task(tps=50)
    with bench.sandbox(1000) as sandbox:
        started_s = time.perf_counter()
        with bench.client(PEERS["ours"].command(task, folder), sandbox, folder) as process:
            wait_for_first_call(sandbox, process)
            return time.perf_counter() - started_s, cpu_s(process.pid)
