"""What is paid for in vain at the end of a run: behind a stop, and behind the last image that a budget covers.

Each end is measured without faults and with faults. One image that is repeated shortly before a stop delays the count
in order; what counts is that few images behind it are paid for meanwhile. At the end of a budget, failed attempts that
were billed must not leave paid images behind one for which there is no money.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from typing import Any

from asyncfilter.sandbox import Latency, parse_fault
from benchmarks.bench import Bench
from benchmarks.peers import ours
from benchmarks.process import BenchmarkError

TPS = 1000.0
LATENCY = Latency(0.3, 0.6)
PRICE_USD = 0.001
"""The price of a call, so that a budget in dollars is a number of calls."""
ROUNDS = 3
"""Each with faults of its own; a run takes a quarter of a minute, most of it to reach its rate."""
STOP_FAULTS = ("throttle=2%", "reset=1%")
BUDGET_FAULTS = ("internal=2%",)
"""A failed attempt of this kind may have been billed."""


def measure(bench: Bench) -> dict[str, Any]:
    """Medians and the worst of each end, without and with faults."""
    matches, calls, rounds = bench.sizes.end_matches, bench.sizes.end_calls, min(ROUNDS, bench.sizes.rounds)
    ends = {
        "stop": (f"stop: {{matches: {matches}}}", STOP_FAULTS),
        "budget": (f"pricing: {{tiers: [{{up_to: null, usd: {PRICE_USD}}}]}}", BUDGET_FAULTS),
    }
    cases = []
    for end, (section, faults) in ends.items():
        budget = calls if end == "budget" else None
        for injected in ((), faults):
            runs = [_run(bench, section, budget, injected, seed) for seed in range(rounds)]
            cases.append({"end": end, "faults": ", ".join(injected) or "none", **_figures(runs)})
    return {"rounds": rounds, "tps": TPS, "matches": matches, "budget_calls": calls, "cases": cases}


def _figures(runs: list[dict[str, int]]) -> dict[str, float]:
    medians = {name: statistics.median(one[name] for one in runs) for name in runs[0]}
    worst = max(one["overshoot"] / max(one["in_flight_max"], 1) for one in runs)
    return {
        **medians,
        "overshoot_max": max(one["overshoot"] for one in runs),
        "times_in_flight_max": round(worst, 2),
    }


def _run(bench: Bench, section: str, budget_calls: int | None, faults: tuple[str, ...], seed: int) -> dict[str, int]:
    folder = bench.new_folder()
    job = ours.write_job(bench.task(tps=TPS), folder, concurrency=2000)
    text = job.read_text(encoding="utf-8")
    if budget_calls is not None:
        text = text.replace("limits: {", f"limits: {{budget_usd: {budget_calls * PRICE_USD:g}, ")
    job.write_text(f"{text}{section}\n", encoding="utf-8")
    # A budget as large as the number of images: without a failed attempt it covers them all.
    objects = budget_calls or bench.sizes.end_matches * 20
    injected = tuple(map(parse_fault, faults))
    with bench.sandbox(objects, latency=LATENCY, faults=injected, seed=seed) as sandbox:
        ran = bench.run(ours.command("run", job), sandbox, folder)
        detect = sandbox.stats().operations["DetectLabels"]
    summary: Mapping[str, Any] = json.loads(ran.stdout)
    wanted = {"matches"} if budget_calls is None else {"budget", "completed"}
    if summary["stop_reason"] not in wanted:
        raise BenchmarkError(f"the run ended by {summary['stop_reason']}, not by one of {sorted(wanted)}")
    return {
        "examined": summary["examined"],
        "overshoot": summary["overshoot"],
        "attempts": detect.attempts,
        "in_flight_max": detect.in_flight_max,
    }
