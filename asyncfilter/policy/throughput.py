"""How much a detector takes: what a trial sets out to measure, what it read, and what that comes to.

Arithmetic over counts by second. What a run gets in the long term is the **mean of the second half**: the ramp, the
first throttles and the search for a lower rate lie before it. A mean, unlike a median, counts the seconds in which a
probe was refused, and is not bound to whole numbers, which are coarse where a quota is small.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from enum import StrEnum
from itertools import accumulate
from math import ceil, log2

import msgspec

from asyncfilter.job.spec import Job
from asyncfilter.model import Summary
from asyncfilter.policy.forecast import HOUR_S, PricingTerms
from asyncfilter.policy.quota import QuotaAnswer
from asyncfilter.policy.rate import START_TPS

BEYOND = 1.5
"""How far beyond the quota that was told is tried: enough to see one that is higher, few throttles if it is not."""

BENCH_S = 30.0
"""How long is measured unless told otherwise: ramp and search take ten seconds at most rates, and half is steady."""

LEAST_S = 5
"""Settled seconds from which their rate is believed."""

SEARCH_S = 5
"""What the rate controller takes at the most from the first throttle to a rate that is kept, but for tiny quotas."""

NEARLY, SURELY = 0.9, 0.97
"""Share of the ceiling from which it counts as reached, without a throttle and with one; pacing itself takes 1 %."""

_CENT_MICROS = 10_000

# -- Before ------------------------------------------------------------------------------------------------------------


class BenchPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What is about to be measured, and at what price.

    Attributes:
        seconds_s: Ends this long after the first attempt.
        ceiling_tps: The rate that is tried at the most.
        quota: What Service Quotas says; None for a detector of your own.
        region: The detector's.
        is_local: True when nobody's money is spent.
        allowance_micros: What may be spent.
        limit_micros: Where that ends, as ``limits.budget_micros``: what was spent before counts.
        quota_micros: What it costs if the quota is what was told; never more than the allowance.
        images: Images of the whole listing that must be paid for; None when they were not counted.
    """

    seconds_s: float
    ceiling_tps: float
    quota: QuotaAnswer | None
    region: str
    is_local: bool
    allowance_micros: int
    limit_micros: int
    quota_micros: int
    images: int | None = None


def price_micros(terms: PricingTerms, calls: int, seconds_s: float) -> int:
    """Price of the next ``calls``, and of the detector's time for ``seconds_s``."""
    return terms.prices.total_micros(terms.used + 1, calls) + ceil(terms.hourly_micros * seconds_s / HOUR_S)


def rounded_up(micros: int) -> int:
    """The next sum with two digits, in whole cents: 2,250,000 becomes 2,300,000."""
    step: int = max(_CENT_MICROS, 10 ** (len(str(max(0, micros - 1))) - 2))
    return step * ceil(micros / step)


def allowance_micros(job: Job, wanted_micros: int, spent_micros: int) -> int:
    """What a trial may spend of ``wanted_micros``: the job's budget holds for it too."""
    budget = job.limits.budget_micros
    return wanted_micros if budget is None else max(0, min(wanted_micros, budget - spent_micros))


# -- Meanwhile ---------------------------------------------------------------------------------------------------------


class Second(msgspec.Struct):
    """The attempts that were sent in one second.

    Attributes:
        attempts: All of them; some are neither of the following, because they failed otherwise or are under way.
        accepted: Taken by the service, whatever it answered.
        throttled: Refused for their rate.
        busy_s: Calls in flight, summed over the second: their mean.
    """

    attempts: int = 0
    accepted: int = 0
    throttled: int = 0
    busy_s: float = 0.0


class Samples(msgspec.Struct, kw_only=True):
    """What a probe read.

    Attributes:
        seconds: From the first attempt on.
        latencies: Answers with labels by their whole milliseconds, from the attempt on.
        peak_in_flight: Calls in flight at the most.
        size_bytes: Of the images that were examined.
        refused: Images that the service would not have; no answer with labels, and not billed.
    """

    seconds: list[Second] = []
    latencies: Counter[int] = msgspec.field(default_factory=Counter)
    peak_in_flight: int = 0
    size_bytes: int = 0
    refused: int = 0

    def second(self, at_s: float) -> Second:
        """The second that ``at_s`` lies in, from the first attempt on."""
        while len(self.seconds) <= at_s:
            self.seconds.append(Second())
        return self.seconds[int(at_s)]

    def time(self, latency_s: float, size_bytes: int) -> None:
        """Note one answer."""
        self.latencies[round(1000 * latency_s)] += 1
        self.size_bytes += size_bytes

    @property
    def unanswered(self) -> int:
        """Attempts that timed out or failed otherwise, and may have been billed."""
        return sum(second.attempts - second.accepted - second.throttled for second in self.seconds)

    @property
    def mean_bytes(self) -> float:
        """Mean size of an image; 0 without any."""
        return self.size_bytes / max(1, self.latencies.total())


# -- Afterwards --------------------------------------------------------------------------------------------------------


class Bound(StrEnum):
    """What kept the rate from being higher."""

    QUOTA = "quota"
    """The service: it throttled."""
    CEILING = "ceiling"
    """The rate that was tried at the most: the limit was not met."""
    CLIENT = "client"
    """Neither: this machine, its network or ``limits.concurrency`` made no more."""


class Throughput(msgspec.Struct, frozen=True, kw_only=True):
    """What a reading comes to. All but the peak and the latencies is of its second half.

    Attributes:
        window_s: How many seconds that is.
        measured_tps: Calls accepted a second.
        tried_tps: Attempts a second.
        throttled_share: Of the attempts, as a fraction.
        in_flight: Calls in flight, their mean.
        p50_ms: Latency of half of the answers at the most; ``p90_ms`` and ``p99_ms`` likewise, ``slowest_ms`` of all.
        concurrency: Calls in flight that the accepted rate takes when answers are as slow as the slowest hundredth.
        bound: What kept the rate from being higher.
        is_steady: Whether the second half can be believed: long enough, and the rate had been found before it.
    """

    window_s: int
    measured_tps: float
    tried_tps: float
    throttled_share: float
    in_flight: float
    peak_in_flight: int
    p50_ms: int
    p90_ms: int
    p99_ms: int
    slowest_ms: int
    concurrency: int
    bound: Bound
    is_steady: bool


def throughput(samples: Samples, ceiling_tps: float) -> Throughput | None:
    """What a reading comes to, None when there is not even a second half.

    Args:
        samples: Complete: every attempt was answered.
        ceiling_tps: The rate that was tried at the most.
    """
    whole = _whole_seconds(samples.seconds)
    steady = whole[len(whole) // 2 :]
    if not steady:
        return None
    attempts = sum(second.attempts for second in steady)
    measured_tps = sum(second.accepted for second in steady) / len(steady)
    p50_ms, p90_ms, p99_ms, slowest_ms = (percentile(samples.latencies, share) for share in (0.5, 0.9, 0.99, 1.0))
    return Throughput(
        window_s=len(steady),
        measured_tps=measured_tps,
        tried_tps=attempts / len(steady),
        throttled_share=sum(second.throttled for second in steady) / max(1, attempts),
        in_flight=sum(second.busy_s for second in steady) / len(steady),
        peak_in_flight=samples.peak_in_flight,
        p50_ms=p50_ms,
        p90_ms=p90_ms,
        p99_ms=p99_ms,
        slowest_ms=slowest_ms,
        concurrency=max(1, ceil(measured_tps * p99_ms / 1000)),
        bound=_bound(samples.seconds, measured_tps, ceiling_tps),
        is_steady=len(steady) >= LEAST_S and len(whole) - len(steady) >= _found_s(whole, ceiling_tps),
    )


def percentile(counted: Mapping[int, int], share: float) -> int:
    """The smallest value that is no less than ``share`` of all values, counted by value; 0 of none."""
    values = sorted(counted)
    needed = share * sum(counted.values())
    sums = accumulate(counted[value] for value in values)
    return next((value for value, so_far in zip(values, sums, strict=True) if so_far >= needed), 0)


def _whole_seconds(seconds: Sequence[Second]) -> Sequence[Second]:
    """The seconds before the one in which the last attempt was made: the end may have cut that short."""
    return seconds[: max((index for index, second in enumerate(seconds) if second.attempts), default=0)]


def _bound(seconds: Sequence[Second], measured_tps: float, ceiling_tps: float) -> Bound:
    is_throttled = any(second.throttled for second in seconds)
    if measured_tps >= (SURELY if is_throttled else NEARLY) * ceiling_tps:
        return Bound.CEILING
    return Bound.QUOTA if is_throttled else Bound.CLIENT


def _found_s(whole: Sequence[Second], ceiling_tps: float) -> float:
    """When the rate was found: at the end of the ramp, or a while after the first throttle."""
    # A second at the start, one for each doubling, one for the last step.
    ramp_s = 2 + ceil(log2(ceiling_tps / START_TPS)) if ceiling_tps > START_TPS else 1
    throttled_s = next((at_s for at_s, second in enumerate(whole) if second.throttled), None)
    return ramp_s if throttled_s is None else throttled_s + SEARCH_S


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """All that a trial found.

    Attributes:
        summary: Of the dry run; ``this_run`` counts what was paid.
        throughput: None when too little was measured to say anything.
        is_time_up: True when it ended because its time was over; else ``summary.stop_reason`` says why.
    """

    bench_plan: BenchPlan
    summary: Summary
    samples: Samples
    throughput: Throughput | None
    is_time_up: bool
