"""``plan``: the expected result of a job, and a sample that is examined before its run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from random import Random

import msgspec

from asyncfilter.clock import Clock, SystemClock
from asyncfilter.engine.core.retry import Repeater, full_pause
from asyncfilter.engine.core.stopping import Interrupt
from asyncfilter.engine.examine.empty_listing import EmptyListing
from asyncfilter.engine.examine.inputs import Options, RunInputs
from asyncfilter.engine.preview.jobs import sampling_job
from asyncfilter.engine.preview.list_source import ChosenSource
from asyncfilter.engine.preview.overlays import SampleView
from asyncfilter.engine.preview.survey import Surveyor
from asyncfilter.events import Emit, ignore
from asyncfilter.job.spec import Job
from asyncfilter.model import ListedObject, NothingFound, Progress, Summary
from asyncfilter.policy.forecast import ListingSurvey, PlanInputs, PlanResult, plan_result
from asyncfilter.policy.sampling import Ranking, Sampler
from asyncfilter.wiring.lists import in_preview_order
from asyncfilter.wiring.located import with_bucket
from asyncfilter.wiring.overrides import Overrides, accepts_world
from asyncfilter.wiring.references import unusable_references
from asyncfilter.wiring.session import open_preview, open_run


@accepts_world
async def plan(
    job: Job,
    *,
    sample: int = 0,
    overrides: Overrides | None = None,
    interrupt: Interrupt | None = None,
    on_event: Emit = ignore,
) -> PlanResult:
    """The expected result of a job: what is listed and skipped, and a forecast of cost and time.

    Without a sample nothing is paid and nothing is written. ``sample`` images drawn at random are paid for within the
    budget; their labels are kept in the checkpoint, and are free for the job's own run.

    Arguments and errors are those of ``run``.
    """
    plan_inputs = await survey(job, sample=sample, overrides=overrides)
    if not plan_inputs.survey.drawn:
        return plan_result(job, plan_inputs)
    drawn = plan_inputs.survey.drawn
    return plan_result(
        job, plan_inputs, await examine_sample(job, drawn, overrides=overrides, interrupt=interrupt, on_event=on_event)
    )


async def survey(
    job: Job, *, sample: int = 0, overrides: Overrides | None = None, on_listed: Callable[[int], None] | None = None
) -> PlanInputs:
    """The free half of ``plan``: the whole listing, and ``sample`` images drawn from it by ``source.seed``.

    Args:
        job: From ``load_job`` or ``parse_job``.
        sample: Images to draw.
        overrides: Your own source or checkpoint.
        on_listed: Called after every page with the number of objects listed so far.

    Raises:
        CheckpointError: The existing checkpoint cannot be used by this job.
        AccessError: The source cannot be listed.
    """
    overrides = overrides or Overrides()
    async with open_preview(job, overrides) as opened:
        clock = overrides.clock or SystemClock()
        surveyor = Surveyor(
            source=opened.inputs.source,
            check=opened.inputs.check,
            known=opened.known,
            max_attempts=job.limits.max_attempts,
            clock=clock,
            sampler=Sampler(sample, Ranking(job.source.seed)),
            on_listed=on_listed,
            shares_content=not job.source.examine_duplicates,
            ranges=1 if opened.inputs.origin else job.source.ranges,
            prefix=job.source.prefix,
        )
        found = await surveyor.run()
        has_images = found.candidates or opened.checkpoint_totals.images
        nothing = None if has_images else await _explained(job, opened.inputs, found, clock)
        unusable = await unusable_references(job, overrides, clock)
        return PlanInputs(
            survey=found,
            checkpoint_totals=opened.checkpoint_totals,
            terms=opened.terms,
            cautions=(
                *opened.cautions,
                *opened.name_cautions,
                *unusable,
                *([] if nothing is None else [f"nothing to examine: {nothing.message}"]),
            ),
            name_cautions=opened.name_cautions,
            nothing=nothing,
            thresholds_pct=opened.thresholds_pct,
            answers=opened.answers,
        )


async def _explained(job: Job, inputs: RunInputs, found: ListingSurvey, clock: Clock) -> NothingFound:
    """Why a run would have nothing to examine."""
    empty_listing = EmptyListing(
        job.source,
        source=inputs.source,
        places=inputs.places,
        check=inputs.check,
        repeat=Repeater(max_attempts=job.limits.max_attempts, pause=full_pause(clock), rng=Random()),
    )
    return await empty_listing.explain(found.listed, found.skipped, found.skipped_keys)


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
        The summary; ``this_run`` counts the sample alone, including images whose labels were stored already.

    Raises:
        As ``run``.
    """
    return await examine_ahead(
        sampling_job(job),
        lambda inputs: msgspec.structs.replace(inputs, source=ChosenSource(drawn)),
        overrides=overrides or Overrides(),
        interrupt=interrupt,
        on_event=on_event,
        on_start=on_start,
    )


async def examine_ahead(
    job: Job,
    by: Callable[[RunInputs], RunInputs],
    *,
    goes_on: bool = False,
    overrides: Overrides,
    interrupt: Interrupt | None,
    on_event: Emit,
    on_start: Callable[[Callable[[], Progress]], None] | None,
) -> Summary:
    """A dry run before the job's own run, with changed inputs; it stores its labels and nothing else.

    ``job`` is the job to examine, and ``by`` returns the inputs to use for the job's own inputs. With ``goes_on`` the
    listing starts at the job's cursor. Other arguments and errors are those of ``run``.
    """
    job = await with_bucket(job, has_own_detector=overrides.detector is not None)
    async with (
        AsyncExitStack() as stack,
        open_run(job, overrides, interrupt=interrupt, on_event=on_event, on_start=on_start) as opened,
    ):
        view = SampleView(opened.ready.checkpoint, opened.ready.job, goes_on=goes_on)
        inputs = by(await in_preview_order(job.source, opened.inputs, stack))
        return await opened.examine(Options(dry_run=True, is_preview=True), inputs=inputs, checkpoint=view)
