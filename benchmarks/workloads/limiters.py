"""Which limiter uses a quota best: ours or aiolimiter in its usual configurations, in real time, in one process.

Each limiter serves a queue that is never empty, for some seconds. The quota is enforced by a strict sliding second or
by a token bucket of a tenth of a second. The results are the accepted share of the quota, the number of throttled
attempts, the fullest second divided by the quota, the processor time per attempt, and the share of a core that was
used. The bucket is full at the start, which allows a share slightly above 1.

``python -m benchmarks.workloads.limiters SECONDS RATE...`` measures in this process and prints JSON.
"""

from __future__ import annotations

import json
import sys
import time
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

import anyio
from aiolimiter import AsyncLimiter

from asyncfilter.clock import SystemClock
from asyncfilter.engine.core.limiter import RateLimiter
from asyncfilter.errors import ThrottleCause
from asyncfilter.policy.rate import RateController
from asyncfilter.sandbox.throttle import Quota, SlidingWindow, TokenBucket
from benchmarks.bench import Bench

WAITERS = 64
QUOTAS: dict[str, Callable[[float], Quota]] = {
    "strict second": SlidingWindow,
    "bucket of 0.1 s": lambda quota_tps: TokenBucket(quota_tps, burst=0.1 * quota_tps),
}

Outcome = Callable[[float, bool], None]
Turnstile = tuple[Callable[[], Awaitable[Any]], Outcome]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The result of one limiter at one quota; ``share`` is accepted / (quota x seconds)."""

    limiter: str
    quota: str
    quota_tps: int
    seconds: float
    share: float
    attempts: int
    throttled: int
    fullest_second: float
    cpu_us: float
    core: float


def ours(rate_tps: int) -> Turnstile:
    """The program's limiter, with the outcome of each attempt as feedback and without the ramp at the start."""
    limiter = RateLimiter(RateController(rate_tps, start_tps=rate_tps), SystemClock())

    def outcome(sent_s: float, accepted: bool) -> None:
        if accepted:
            limiter.accepted(sent_s)
        else:
            limiter.throttled(ThrottleCause.RATE, sent_s)

    return limiter.acquire, outcome


def theirs(max_rate: float, period_s: float) -> Turnstile:
    """``AsyncLimiter``, which takes no feedback."""
    return AsyncLimiter(max_rate, period_s).acquire, lambda *_: None


LIMITERS: dict[str, Callable[[int], Turnstile]] = {
    "asyncfilter": ours,
    "AsyncLimiter(R, 1)": lambda rate: theirs(rate, 1.0),
    "AsyncLimiter(1, 1/R)": lambda rate: theirs(1, 1 / rate),
    "AsyncLimiter(0.05 R, 0.05)": lambda rate: theirs(max(1.0, 0.05 * rate), max(1.0, 0.05 * rate) / rate),
    "AsyncLimiter(k, k/c), c = .99 R": lambda rate: theirs(
        max(2.0, 0.0198 * rate), max(2.0, 0.0198 * rate) / (0.99 * rate)
    ),
}


async def ask(name: str, quota: str, quota_tps: int, seconds: float) -> Result:
    """Run one limiter for ``seconds``."""
    acquire, outcome = LIMITERS[name](quota_tps)
    service = QUOTAS[quota](quota_tps)
    sent_s: list[float] = []
    accepted = 0

    async def keep_asking() -> None:
        nonlocal accepted
        while True:
            await acquire()
            now_s = time.monotonic()
            within = service.admit(now_s)
            accepted += within
            sent_s.append(now_s)
            outcome(now_s, within)

    cpu_s = time.process_time()
    with anyio.move_on_after(seconds):
        async with anyio.create_task_group() as tasks:
            for _ in range(WAITERS):
                tasks.start_soon(keep_asking)
    cpu_s = time.process_time() - cpu_s
    return Result(
        limiter=name,
        quota=quota,
        quota_tps=quota_tps,
        seconds=seconds,
        share=round(accepted / (quota_tps * seconds), 4),
        attempts=len(sent_s),
        throttled=len(sent_s) - accepted,
        fullest_second=round(fullest_second(sent_s) / quota_tps, 3),
        cpu_us=round(cpu_s / max(1, len(sent_s)) * 1e6, 1),
        core=round(cpu_s / seconds, 3),
    )


def fullest_second(sent_s: list[float]) -> int:
    """The most attempts in any second."""
    return max((index + 1 - bisect_left(sent_s, at_s - 1.0) for index, at_s in enumerate(sent_s)), default=0)


def every(seconds: float, rates: Sequence[int]) -> list[dict[str, Any]]:
    """The results of every limiter at every quota, measured one after the other."""
    results = []
    for quota, rate, name in product(QUOTAS, rates, LIMITERS):
        results.append(asdict(anyio.run(ask, name, quota, rate, seconds)))
    return results


def measure(bench: Bench) -> dict[str, Any]:
    """The results of all limiters."""
    return {"results": bench.module(__name__, bench.sizes.limiter_s, *bench.sizes.limiter_rates_tps)}


if __name__ == "__main__":
    print(json.dumps(every(float(sys.argv[1]), [int(rate) for rate in sys.argv[2:]])))
