"""Cautions that depend on more than the job: on prices, on the rate, and on what the checkpoint holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from asyncfilter.job.fingerprint import decided_by
from asyncfilter.job.spec import Job
from asyncfilter.model import StopReason
from asyncfilter.policy.billing_month import USED_IS_OLD
from asyncfilter.policy.stopping import stop_due
from asyncfilter.records.tally import Tally

_USED = "pricing.used_this_month"
_LEAST_TPS = 0.1
_FASTEST_S = 0.1
"""Time of a fast call of the service, seconds; most take longer."""

_LIMITS = {
    StopReason.MATCHES: ("stop.matches", "raise it to go on"),
    StopReason.MISSES_IN_A_ROW: ("stop.misses_in_a_row", "raise it to go on"),
    StopReason.HIT_RATE: ("stop.hit_rate", "lower it to go on"),
    StopReason.ERRORS: ("stop.errors", "remove the cause and use --retry-failed"),
    StopReason.MAX_IMAGES: ("limits.max_images", "raise it to go on"),
}


LIST_CHANGED = (
    "the list is not the one of the last run: it is read anew from its start; what is new in it is examined after the "
    "images that are known, and those are not paid for again"
)


class AtStart(msgspec.Struct, frozen=True, kw_only=True):
    """What is known when a run or a plan of it begins.

    Attributes:
        price_micros: What the next image costs; 0 where images cost nothing.
        spent_micros: What counts as spent so far.
        limit_tps: Calls a second; None when it is not known.
        is_service: True for a service of AWS, False for a detector of the caller's own.
        stop: The stop rule that holds already; see ``stop_at_start``.
        old_used: Lanes whose ``used_this_month`` is of an earlier month, and not counted; an empty name without lanes.
        is_list_changed: True when the list is not the one that the last run read.
        of_places: Cautions about the places that the job reads and writes.
    """

    price_micros: int
    spent_micros: int
    limit_tps: float | None
    is_service: bool = True
    stop: StopReason | None = None
    old_used: tuple[str, ...] = ()
    is_list_changed: bool = False
    of_places: tuple[str, ...] = ()


def stop_at_start(job: Job, tally: Tally, decided: str | None) -> StopReason | None:
    """The stop rule that holds for the images examined so far, or None.

    Args:
        job: The job.
        tally: The counts of the checkpoint.
        decided: Fingerprint of the job that made the decisions. When it is another, stored images are decided again
            first, and what will hold then is not known here.
    """
    return stop_due(tally, job.stop, job.limits) if tally.examined and decided == decided_by(job) else None


def start_warnings(job: Job, start: AtStart) -> list[str]:
    """One sentence each, beside those of ``job_warnings``."""
    return [
        *start.of_places,
        *_old_used(job, start.old_used),
        *([LIST_CHANGED] if start.is_list_changed else []),
        *_stops(start),
        *_money(job, start),
        *_rate(job, start),
    ]


def _old_used(job: Job, names: Sequence[str]) -> Iterator[str]:
    """A sentence for each key; that of ``pricing`` holds for all lanes of the job's own credentials."""
    keys: dict[str, list[str]] = {}
    for index, lane in enumerate(job.detector.lanes):
        if lane.name in names:
            is_of_pricing = lane.is_own and lane.used_this_month == job.pricing.used_this_month
            keys.setdefault(_USED if is_of_pricing else f"detector.lanes[{index}].used_this_month", []).append(
                lane.name
            )
    for key, lanes in keys.items():
        yield USED_IS_OLD.format(f"{key} ({'lane' if len(lanes) == 1 else 'lanes'} {', '.join(lanes)})")
    if names and not job.detector.lanes:
        yield USED_IS_OLD.format(_USED)


def _stops(start: AtStart) -> Iterator[str]:
    if start.stop is not None:
        key, remedy = _LIMITS[start.stop]
        yield f"{key} holds already for the images in the checkpoint: the run ends at once; {remedy}"


def _money(job: Job, start: AtStart) -> Iterator[str]:
    budget_micros = job.limits.budget_micros
    if not budget_micros or not start.price_micros or budget_micros - start.spent_micros >= start.price_micros:
        return
    price = f"one image costs ${_usd(start.price_micros)}"
    if start.spent_micros:
        yield f"limits.budget_usd: {_usd(budget_micros)} is spent ({price}): no image is paid for; raise it to go on"
    else:
        yield f"limits.budget_usd: {_usd(budget_micros)} pays for no image ({price}); raise it"


def _rate(job: Job, start: AtStart) -> Iterator[str]:
    limits, tps = job.limits, start.limit_tps
    if tps is None:
        return
    if tps < _LEAST_TPS and (limits.tps is not None or limits.share < 1):
        yield (
            f"limits.tps and limits.share allow {tps:g} calls a second, one in {1 / tps:,.0f} seconds: a thousand "
            f"images take {1000 / tps / 3600:,.1f} hours"
        )
    if start.is_service and limits.concurrency is not None and limits.concurrency / tps < _FASTEST_S:
        yield (
            f"limits.concurrency: {limits.concurrency} is too low for {tps:g} calls a second: each would have to end "
            f"within {1000 * limits.concurrency / tps:.0f} ms; leave it auto"
        )


def _usd(micros: int) -> str:
    return f"{micros / 1_000_000:.6f}".rstrip("0").rstrip(".")
