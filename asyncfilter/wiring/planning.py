"""``plan``: what a job would come to, and a sample of it examined ahead."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from asyncfilter.clock import SystemClock
from asyncfilter.engine.ending import Interrupt
from asyncfilter.engine.sampling import ChosenSource, sampling_job
from asyncfilter.engine.survey import Surveyor
from asyncfilter.engine.views import SampleView
from asyncfilter.engine.way import Options, Way
from asyncfilter.events import Emit, ignore
from asyncfilter.job.spec import Job
from asyncfilter.model import ListedObject, Progress, Summary
from asyncfilter.policy.drawing import Draw, Ranking
from asyncfilter.policy.estimate import Outlook, Prospect, outlook
from asyncfilter.wiring.session import open_preview, open_run
from asyncfilter.wiring.world import Overrides


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
    async with open_preview(job, overrides) as opened:
        surveyor = Surveyor(
            source=opened.inputs.source,
            check=opened.inputs.check,
            known=opened.known,
            max_attempts=job.limits.max_attempts,
            clock=overrides.clock or SystemClock(),
            draw=Draw(sample, Ranking(job.source.seed)),
            tell=on_listed,
        )
        return Prospect(survey=await surveyor.run(), held=opened.held, terms=opened.terms)


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
    async with open_run(job, overrides, interrupt=interrupt, on_event=on_event, on_start=on_start) as opened:
        view = SampleView(opened.ready.checkpoint, opened.ready.job, goes_on=goes_on)
        return await opened.examine(Options(dry_run=True), inputs=by(opened.inputs), checkpoint=view)
