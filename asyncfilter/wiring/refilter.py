"""``refilter``: changed rules and actions applied to stored labels."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack

import msgspec

from asyncfilter.engine.core.stopping import Interrupt
from asyncfilter.engine.refilter import Refilter
from asyncfilter.errors import CheckpointError
from asyncfilter.events import Emit, ignore
from asyncfilter.job.spec import Job
from asyncfilter.model import Progress, Summary
from asyncfilter.wiring.account import Account
from asyncfilter.wiring.known_answers import known_answers
from asyncfilter.wiring.located import with_known_bucket
from asyncfilter.wiring.overrides import Overrides, accepts_world, check_own_stores
from asyncfilter.wiring.session import (
    has_checkpoint,
    kept_state,
    new_context,
    sqlite,
    with_known_references,
    without_writes,
)
from asyncfilter.wiring.stores import open_sink


@accepts_world
async def refilter(
    job: Job,
    *,
    dry_run: bool = False,
    overrides: Overrides | None = None,
    interrupt: Interrupt | None = None,
    on_event: Emit = ignore,
    on_start: Callable[[Callable[[], Progress]], None] | None = None,
) -> Summary:
    """Apply the job's rules and actions to the stored labels; no detector is opened or called.

    Arguments, result and errors are those of ``run``; a dry run changes neither S3 nor the checkpoint.

    Raises:
        CheckpointError: There is no checkpoint yet, or it cannot be used.
    """
    job, overrides = without_writes(job, dry_run=dry_run), overrides or Overrides()
    check_own_stores(job, overrides, "sink")
    if overrides.checkpoint is None and not await has_checkpoint(job):
        raise CheckpointError(
            f"{job.checkpoint}: there is no checkpoint, so there are no stored labels",
            hint=f"Run the job first: asyncfilter run {job.path or 'JOB'}",
        )
    job = with_known_bucket(job)
    async with AsyncExitStack() as stack:
        context = new_context(overrides, interrupt=interrupt, on_event=on_event)
        checkpoint = overrides.checkpoint or await sqlite(job, stack, context)
        answers = await known_answers(job, checkpoint.opened.answers, overrides, stack)
        work = Refilter(
            await with_known_references(job, checkpoint),
            context=msgspec.structs.replace(context, answers=answers, state=kept_state(checkpoint)),
            checkpoint=checkpoint,
            sink=await open_sink(job, overrides, Account(job, stack)),
            dry_run=dry_run,
        )
        if on_start is not None:
            on_start(work.progress)
        return await work.run()
