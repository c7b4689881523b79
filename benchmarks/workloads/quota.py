"""The used share of a quota and the share of throttled attempts, at 300 ms of latency with a slow tail.

Every run is ended after a fixed time and judged by the sandbox's counts per second: in the second half of the run,
accepted calls divided by the quota, and throttled attempts divided by all. ``told`` is the relation of the quota to the
rate that the peer is given: ``right`` (equal), ``half`` (the quota is half of the given rate) or ``unknown`` (the given
rate is far above the quota). Runs with quotas up to 50 a second leave the processor idle and are measured concurrently;
all others are measured alone.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

from asyncfilter.sandbox import Latency, ThrottleMode
from benchmarks.bench import Bench, wait_for_first_call
from benchmarks.peers import PEERS
from benchmarks.sizes import Sizes

LATENCY = Latency(0.3, 1.2)
UNKNOWN_TPS = 10_000.0
"""The rate that a peer is given in the case ``unknown``."""
TAIL_S = 3
"""Seconds for which a run continues after the judged time, so that pending responses are counted."""
SIDE_BY_SIDE_TPS = 50
AT_ONCE = 6
Second = tuple[int, int, int]
"""Attempts, accepted and throttled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One run: the peer, the quota, how it is counted, and its relation to the rate that the peer is given."""

    peer: str
    quota_tps: int
    mode: str
    told: str
    seconds: int

    @property
    def announced_tps(self) -> float:
        """The rate that the peer is given."""
        return {"right": float(self.quota_tps), "half": 2.0 * self.quota_tps, "unknown": UNKNOWN_TPS}[self.told]

    @property
    def is_light(self) -> bool:
        """Whether the run leaves the processor idle; the peer ``threads`` does not, because it has no rate limit."""
        return self.quota_tps <= SIDE_BY_SIDE_TPS and self.peer != "threads"


def cases(sizes: Sizes) -> Iterator[Case]:
    """Every run of a size."""
    seconds = {"right": sizes.right_s, "half": sizes.wrong_s, "unknown": sizes.wrong_s}
    asked = {"ours": sizes.quotas_tps, "obvious": sizes.peer_quotas_tps}
    for peer, quotas in asked.items():
        for told, mode in itertools.product(quotas, sizes.modes):
            for quota_tps in quotas[told]:
                yield Case(peer=peer, quota_tps=quota_tps, mode=mode, told=told, seconds=seconds[told])
    for peer in ("one_by_one", "threads"):  # these peers have no rate limit
        yield Case(peer=peer, quota_tps=50, mode="window", told="right", seconds=sizes.right_s)


def measure(bench: Bench) -> dict[str, Any]:
    """The figures of each case, with its series per second."""
    every = list(cases(bench.sizes))
    light = sorted((case for case in every if case.is_light), key=lambda case: case.seconds)
    figures: list[dict[str, Any]] = []
    for start in range(
        0, len(light), AT_ONCE
    ):  # started together, so that a start does not disturb the second half of another run
        with ThreadPoolExecutor(AT_ONCE) as threads:
            figures += threads.map(lambda case: run(bench, case), light[start : start + AT_ONCE])
    figures += [run(bench, case) for case in every if not case.is_light]
    return {"latency_p50_s": LATENCY.p50_s, "latency_p99_s": LATENCY.p99_s, "cases": figures}


def run(bench: Bench, case: Case) -> dict[str, Any]:
    """Run one case; returns its figures."""
    folder = bench.new_folder()
    task = bench.task(tps=case.announced_tps, workers=max(100, case.quota_tps))
    objects = max(2000, int(case.quota_tps * (case.seconds + TAIL_S) * 1.5))
    mode = ThrottleMode(case.mode)
    with (
        bench.sandbox(objects, tps=float(case.quota_tps), throttle_mode=mode, latency=LATENCY) as sandbox,
        bench.client(PEERS[case.peer].command(task, folder), sandbox, folder) as process,
    ):
        wait_for_first_call(sandbox, process)
        time.sleep(case.seconds + TAIL_S)
        counted = sandbox.stats().operations["DetectLabels"]
        ran = process.stop()
    silent = [(0, 0, 0)] * (case.seconds - len(counted.per_second))
    figure = {**asdict(case), **judge([*counted.per_second[: case.seconds], *silent], case.quota_tps)}
    return {**figure, "cpu_ms": round(ran.cpu_s * 1000 / counted.accepted, 3), "in_flight_max": counted.in_flight_max}


def judge(per_second: Sequence[Second], quota_tps: float) -> dict[str, Any]:
    """The used share of the quota in the second half, the throttled share in it and in all, and both series."""
    second_half = per_second[len(per_second) // 2 :]
    return {
        "share": round(sum(row[1] for row in second_half) / (quota_tps * len(second_half)), 4),
        "throttled_late_pct": _throttled_pct(second_half),
        "throttled_pct": _throttled_pct(per_second),
        "accepted_per_s": [row[1] for row in per_second],
        "throttled_per_s": [row[2] for row in per_second],
    }


def _throttled_pct(seconds: Sequence[Second]) -> float:
    return round(sum(row[2] for row in seconds) * 100 / max(1, sum(row[0] for row in seconds)), 3)
