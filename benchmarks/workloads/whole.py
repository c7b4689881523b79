"""The whole run without latency: list, examine, copy one image in seven; by one peer after the other.

A peer's processor time per image is the difference between a run over all images and a run over one image, divided by
the difference in images; the cost of the start is a separate figure. Images per second are counted by the sandbox. They
are the median of the seconds that reached half of the fullest one, so that neither the ramp at the start nor the last,
incomplete second counts.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from asyncfilter.sandbox import SandboxProcess
from benchmarks.bench import Bench
from benchmarks.peers import PEERS
from benchmarks.process import BenchmarkError, Ran, cpu_s

UNBOUNDED_TPS = 100_000.0
"""A rate above that of every peer."""


def measure(bench: Bench) -> dict[str, Any]:
    """By peer: processor time per image, images per second, copies, and the ratio of its processor time to ours."""
    return compare(bench, list(PEERS))


def compare(bench: Bench, names: Sequence[str]) -> dict[str, Any]:
    """The figures of some peers; rounds are interleaved."""
    rounds: dict[str, list[dict[str, float | None]]] = {name: [] for name in names}
    with ExitStack() as stack:
        sandboxes = {name: stack.enter_context(bench.sandbox(bench.sizes.whole[name])) for name in names}
        single = stack.enter_context(bench.sandbox(1))
        for _ in range(bench.sizes.rounds):
            for name in names:
                rounds[name].append(_round(bench, name, sandboxes[name], single))
    peers = {name: _medians(some) for name, some in rounds.items()}
    for name in names:
        peers[name]["images"] = bench.sizes.whole[name]
        peers[name]["rounds_cpu_ms"] = [one["cpu_ms"] for one in rounds[name]]
    own = peers["ours"]["cpu_ms"]
    less = {name: round(peers[name]["cpu_ms"] / own, 2) for name in names if name != "ours"}
    return {"rounds": bench.sizes.rounds, "peers": peers, "ours_times_less": less}


def _round(bench: Bench, name: str, sandbox: SandboxProcess, single: SandboxProcess) -> dict[str, float | None]:
    images = bench.sizes.whole[name]
    alone = _run(bench, name, single)
    sandbox.control("POST", "reset-stats")
    served_s = cpu_s(sandbox.pid)
    ran = _run(bench, name, sandbox)
    served_s = cpu_s(sandbox.pid) - served_s
    operations = sandbox.stats().operations
    if operations["DetectLabels"].accepted != images:
        raise BenchmarkError(f"{name} examined {operations['DetectLabels'].accepted} of {images} images")
    return {
        "cpu_ms": (ran.cpu_s - alone.cpu_s) * 1000 / (images - 1),
        "images_per_s": full_seconds([row[1] for row in operations["DetectLabels"].per_second]),
        "sandbox_cpu_ms": served_s * 1000 / images,
        "single_cpu_s": alone.cpu_s,
        "wall_s": ran.wall_s,
        "peak_mb": ran.peak_mb,
        "copied_share": operations["CopyObject"].accepted / images,
    }


def _run(bench: Bench, name: str, sandbox: SandboxProcess) -> Ran:
    folder = bench.new_folder()
    task = bench.task(tps=UNBOUNDED_TPS)
    return bench.run(PEERS[name].command(task, folder), sandbox, folder)


def _medians(rounds: Sequence[dict[str, float | None]]) -> dict[str, Any]:
    """The median of each figure; None if it was not measured in every round."""
    medians = {}
    for name in rounds[0]:
        seen = [one[name] for one in rounds]
        known = [value for value in seen if value is not None]
        medians[name] = round(statistics.median(known), 4) if len(known) == len(seen) else None
    return medians


def full_seconds(per_second: Sequence[int]) -> float | None:
    """The median of the seconds that reached half of the fullest, without the last, which is cut.

    None when there are fewer than three of them.
    """
    whole = per_second[:-1]
    full = [count for count in whole if count >= max(whole) / 2]
    return float(statistics.median(full)) if len(full) > 2 else None
