"""What follows from a measured capacity: settings for the job, and the figures of a quota request."""

from __future__ import annotations

from math import ceil

import msgspec

from asyncfilter.job.spec import Limits
from asyncfilter.policy.capacity import Bound, Capacity, Measurement, Trial

SPREAD_S = 5
"""Seconds over which AWS spreads a peak of calls at the least: a quota is peak calls by spread (Rekognition guide)."""

AS_TOLD = 0.05
"""Difference between told and accepted, as a fraction of what was told, up to which both are the same."""

AS_TOLD_TPS = 0.5
"""The same where quotas are tiny: they are whole numbers."""

_SLOW = 0.5
"""Share of the time-out that the slowest answer may take before the time-out is too short."""

LONGEST_TIMEOUT_S = 60.0


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Values for ``limits``; None is ``auto``."""

    tps: float | None
    concurrency: int | None
    timeout_s: float


def settings(found: Measurement, limits: Limits) -> Settings | None:
    """The settings under which the job uses what was measured; None when that cannot be believed."""
    capacity = found.capacity
    if capacity is None or not capacity.is_steady:
        return None
    return Settings(
        tps=None if is_as_told(capacity, found.trial) else _rounded(_proven_tps(capacity, found.trial)),
        concurrency=limits.concurrency if (limits.concurrency or 0) >= capacity.concurrency else None,
        timeout_s=_timeout_s(capacity, limits.timeout_s),
    )


def is_as_told(capacity: Capacity, trial: Trial) -> bool:
    """Whether nothing that was measured speaks against the quota that was told."""
    if trial.quota is None:
        return False
    told_tps = trial.quota.tps
    if capacity.bound is Bound.QUOTA:
        return abs(capacity.accepted_tps - told_tps) <= max(AS_TOLD * told_tps, AS_TOLD_TPS)
    return capacity.bound is Bound.CLIENT or trial.ceiling_tps <= (1 + AS_TOLD) * told_tps


def _proven_tps(capacity: Capacity, trial: Trial) -> float:
    return trial.ceiling_tps if capacity.bound is Bound.CEILING else capacity.accepted_tps


def _rounded(tps: float) -> float:
    """Quotas are whole numbers; below ten a second, a tenth still matters."""
    return float(round(tps)) if tps >= 10 else max(0.1, round(tps, 1))


def _timeout_s(capacity: Capacity, timeout_s: float) -> float:
    """The time-out there is, unless answers came near it."""
    slowest_s = capacity.slowest_ms / 1000
    return timeout_s if slowest_s <= _SLOW * timeout_s else max(timeout_s, min(ceil(2 * slowest_s), LONGEST_TIMEOUT_S))


class Demand(msgspec.Struct, frozen=True, kw_only=True):
    """What finishing in time takes.

    Attributes:
        images: Still to be paid for.
        within_s: Time for them.
        needed_tps: Calls a second that this takes, as a whole number.
        peak_calls: Calls that arrive within ``SPREAD_S`` at that rate.
        duration_s: What they take at the rate that was accepted.
        is_met: True when that is fast enough already.
        is_told: True when the quota that is told would be fast enough.
    """

    images: int
    within_s: float
    needed_tps: int
    peak_calls: int
    duration_s: float
    is_met: bool
    is_told: bool


def demand(found: Measurement, within_s: float) -> Demand | None:
    """What finishing all images within ``within_s`` takes; None when images or rate are not known."""
    if found.trial.images is None or found.capacity is None or not found.capacity.accepted_tps:
        return None
    images = max(0, found.trial.images - found.summary.this_run.calls)
    needed_tps = ceil(images / within_s)
    return Demand(
        images=images,
        within_s=within_s,
        needed_tps=needed_tps,
        peak_calls=needed_tps * SPREAD_S,
        duration_s=images / found.capacity.accepted_tps,
        is_met=images <= found.capacity.accepted_tps * within_s,
        is_told=found.trial.quota is not None and images <= found.trial.quota.tps * within_s,
    )
