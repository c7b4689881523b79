"""``run``: the program's main verb."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from asyncfilter.checkpoint import archive_checkpoint, checkpoint_exists, read_uid
from asyncfilter.engine.core.stopping import Interrupt
from asyncfilter.engine.examine.inputs import Options
from asyncfilter.errors import CheckpointError
from asyncfilter.events import Emit, ignore
from asyncfilter.job.spec import Job
from asyncfilter.model import Progress, Summary
from asyncfilter.wiring.lists import in_order
from asyncfilter.wiring.located import with_bucket
from asyncfilter.wiring.overrides import Overrides, accepts_world, check_own_stores
from asyncfilter.wiring.session import open_run, without_writes


@accepts_world
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
        fresh: Move an existing checkpoint aside (it is not deleted) and start again.
        dry_run: Pay for labels and keep them, but write nothing to S3.
        retry_failed: Try failed images again first.
        counts_ahead: Count the listing while the run goes on, so that its progress includes how much is left.
        overrides: Your own source, detector, sink or checkpoint.
        interrupt: ``request`` it once to drain, twice to abort.
        on_event: Called with every event, in the event loop: it must return quickly.
        on_start: Called once, when there is progress, with a function that returns it.

    Returns:
        The summary. A run that ended early (limits, stop rules, breaker, access denied after its start) does not raise:
        the reason is in ``stop_reason``, ``error`` and ``exit_code``.

    Raises:
        CheckpointError: The checkpoint cannot be used.
        AccessError: The job cannot start: credentials, permission, bucket or region.
        AbortedError: ``interrupt`` was requested twice.
    """
    job, overrides = without_writes(job, dry_run=dry_run), overrides or Overrides()
    check_own_stores(job, overrides, "source", "detector", "sink")
    job = await with_bucket(job, has_own_detector=overrides.detector is not None)
    replaced_uid = None
    if fresh and job.state is None and checkpoint_exists(job.checkpoint):
        with suppress(CheckpointError):  # a file that cannot be read is moved aside, too
            replaced_uid = read_uid(job.checkpoint)
        archive_checkpoint(job.checkpoint)
    async with open_run(
        job,
        overrides,
        interrupt=interrupt,
        on_event=on_event,
        on_start=on_start,
        fresh=fresh,
        replaced_uid=replaced_uid,
    ) as opened:
        inputs = in_order(job.source, opened.inputs, opened.stored)
        options = Options(dry_run=dry_run, retry_failed=retry_failed, counts_ahead=counts_ahead)
        return await opened.examine(options, inputs=inputs)
