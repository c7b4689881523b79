"""Throughput of a detector: the plan of a measurement (``bench``), its samples, and the result.

Arithmetic over counts by second. The rate of a long run is the **mean of the second half**: the ramp, the first
throttles and the search for a lower rate come before it. A mean, unlike a median, counts the seconds in which a probe
was refused, and is not limited to whole numbers, which are coarse where a quota is small.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from enum import StrEnum
from itertools import accumulate
from math import ceil, log2

import msgspec

from asyncfilter import notebook
from asyncfilter.job.spec import Job
from asyncfilter.model import Summary
from asyncfilter.policy.forecast import HOUR_S, PricingTerms
from asyncfilter.policy.quota import QuotaAnswer
from asyncfilter.policy.rate import START_TPS
from asyncfilter.policy.units import UnitTerms

BEYOND = 1.5
"""The ceiling as a multiple of the quota: enough to detect a higher quota, with few throttles if it is not."""

BENCH_S = 30.0
"""Default length of a measurement, seconds: ramp and search take ten seconds at most rates, and half is steady."""

LEAST_S = 5
"""The fewest steady seconds from which their rate counts as reliable."""

SEARCH_S = 5
"""The longest time, seconds, of the rate controller from first throttle to steady rate, except for very small
quotas."""

NEARLY, SURELY = 0.9, 0.97
"""Share of the ceiling from which it counts as reached, without a throttle and with one; pacing costs 1 %."""

_CENT_MICROS = 10_000

# -- Before ------------------------------------------------------------------------------------------------------------


class BenchPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The plan of a measurement, with its price.

    Attributes:
        seconds_s: Ends this long after the first attempt.
        ceiling_tps: The highest rate that is tried.
        quota: From Service Quotas; None for a detector of your own.
        region: The detector's.
        is_local: True when no money is spent.
        allowance_micros: What may be spent.
        limit_micros: The corresponding ``limits.budget_micros``, which includes what was spent before.
        quota_micros: The price if the rate is that of the quota; never more than the allowance.
        images: Images of the whole listing that must be paid for; None when they were not counted.
        unit: Of the inference units of a model; None for detectors without a model.
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
    unit: UnitTerms | None = None


def price_micros(terms: PricingTerms, calls: int, seconds_s: float) -> int:
    """Price of the next ``calls``, including the detector's hourly price for ``seconds_s``."""
    return terms.calls_micros(calls) + ceil(terms.hourly_micros * seconds_s / HOUR_S)


def rounded_up(micros: int) -> int:
    """The sum rounded up to two digits, in whole cents: 2,250,000 becomes 2,300,000."""
    step: int = max(_CENT_MICROS, 10 ** (len(str(max(0, micros - 1))) - 2))
    return step * ceil(micros / step)


def allowance_micros(job: Job, wanted_micros: int, spent_micros: int) -> int:
    """How much of ``wanted_micros`` a measurement may spend: the job's budget applies to it too."""
    budget = job.limits.budget_micros
    return wanted_micros if budget is None else max(0, min(wanted_micros, budget - spent_micros))


# -- Meanwhile ---------------------------------------------------------------------------------------------------------


class Second(msgspec.Struct):
    """The attempts that were sent in one second.

    Attributes:
        attempts: All of them; some are neither accepted nor throttled: they failed otherwise or are in flight.
        accepted: Not throttled by the service, whatever its response.
        throttled: Refused for their rate.
        busy_s: Calls in flight, summed over the second: their mean.
    """

    attempts: int = 0
    accepted: int = 0
    throttled: int = 0
    busy_s: float = 0.0


class Samples(msgspec.Struct, kw_only=True):
    """The samples of a probe.

    Attributes:
        seconds: From the first attempt on.
        latencies: Number of responses with labels by latency of the attempt in whole milliseconds.
        peak_in_flight: The most calls in flight.
        size_bytes: Of the images that were examined.
        refused: Images that the service rejected: without labels, and not billed.
    """

    seconds: list[Second] = []
    latencies: Counter[int] = msgspec.field(default_factory=Counter)
    peak_in_flight: int = 0
    size_bytes: int = 0
    refused: int = 0

    def second(self, at_s: float) -> Second:
        """The second that contains ``at_s``, from the first attempt on."""
        while len(self.seconds) <= at_s:
            self.seconds.append(Second())
        return self.seconds[int(at_s)]

    def time(self, latency_s: float, size_bytes: int) -> None:
        """Record one response."""
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
    """What limited the rate."""

    QUOTA = "quota"
    """The service, which throttled."""
    CEILING = "ceiling"
    """The ceiling, the highest rate tried: no throttling limit was reached."""
    CLIENT = "client"
    """Neither: this machine, its network or ``limits.concurrency`` allowed no more."""


class Throughput(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a measurement. All figures but the peak and the latencies are of its second half.

    Attributes:
        window_s: Length of the second half, seconds.
        measured_tps: Calls accepted by the service, a second.
        tried_tps: Attempts a second.
        throttled_share: Of the attempts, as a fraction.
        in_flight: Calls in flight, their mean.
        p50_ms: Latency that half of the responses do not exceed; ``p90_ms`` and ``p99_ms`` likewise, ``slowest_ms`` of
            all.
        concurrency: Calls in flight that the measured rate needs when responses are as slow as the slowest hundredth.
        bound: What limited the rate.
        is_steady: Whether the second half is reliable: long enough, and the rate was found before it.
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
    """The result of a measurement; None when its second half is empty.

    Args:
        samples: Complete: every attempt has ended.
        ceiling_tps: The highest rate that was tried.
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
    """The quantile ``share`` of values counted by value: the smallest that is no less than that share; 0 of none."""
    values = sorted(counted)
    needed = share * sum(counted.values())
    sums = accumulate(counted[value] for value in values)
    return next((value for value, so_far in zip(values, sums, strict=True) if so_far >= needed), 0)


def _whole_seconds(seconds: Sequence[Second]) -> Sequence[Second]:
    """The seconds before that of the last attempt, which the end of the measurement may have cut short."""
    return seconds[: max((index for index, second in enumerate(seconds) if second.attempts), default=0)]


def _bound(seconds: Sequence[Second], measured_tps: float, ceiling_tps: float) -> Bound:
    is_throttled = any(second.throttled for second in seconds)
    if measured_tps >= (SURELY if is_throttled else NEARLY) * ceiling_tps:
        return Bound.CEILING
    return Bound.QUOTA if is_throttled else Bound.CLIENT


def _found_s(whole: Sequence[Second], ceiling_tps: float) -> float:
    """When the rate was found: at the end of the ramp, or a while after the first throttle."""
    # One second at the start, one for each doubling, one for the last step.
    ramp_s = 2 + ceil(log2(ceiling_tps / START_TPS)) if ceiling_tps > START_TPS else 1
    throttled_s = next((at_s for at_s, second in enumerate(whole) if second.throttled), None)
    return ramp_s if throttled_s is None else throttled_s + SEARCH_S


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """The full result of ``bench``.

    Attributes:
        summary: Of the dry run; ``this_run`` counts what was paid for.
        throughput: None when too little was measured for a result.
        is_time_up: True when it ended because its time was over; otherwise ``summary.stop_reason`` has the reason.
    """

    bench_plan: BenchPlan
    summary: Summary
    samples: Samples
    throughput: Throughput | None
    is_time_up: bool

    @property
    def unit_tps(self) -> float | None:
        """Calls a second that one inference unit of a model takes at least; None when too little was measured."""
        unit, found = self.bench_plan.unit, self.throughput
        if unit is None or found is None or not unit.units or not found.measured_tps:
            return None
        return found.measured_tps / unit.units

    @property
    def is_unit_limit(self) -> bool:
        """Whether the units limited the rate, and neither the account's quota nor the highest rate that was tried."""
        found, quota = self.throughput, self.bench_plan.quota
        if self.unit_tps is None or found is None or not found.is_steady or found.bound is not Bound.QUOTA:
            return False
        return quota is None or found.measured_tps < NEARLY * quota.tps

    def _repr_html_(self) -> str:
        """For notebooks: what was accepted, with what latency, and the cost."""
        found, paid = self.throughput, self.summary.this_run
        rows: list[tuple[str, object]] = [("error", self.summary.error), ("hint", self.summary.hint)]
        if found is not None:
            rows += [
                ("accepted", f"{found.measured_tps:,.1f} calls a second"),
                ("tried", f"{found.tried_tps:,.1f} calls a second"),
                ("throttled", f"{100 * found.throttled_share:.2f} %"),
                ("latency", f"{found.p50_ms:,} ms at the median, {found.p99_ms:,} ms at 99 %"),
            ]
        rows.append(("cost", f"{notebook.usd(paid.spent_micros)} for {paid.billed_calls:,} billed calls"))
        return notebook.table(f"{self.summary.name}: {self.summary.stop_reason.value}", rows)
