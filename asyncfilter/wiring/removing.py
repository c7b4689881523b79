"""``apply`` and ``undo``: out of the source, and back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from asyncfilter.clock import SystemClock
from asyncfilter.engine.core.run_context import RunContext
from asyncfilter.engine.ending import Interrupt
from asyncfilter.engine.removal.apply import Apply
from asyncfilter.engine.removal.runner import carry_out
from asyncfilter.engine.removal.stages import AT_ONCE
from asyncfilter.engine.removal.stale_copies import Clear
from asyncfilter.engine.removal.undo import Undo
from asyncfilter.errors import CheckpointError
from asyncfilter.events import Emit, ignore
from asyncfilter.job.spec import Job
from asyncfilter.policy.removal import BucketState, Consent, RemovalPlan, RemovalSummary
from asyncfilter.ports import Checkpoint, Remover
from asyncfilter.wiring.account import LEAST_IN_FLIGHT, Account
from asyncfilter.wiring.session import existing_checkpoint, with_known_references
from asyncfilter.wiring.stores import open_remover
from asyncfilter.wiring.world import Overrides, check_own_stores, new_run_id


async def plan_apply(
    job: Job, *, again: bool = False, stale: bool = False, overrides: Overrides | None = None
) -> RemovalPlan:
    """What ``apply`` would take out of the source; nothing is changed.

    Args:
        job: Whose decisions.
        again: Propose also images that were brought back under these same decisions.
        stale: Instead, the copies that the decisions no longer make.
        overrides: Your own remover or checkpoint.

    Raises:
        UsageError: The stored decisions are of other rules or actions.
        CheckpointError: There is none, or it cannot be used.
        AccessError: The source cannot be reached.
    """
    async with _open_removal(job, overrides) as (resolved_job, checkpoint, remover):
        return await _apply(resolved_job, checkpoint, await remover.state(), again=again, stale=stale).plan()


async def apply(
    job: Job,
    consent: Consent,
    *,
    again: bool = False,
    stale: bool = False,
    overrides: Overrides | None = None,
    interrupt: Interrupt | None = None,
    on_event: Emit = ignore,
) -> RemovalSummary:
    """Move and delete what is pending, if that is what was agreed to; goes on where an interrupted one left off.

    Arguments and errors are those of ``plan_apply``; ``interrupt`` and ``on_event`` those of ``run``.

    Raises:
        UsageError: The plan is another one, or too large a share: nothing was done.
        AbortedError: ``interrupt`` was requested twice.
    """
    async with _open_removal(job, overrides) as (resolved_job, checkpoint, remover):
        verb = _apply(resolved_job, checkpoint, await remover.state(), again=again, stale=stale)
        context = _removal_context("apply", overrides, interrupt, on_event)
        return await carry_out(resolved_job, verb, consent, checkpoint=checkpoint, remover=remover, context=context)


async def plan_undo(job: Job, *, overrides: Overrides | None = None) -> RemovalPlan:
    """What ``undo`` could bring back, and what not; nothing is changed. Raises as ``plan_apply`` does."""
    async with _open_removal(job, overrides) as (resolved_job, checkpoint, remover):
        return await Undo(resolved_job, checkpoint, await remover.state()).plan()


async def undo(
    job: Job,
    consent: Consent,
    *,
    overrides: Overrides | None = None,
    interrupt: Interrupt | None = None,
    on_event: Emit = ignore,
) -> RemovalSummary:
    """Bring back what ``apply`` took out of the source, as far as the store can. Otherwise as ``apply``."""
    async with _open_removal(job, overrides) as (resolved_job, checkpoint, remover):
        verb = Undo(resolved_job, checkpoint, await remover.state())
        context = _removal_context("undo", overrides, interrupt, on_event)
        return await carry_out(resolved_job, verb, consent, checkpoint=checkpoint, remover=remover, context=context)


def _apply(job: Job, checkpoint: Checkpoint, state: BucketState, *, again: bool, stale: bool) -> Apply | Clear:
    return Clear(job, checkpoint, state) if stale else Apply(job, checkpoint, state, again=again)


def _removal_context(name: str, overrides: Overrides | None, interrupt: Interrupt | None, emit: Emit) -> RunContext:
    clock = overrides.clock if overrides is not None and overrides.clock is not None else SystemClock()
    return RunContext(run_id=f"{name}-{new_run_id()}", interrupt=interrupt or Interrupt(), emit=emit, clock=clock)


@asynccontextmanager
async def _open_removal(job: Job, overrides: Overrides | None) -> AsyncIterator[tuple[Job, Checkpoint, Remover]]:
    """The job with its rules in names, and what it works on; the checkpoint is held first."""
    overrides = overrides or Overrides()
    check_own_stores(job, overrides, "remover")
    async with AsyncExitStack() as stack:
        checkpoint = await existing_checkpoint(job, overrides, stack)
        if checkpoint is None:
            raise CheckpointError(
                f"{job.checkpoint}: there is no checkpoint, so nothing is decided",
                hint=f"Run the job first: asyncfilter run {job.path or 'JOB'}",
            )
        account = Account(job, stack, connections=LEAST_IN_FLIGHT + AT_ONCE)
        yield await with_known_references(job, checkpoint), checkpoint, await open_remover(job, overrides, account)
