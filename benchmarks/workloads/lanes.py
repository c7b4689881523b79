"""Three lanes of 50, 20 and 5 calls a second in three regions: which share of its quota each one reaches.

The sandbox judges. The images lie in the first region; the other two lanes are sent bytes. Behind the ramp all lanes
are measured; then the quota of the second lane is cut to a tenth, of which the run is told nothing, and the other two
are measured again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from asyncfilter.sandbox import SandboxProcess
from asyncfilter.sandbox.rates import RateSpec
from benchmarks.answers import CLEAN, RAW
from benchmarks.bench import Bench, wait_for_first_call
from benchmarks.peers.ours import command
from benchmarks.workloads.quota import LATENCY

QUOTAS_TPS = {"us-east-1": 50.0, "us-west-2": 20.0, "eu-west-1": 5.0}
CUT = "us-west-2"
CUT_TO = 0.1
RAMP_S = 10.0
"""The rate of a new run grows for so long."""
SETTLE_S = 5.0
"""After the cut."""


class Seen(NamedTuple):
    """What the sandbox has counted for a lane."""

    attempts: int
    throttled: int
    billed: int


def measure(bench: Bench) -> dict[str, Any]:
    """The share of each lane, and of those that are not cut after one is."""
    seconds = bench.sizes.lanes_s
    objects = int(sum(QUOTAS_TPS.values()) * (RAMP_S + SETTLE_S + 2 * seconds + 30))
    rates = tuple(RateSpec(tps, region) for region, tps in QUOTAS_TPS.items())
    with (
        bench.sandbox(objects, rates=rates, latency=LATENCY) as sandbox,
        bench.client(_command(bench), sandbox) as process,
    ):
        wait_for_first_call(sandbox, process)
        time.sleep(RAMP_S)
        all_open = _measured(sandbox, seconds)
        cut = QUOTAS_TPS | {CUT: QUOTAS_TPS[CUT] * CUT_TO}
        sandbox.control("POST", "quota", {"tps": None, "rates": cut})
        time.sleep(SETTLE_S)
        one_cut = _measured(sandbox, seconds)
        calls = sum(one.billed for one in _seen(sandbox).values())
        ran = process.stop()
    return {
        "seconds": seconds,
        "latency_p50_s": LATENCY.p50_s,
        "latency_p99_s": LATENCY.p99_s,
        "cut": CUT,
        "cpu_ms": round(ran.cpu_s * 1000 / calls, 2),
        "lanes": {
            region: {
                "quota_tps": tps,
                "share": all_open[region][0],
                "throttled_pct": all_open[region][1],
                "share_beside_cut": None if region == CUT else one_cut[region][0],
            }
            for region, tps in QUOTAS_TPS.items()
        },
    }


def _command(bench: Bench) -> Sequence[str]:
    folder, answers = bench.new_folder(), bench.answers
    job = {
        "version": 1,
        "name": "lanes",
        "source": f"s3://{RAW}/",
        "rules": [{"keep": {"any": [answers.label], "confidence": answers.confidence_pct}}],
        "otherwise": "reject",
        "actions": {"keep": {"copy": f"s3://{CLEAN}/{{key}}"}},
        "detector": {"lanes": [{"region": region} for region in QUOTAS_TPS]},
        "convert": True,
    }
    path = folder / "job.yaml"
    path.write_text(json.dumps(job), encoding="utf-8")
    return command("run", path)


def _measured(sandbox: SandboxProcess, seconds: float) -> dict[str, tuple[float, float]]:
    """The share of its quota that each lane had accepted in some seconds, and its throttled attempts in percent."""
    began_s, before = time.monotonic(), _seen(sandbox)
    time.sleep(seconds)
    after, took_s = _seen(sandbox), time.monotonic() - began_s
    found = {}
    for region, tps in QUOTAS_TPS.items():
        attempts = after[region].attempts - before[region].attempts
        throttled = after[region].throttled - before[region].throttled
        share = (after[region].billed - before[region].billed) / (tps * took_s)
        found[region] = (round(share, 3), round(throttled * 100 / max(1, attempts), 2))
    return found


def _seen(sandbox: SandboxProcess) -> dict[str, Seen]:
    """The counts by region; all calls are those of one access key."""
    pairs = {name.rpartition("@")[2]: counts for name, counts in sandbox.stats().pairs.items()}
    return {
        region: Seen(one.attempts, one.throttled, one.billed) if (one := pairs.get(region)) else Seen(0, 0, 0)
        for region in QUOTAS_TPS
    }
