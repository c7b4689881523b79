"""``bench``: how many calls a second the account accepts, measured on the job's own next images."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import msgspec

from asyncfilter.clock import SystemClock
from asyncfilter.engine.ending import Interrupt
from asyncfilter.engine.gauge import Gauge
from asyncfilter.engine.sampling import trial_job
from asyncfilter.engine.supervisor import HOURLY_BLOCK_S
from asyncfilter.engine.timing import run_for
from asyncfilter.engine.way import Way
from asyncfilter.errors import UsageError
from asyncfilter.events import Emit, ignore
from asyncfilter.job.spec import Job, Order
from asyncfilter.model import Progress, StopReason, Summary
from asyncfilter.policy.capacity import (
    BEYOND,
    TRIAL_S,
    Measurement,
    Trial,
    allowance_micros,
    capacity,
    price_micros,
    rounded_up,
)
from asyncfilter.wiring.planning import examine_ahead, survey
from asyncfilter.wiring.session import open_preview
from asyncfilter.wiring.world import Overrides


async def bench(
    job: Job,
    *,
    seconds_s: float = TRIAL_S,
    budget_micros: int | None = None,
    tps: float | None = None,
    overrides: Overrides | None = None,
    interrupt: Interrupt | None = None,
    on_event: Emit = ignore,
) -> Measurement:
    """Measure how many calls a second are really accepted, and with what latency, on images of the job.

    It is a dry run of the job's next images ahead of its own: their labels are paid for once, kept, and free for the
    run. Stop rules do not end it.

    Args:
        job: From ``load_job`` or ``parse_job``; ``limits.tps`` and ``limits.share`` do not bind it.
        seconds_s: Ends it that long after the first call.
        budget_micros: What it may spend, within the job's budget; by default what ``seconds_s`` cost at ``tps``.
        tps: The rate to try at the most; by default ``BEYOND`` times what Service Quotas says.
        overrides: As for ``run``, and so the others.
        interrupt: ``request`` it once to end the measurement, twice to abort.
        on_event: Told of everything that happens.

    Raises:
        UsageError: Nothing is known of the rate of a detector of your own, and ``tps`` is not given.
        AsyncFilterError: As ``run``.
    """
    trial = await propose_bench(job, seconds_s=seconds_s, budget_micros=budget_micros, tps=tps, overrides=overrides)
    return await measure(job, trial, overrides=overrides, interrupt=interrupt, on_event=on_event)


async def propose_bench(
    job: Job,
    *,
    seconds_s: float = TRIAL_S,
    budget_micros: int | None = None,
    tps: float | None = None,
    counts: bool = False,
    overrides: Overrides | None = None,
    on_listed: Callable[[int], None] | None = None,
) -> Trial:
    """The free half of ``bench``: what is told of the quota, and what measuring would cost at the most.

    ``counts`` has the whole listing counted, of which ``on_listed`` is told; other arguments and errors are those of
    ``bench``.
    """
    prospect = await survey(job, overrides=overrides, on_listed=on_listed) if counts else None
    limits, overrides = job.limits, overrides or Overrides()
    told = dataclasses.replace(job, limits=dataclasses.replace(limits, tps=None, share=1.0))
    async with open_preview(told, overrides) as opened:
        backend, held, terms = opened.inputs.primary, opened.held, opened.terms
    told_tps = backend.limit_tps or limits.tps
    ceiling_tps = tps or (backend.limit_tps or 0) * BEYOND or limits.tps
    if ceiling_tps is None:
        raise UsageError("nothing is known of the rate to try", hint="Give tps, or limits.tps in the job.")
    open_s = seconds_s + limits.timeout_s + HOURLY_BLOCK_S  # from the start of the run until its last call is answered
    whole_micros = rounded_up(price_micros(terms, math.ceil(ceiling_tps * seconds_s), open_s))
    allowance = allowance_micros(job, whole_micros if budget_micros is None else budget_micros, held.spent_micros)
    likely_tps = min(ceiling_tps, told_tps or ceiling_tps)
    return Trial(
        seconds_s=seconds_s,
        ceiling_tps=ceiling_tps,
        quota=backend.quota,
        region=backend.region,
        is_local=backend.is_local,
        allowance_micros=allowance,
        limit_micros=held.spent_micros + allowance,
        told_micros=min(allowance, price_micros(terms, math.ceil(likely_tps * seconds_s), seconds_s)),
        images=None if prospect is None else prospect.survey.calls,
    )


async def measure(
    job: Job,
    trial: Trial,
    *,
    overrides: Overrides | None = None,
    interrupt: Interrupt | None = None,
    on_event: Emit = ignore,
    on_start: Callable[[Callable[[], Progress]], None] | None = None,
) -> Measurement:
    """The paid half of ``bench``. Arguments and errors are those of ``bench`` and ``run``."""
    overrides = overrides or Overrides()
    clock = overrides.clock or SystemClock()
    gauge = Gauge(clock)

    async def examine(until: Interrupt) -> Summary:
        return await examine_ahead(
            trial_job(job, trial),
            lambda way: gauge.over(_tried(way)),
            goes_on=job.source.order is Order.LISTING,
            overrides=overrides,
            interrupt=until,
            on_event=on_event,
            on_start=on_start,
        )

    summary, is_over = await run_for(
        trial.seconds_s, examine, begun=gauge.begun, clock=clock, interrupt=interrupt or Interrupt()
    )
    return Measurement(
        trial=trial,
        summary=summary,
        reading=gauge.reading,
        capacity=capacity(gauge.reading, trial.ceiling_tps),
        is_time_up=is_over and summary.stop_reason is StopReason.COMPLETED,
    )


def _tried(way: Way) -> Way:
    """The same inputs, whose rate is the one that is tried."""
    backends = tuple(msgspec.structs.replace(backend, tps_origin="what is tried") for backend in way.backends)
    return msgspec.structs.replace(way, backends=backends)
