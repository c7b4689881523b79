"""``run`` and ``refilter``: the program's two main verbs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack

import msgspec

from asyncfilter.checkpoint import set_aside
from asyncfilter.engine.ending import Interrupt
from asyncfilter.engine.refilter import Refilter
from asyncfilter.engine.shuffle import ShuffledSource
from asyncfilter.engine.way import Options
from asyncfilter.errors import CheckpointError
from asyncfilter.events import Emit, ignore
from asyncfilter.job.spec import Job, Order
from asyncfilter.model import Progress, Summary
from asyncfilter.wiring.account import Account
from asyncfilter.wiring.session import open_run, sqlite, with_known_references
from asyncfilter.wiring.stores import open_sink
from asyncfilter.wiring.world import Overrides, check_own_stores, new_run_id


async def run(
    job: Job,
    *,
    fresh: bool = False,
    dry_run: bool = False,
    retry_failed: bool = False,
    counts_ahead: bool = False,
    overrides: Overrides | None = None,
    interrupt: Interrupt | None = None,
    on_event: Emit = ignore,
    on_start: Callable[[Callable[[], Progress]], None] | None = None,
) -> Summary:
    """Run a job, or resume it when its checkpoint exists.

    Args:
        job: From ``load_job`` or ``parse_job``.
        fresh: Move an existing checkpoint aside (it is never deleted) and start anew.
        dry_run: Pay for labels and keep them, but write nothing to S3.
        retry_failed: Try failed images again first.
        counts_ahead: Count the listing while the run goes on, so that its progress tells how much is left.
        overrides: Your own source, detector, sink or checkpoint.
        interrupt: ``request`` it once to drain, twice to abort.
        on_event: Told of everything that happens, in the event loop: return quickly.
        on_start: Given a function that tells the progress, once there is any.

    Returns:
        The summary. A run that ended for a reason of its own (limits, stop rules, breaker, denied access in the
        middle) says so in ``stop_reason``, ``error`` and ``exit_code`` instead of raising.

    Raises:
        CheckpointError: The checkpoint cannot be used.
        AccessError: The job cannot start: credentials, permission, bucket or region.
        AbortedError: ``interrupt`` was requested twice.
    """
    overrides = overrides or Overrides()
    check_own_stores(job, overrides, "source", "detector", "sink")
    if fresh and job.checkpoint.exists():
        set_aside(job.checkpoint)
    async with open_run(job, overrides, interrupt=interrupt, on_event=on_event, on_start=on_start) as opened:
        inputs = opened.inputs
        if job.source.order is Order.RANDOM:
            shuffled = ShuffledSource(inputs.source, opened.stored, job.source.seed)
            inputs = msgspec.structs.replace(inputs, source=shuffled)
        options = Options(dry_run=dry_run, retry_failed=retry_failed, counts_ahead=counts_ahead)
        return await opened.examine(options, inputs=inputs)


async def refilter(
    job: Job,
    *,
    dry_run: bool = False,
    overrides: Overrides | None = None,
    interrupt: Interrupt | None = None,
    on_event: Emit = ignore,
    on_start: Callable[[Callable[[], Progress]], None] | None = None,
) -> Summary:
    """Apply the job's rules and actions to the stored labels; the detector cannot be called.

    Arguments, result and errors are those of ``run``; a dry run changes neither S3 nor the checkpoint.

    Raises:
        CheckpointError: There is none yet, or it cannot be used.
    """
    overrides = overrides or Overrides()
    check_own_stores(job, overrides, "sink")
    if overrides.checkpoint is None and not job.checkpoint.exists():
        raise CheckpointError(
            f"{job.checkpoint}: there is no checkpoint to take labels from",
            hint=f"Run the job first: asyncfilter run {job.path or 'JOB'}",
        )
    async with AsyncExitStack() as stack:
        checkpoint = overrides.checkpoint or await sqlite(job, stack)
        pipeline = Refilter(
            await with_known_references(job, checkpoint),
            run_id=new_run_id(),
            checkpoint=checkpoint,
            sink=await open_sink(job, overrides, Account(job, stack)),
            dry_run=dry_run,
            interrupt=interrupt,
            emit=on_event,
            clock=overrides.clock,
        )
        if on_start is not None:
            on_start(pipeline.progress)
        return await pipeline.run()
