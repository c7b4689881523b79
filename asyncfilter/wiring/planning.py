"""``plan``: what a job would come to, and a sample of it examined ahead."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack

import msgspec

from asyncfilter.checkpoint import open_lookup
from asyncfilter.clock import SystemClock
from asyncfilter.engine.ending import Interrupt
from asyncfilter.engine.examine.assembly import assemble
from asyncfilter.engine.references import Errand
from asyncfilter.engine.sampling import ChosenSource, sampling_job
from asyncfilter.engine.survey import Known, Surveyor, nothing_known, what_is_held
from asyncfilter.engine.views import SampleView
from asyncfilter.engine.way import Options, Way
from asyncfilter.events import Emit, ignore
from asyncfilter.job.fingerprint import identity
from asyncfilter.job.spec import Job, PriceTier
from asyncfilter.model import ListedObject, Progress, Summary
from asyncfilter.policy.drawing import Draw, Ranking
from asyncfilter.policy.estimate import Held, Outlook, Prospect, Terms, outlook
from asyncfilter.policy.pricing import PriceList
from asyncfilter.wiring.checkpoints import existing_checkpoint, sqlite
from asyncfilter.wiring.references import resolve
from asyncfilter.wiring.ways import open_way
from asyncfilter.wiring.world import Overrides, new_run_id


async def plan(
    job: Job,
    *,
    sample: int = 0,
    overrides: Overrides | None = None,
    interrupt: Interrupt | None = None,
    on_event: Emit = ignore,
) -> Outlook:
    """What a job would come to: what is listed and skipped, and a forecast of cost and time.

    Without a sample nothing is paid and nothing is written. ``sample`` images drawn at random are paid for within the
    budget and kept in the checkpoint, so that the job's own run has them for nothing.

    Arguments and errors are those of ``run``.
    """
    prospect = await survey(job, sample=sample, overrides=overrides)
    if not prospect.survey.drawn:
        return outlook(job, prospect)
    drawn = prospect.survey.drawn
    return outlook(
        job, prospect, await examine_sample(job, drawn, overrides=overrides, interrupt=interrupt, on_event=on_event)
    )


async def survey(
    job: Job, *, sample: int = 0, overrides: Overrides | None = None, on_listed: Callable[[int], None] | None = None
) -> Prospect:
    """The free half of ``plan``: the whole listing, and ``sample`` images drawn from it by ``source.seed``.

    Args:
        job: From ``load_job`` or ``parse_job``.
        sample: Images to draw.
        overrides: Your own source or checkpoint.
        on_listed: Told after every page how many objects were listed.

    Raises:
        CheckpointError: There is a checkpoint that this job cannot use.
        AccessError: The source cannot be listed.
    """
    overrides = overrides or Overrides()
    async with AsyncExitStack() as stack:
        held, known = await _held(job, overrides, stack)
        way, _ = await stack.enter_async_context(open_way(job, overrides, pays=False))
        surveyor = Surveyor(
            source=way.source,
            check=way.check,
            known=known,
            max_attempts=job.limits.max_attempts,
            clock=overrides.clock or SystemClock(),
            draw=Draw(sample, Ranking(job.source.seed)),
            tell=on_listed,
        )
        return Prospect(survey=await surveyor.run(), held=held, terms=_terms(job, way, held))


async def examine_sample(
    job: Job,
    drawn: Sequence[ListedObject],
    *,
    overrides: Overrides | None = None,
    interrupt: Interrupt | None = None,
    on_event: Emit = ignore,
    on_start: Callable[[Callable[[], Progress]], None] | None = None,
) -> Summary:
    """The paid half of ``plan``: examine ``drawn`` in its order and keep the labels.

    Returns:
        The summary; ``this_run`` counts the sample alone, images whose labels were known among it.

    Raises:
        As ``run``.
    """
    return await examine_ahead(
        sampling_job(job),
        lambda way: msgspec.structs.replace(way, source=ChosenSource(drawn)),
        overrides=overrides or Overrides(),
        interrupt=interrupt,
        on_event=on_event,
        on_start=on_start,
    )


async def examine_ahead(
    job: Job,
    by: Callable[[Way], Way],
    *,
    goes_on: bool = False,
    overrides: Overrides,
    interrupt: Interrupt | None,
    on_event: Emit,
    on_start: Callable[[Callable[[], Progress]], None] | None,
) -> Summary:
    """A dry run ahead of the job's own, by another way; its labels are kept, and nothing else of it stays.

    The job is given as it is examined, and ``by`` makes the way to take of the job's own. With ``goes_on`` the listing
    begins where the job's has come to. Other arguments and errors are those of ``run``.
    """
    async with AsyncExitStack() as stack:
        checkpoint = await existing_checkpoint(job, overrides, stack)
        way, sink = await stack.enter_async_context(open_way(job, overrides))
        checkpoint = checkpoint or await sqlite(job, stack)
        run_id = new_run_id()
        errand = Errand(
            run_id=run_id,
            emit=on_event,
            clock=overrides.clock or SystemClock(),
            interrupt=interrupt,
            on_start=on_start,
        )
        ready = await resolve(job, checkpoint, way, overrides, errand)
        if ready.ended is not None:
            return ready.ended
        pipeline = assemble(
            ready.job,
            run_id=run_id,
            checkpoint=SampleView(ready.checkpoint, ready.job, goes_on=goes_on),
            since=checkpoint.opened.totals,
            sink=sink,
            way=by(way),
            options=Options(dry_run=True),
            interrupt=interrupt,
            emit=ready.emit,
            clock=overrides.clock,
        )
        if on_start is not None:
            on_start(pipeline.progress)
        return await pipeline.run()


async def _held(job: Job, overrides: Overrides, stack: AsyncExitStack) -> tuple[Held, Known]:
    """What the checkpoint holds, and how to ask it about keys; it is neither held nor changed."""
    if overrides.checkpoint is not None:
        opened = overrides.checkpoint.opened
        return what_is_held(opened.totals, opened.watermark.tally), overrides.checkpoint.by_keys
    if not job.checkpoint.exists():
        return Held(), nothing_known
    lookup = await stack.enter_async_context(open_lookup(job.checkpoint, identity(job)))
    return what_is_held(lookup.status.totals, lookup.status.watermark.tally), lookup.by_keys


def _terms(job: Job, way: Way, held: Held) -> Terms:
    free = PriceList(tiers=(PriceTier(up_to=None, micros=0),), source="a detector of your own")
    return Terms(
        prices=way.primary.prices or free,
        used=job.pricing.used_this_month + held.billed_calls,
        hourly_micros=way.primary.hourly_micros,
        limit_tps=way.primary.limit_tps,
        tps_origin=way.primary.tps_origin,
    )
