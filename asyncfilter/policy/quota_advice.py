"""Advice from a measured throughput: settings for the job, and the figures of a quota request."""

from __future__ import annotations

from math import ceil

import msgspec

from asyncfilter.job.spec import Limits
from asyncfilter.policy.throughput import BenchPlan, Bound, Measurement, Throughput

SPREAD_S = 5
"""The shortest time, seconds, over which AWS spreads a peak of calls: quota = peak calls / time (Rekognition guide)."""

QUOTA_TOLERANCE = 0.05
"""Difference of quota and measured rate, as a fraction of the quota, up to which both count as equal."""

QUOTA_TOLERANCE_TPS = 0.5
"""The same difference in calls a second, for very small quotas, which are whole numbers."""

_SLOW = 0.5
"""Share of the time-out that the slowest response may take before the time-out counts as too short."""

LONGEST_TIMEOUT_S = 60.0


class AdvisedSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Values for ``limits``; None is ``auto``."""

    tps: float | None
    concurrency: int | None
    timeout_s: float


def settings(found: Measurement, limits: Limits) -> AdvisedSettings | None:
    """The settings for the measured throughput; None when the measurement is not reliable."""
    throughput = found.throughput
    if throughput is None or not throughput.is_steady:
        return None
    return AdvisedSettings(
        tps=None if is_as_quota(throughput, found.bench_plan) else _rounded(_proven_tps(throughput, found.bench_plan)),
        concurrency=limits.concurrency if (limits.concurrency or 0) >= throughput.concurrency else None,
        timeout_s=_timeout_s(throughput, limits.timeout_s),
    )


def is_as_quota(throughput: Throughput, bench_plan: BenchPlan) -> bool:
    """Whether the measurement agrees with the quota of Service Quotas."""
    if bench_plan.quota is None:
        return False
    quota_tps = bench_plan.quota.tps
    if throughput.bound is Bound.QUOTA:
        return abs(throughput.measured_tps - quota_tps) <= max(QUOTA_TOLERANCE * quota_tps, QUOTA_TOLERANCE_TPS)
    return throughput.bound is Bound.CLIENT or bench_plan.ceiling_tps <= (1 + QUOTA_TOLERANCE) * quota_tps


def _proven_tps(throughput: Throughput, bench_plan: BenchPlan) -> float:
    return bench_plan.ceiling_tps if throughput.bound is Bound.CEILING else throughput.measured_tps


def _rounded(tps: float) -> float:
    """The rate as a whole number, or with one decimal below ten a second, where a tenth matters."""
    return float(round(tps)) if tps >= 10 else max(0.1, round(tps, 1))


def _timeout_s(throughput: Throughput, timeout_s: float) -> float:
    """The present time-out, or a longer one if responses came near it."""
    slowest_s = throughput.slowest_ms / 1000
    return timeout_s if slowest_s <= _SLOW * timeout_s else max(timeout_s, min(ceil(2 * slowest_s), LONGEST_TIMEOUT_S))


class Demand(msgspec.Struct, frozen=True, kw_only=True):
    """What it takes to finish in time.

    Attributes:
        images: Still to be paid for.
        within_s: Time for them.
        needed_tps: Calls a second needed, as a whole number.
        peak_calls: Calls within ``SPREAD_S`` at that rate.
        duration_s: Time for the images at the measured rate.
        is_met: True when the measured rate is fast enough.
        is_within_quota: True when the quota of Service Quotas would be fast enough.
    """

    images: int
    within_s: float
    needed_tps: int
    peak_calls: int
    duration_s: float
    is_met: bool
    is_within_quota: bool


def demand(found: Measurement, within_s: float) -> Demand | None:
    """What it takes to finish all images within ``within_s``; None when images or rate are not known."""
    if found.bench_plan.images is None or found.throughput is None or not found.throughput.measured_tps:
        return None
    images = max(0, found.bench_plan.images - found.summary.this_run.calls)
    needed_tps = ceil(images / within_s)
    return Demand(
        images=images,
        within_s=within_s,
        needed_tps=needed_tps,
        peak_calls=needed_tps * SPREAD_S,
        duration_s=images / found.throughput.measured_tps,
        is_met=images <= found.throughput.measured_tps * within_s,
        is_within_quota=found.bench_plan.quota is not None and images <= found.bench_plan.quota.tps * within_s,
    )
