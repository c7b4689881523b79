"""``bench``: how many calls a second the account accepts, measured on the job's own next images."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from contextlib import AsyncExitStack

import msgspec

from asyncfilter.clock import SystemClock
from asyncfilter.engine.core.stopping import Interrupt
from asyncfilter.engine.core.watchdog import HOURLY_BLOCK_S
from asyncfilter.engine.examine.inputs import RunInputs
from asyncfilter.engine.preview.jobs import bench_job
from asyncfilter.engine.preview.probe import Probe
from asyncfilter.engine.preview.timed import run_for
from asyncfilter.errors import UsageError
from asyncfilter.events import Emit, ignore
from asyncfilter.job.spec import Job, Order
from asyncfilter.model import Progress, StopReason, Summary
from asyncfilter.policy.detectors import PROFILES
from asyncfilter.policy.rate import HIGHEST_TPS
from asyncfilter.policy.throughput import (
    BENCH_S,
    BEYOND,
    BenchPlan,
    Measurement,
    allowance_micros,
    price_micros,
    rounded_up,
    throughput,
)
from asyncfilter.policy.units import LIKELY_START_S, LONGEST_START_S
from asyncfilter.wiring.known_model import keep
from asyncfilter.wiring.located import with_bucket
from asyncfilter.wiring.overrides import Overrides, accepts_world
from asyncfilter.wiring.plan import examine_ahead, survey
from asyncfilter.wiring.session import open_preview, sqlite


@accepts_world
async def bench(
    job: Job,
    *,
    seconds_s: float = BENCH_S,
    budget_micros: int | None = None,
    tps: float | None = None,
    overrides: Overrides | None = None,
    interrupt: Interrupt | None = None,
    on_event: Emit = ignore,
) -> Measurement:
    """Measure how many calls a second are really accepted, and with what latency, on images of the job.

    The measurement is a dry run over the job's next images: their labels are paid for once, kept, and free for the
    job's own run. Stop rules do not end it.

    Args:
        job: From ``load_job`` or ``parse_job``; ``limits.tps`` and ``limits.share`` do not bind it.
        seconds_s: Duration of the measurement from the first call on, seconds.
        budget_micros: Most that it may spend, within the job's budget; by default the cost of ``seconds_s`` at ``tps``.
        tps: Highest rate to try, calls a second; by default ``BEYOND`` times the value in Service Quotas, and for a
            model on this machine without limit.
        overrides: As for ``run``.
        interrupt: ``request`` it once to end the measurement, twice to abort.
        on_event: Called with every event.

    Raises:
        UsageError: The rate of a detector of your own is not known, and ``tps`` is not given.
        AsyncFilterError: As ``run``.
    """
    bench_plan = await propose_bench(
        job, seconds_s=seconds_s, budget_micros=budget_micros, tps=tps, overrides=overrides
    )
    return await measure(job, bench_plan, overrides=overrides, interrupt=interrupt, on_event=on_event)


async def propose_bench(
    job: Job,
    *,
    seconds_s: float = BENCH_S,
    budget_micros: int | None = None,
    tps: float | None = None,
    counts: bool = False,
    overrides: Overrides | None = None,
    on_listed: Callable[[int], None] | None = None,
) -> BenchPlan:
    """The free half of ``bench``: the quota, and the highest cost of the measurement.

    With ``counts`` the whole listing is counted, and ``on_listed`` is called after every page with the number of
    objects so far; other arguments and errors are those of ``bench``.
    """
    plan_inputs = await survey(job, overrides=overrides, on_listed=on_listed) if counts else None
    if job.detector.lanes:
        region = job.detector.lanes[0].region
        raise UsageError(
            "bench measures one region of one account, and the job has detector.lanes",
            hint=f"Add --set detector.lanes=null --set detector.region={region} to measure that region.",
        )
    limits, overrides = job.limits, overrides or Overrides()
    at_quota = dataclasses.replace(job, limits=dataclasses.replace(limits, tps=None, share=1.0))
    async with open_preview(at_quota, overrides) as opened:
        backend, checkpoint_totals, terms = opened.inputs.primary, opened.checkpoint_totals, opened.terms
    quota_tps = backend.limit_tps or limits.tps
    # What a model on this machine can do, only the measurement shows.
    unlimited = None if PROFILES[job.detector.kind].is_service or overrides.detector is not None else HIGHEST_TPS
    ceiling_tps = tps or (backend.limit_tps or 0) * BEYOND or unlimited or limits.tps
    if ceiling_tps is None:
        raise UsageError("the rate to try is not known", hint="Set tps, or limits.tps in the job.")
    longest_s, likely_s = (0.0, 0.0) if job.detector.start is None else (LONGEST_START_S, LIKELY_START_S)
    # From the start of the run, which may have to start its model, until its last call is answered.
    open_s = longest_s + seconds_s + limits.timeout_s + HOURLY_BLOCK_S
    whole_micros = rounded_up(price_micros(terms, math.ceil(ceiling_tps * seconds_s), open_s))
    allowance = allowance_micros(
        job, whole_micros if budget_micros is None else budget_micros, checkpoint_totals.spent_micros
    )
    likely_tps = min(ceiling_tps, quota_tps or ceiling_tps)
    return BenchPlan(
        seconds_s=seconds_s,
        ceiling_tps=ceiling_tps,
        quota=backend.quota,
        region=backend.region,
        is_local=backend.is_local,
        allowance_micros=allowance,
        limit_micros=checkpoint_totals.spent_micros + allowance,
        quota_micros=min(allowance, price_micros(terms, math.ceil(likely_tps * seconds_s), likely_s + seconds_s)),
        images=None if plan_inputs is None else plan_inputs.survey.calls,
        unit=None if terms.unit is None else msgspec.structs.replace(terms.unit, wanted_tps=limits.usable_tps),
    )


async def measure(
    job: Job,
    bench_plan: BenchPlan,
    *,
    overrides: Overrides | None = None,
    interrupt: Interrupt | None = None,
    on_event: Emit = ignore,
    on_start: Callable[[Callable[[], Progress]], None] | None = None,
) -> Measurement:
    """The paid half of ``bench``. Arguments and errors are those of ``bench`` and ``run``."""
    overrides = overrides or Overrides()
    clock = overrides.clock or SystemClock()
    probe = Probe(clock)

    async def examine(until: Interrupt) -> Summary:
        return await examine_ahead(
            bench_job(job, bench_plan),
            lambda inputs: probe.wrap(_tried(inputs)),
            goes_on=job.source.order is Order.LISTING and job.source.listed is None,
            overrides=overrides,
            interrupt=until,
            on_event=on_event,
            on_start=on_start,
        )

    summary, is_over = await run_for(
        bench_plan.seconds_s, examine, begun=probe.begun, clock=clock, interrupt=interrupt or Interrupt()
    )
    found = Measurement(
        bench_plan=bench_plan,
        summary=summary,
        samples=probe.samples,
        throughput=throughput(probe.samples, bench_plan.ceiling_tps),
        is_time_up=is_over and summary.stop_reason is StopReason.COMPLETED,
    )
    # A state in S3 is not owned by a benchmark.
    if found.is_unit_limit and overrides.checkpoint is None and job.state is None:
        await _keep_unit_tps(job, found.unit_tps)
    return found


async def _keep_unit_tps(job: Job, unit_tps: float | None) -> None:
    """Store what a unit of the model takes, for ``plan``."""
    async with AsyncExitStack() as stack:
        checkpoint = await sqlite(await with_bucket(job), stack)
        known = checkpoint.opened.model
        await keep(checkpoint, msgspec.structs.replace(known, unit_tps=unit_tps), known)


def _tried(inputs: RunInputs) -> RunInputs:
    """The same inputs, with the rate of the bench as the origin of the limit."""
    backends = tuple(msgspec.structs.replace(backend, tps_origin="rate to try") for backend in inputs.backends)
    return msgspec.structs.replace(inputs, backends=backends)
