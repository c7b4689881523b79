"""The one task group of ``apply`` and ``undo``: wave after wave, until all is done or the user interrupts."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Protocol

import anyio

from asyncfilter.engine.core.run_context import RunContext
from asyncfilter.engine.core.stopping import Interrupt, StopSignal
from asyncfilter.engine.removal.stages import RemovalItem, RemovalStages
from asyncfilter.engine.removal.stale_copies import CLEAR
from asyncfilter.engine.removal.undo import RESTORE
from asyncfilter.errors import AbortedError
from asyncfilter.job.spec import Job
from asyncfilter.model import ActionKind, StopReason
from asyncfilter.policy.counts import counts, exit_code
from asyncfilter.policy.removal_plan import Consent, RemovalPlan, RemovalSummary
from asyncfilter.ports.checkpoint import Checkpoint
from asyncfilter.ports.remover import Remover


class RemovalCommand(Protocol):
    """``Apply``, ``Undo`` or ``Clear``."""

    async def plan(self) -> RemovalPlan:
        """The plan of what would be done; nothing is changed."""
        ...

    def waves(self, stages: RemovalStages) -> AsyncGenerator[list[RemovalItem], None]:
        """The images to work on, up to ``WAVE_IMAGES`` at a time."""
        ...

    async def carry_out(self, stages: RemovalStages, items: list[RemovalItem]) -> None:
        """Run all stages on one wave."""
        ...


async def carry_out(
    job: Job,
    command: RemovalCommand,
    consent: Consent,
    *,
    checkpoint: Checkpoint,
    remover: Remover,
    context: RunContext,
) -> RemovalSummary:
    """Carry out what the user consented to, and nothing else.

    Args:
        job: The job; its source is changed.
        command: Plans the removal and carries it out.
        consent: The number of images, and the plan, that the user consented to.
        checkpoint: Open, and locked by this process.
        remover: Writes to the store.
        context: The context of this ``apply`` or ``undo``.

    Raises:
        UsageError: The plan is not what the user consented to; nothing was done.
        AbortedError: The user interrupted twice; the journal holds what may have been done.
        CheckpointError: The journal cannot be written; nothing was done after that.
    """
    plan = await command.plan()
    consent.check(plan)
    clock, interrupt, stop_signal = context.clock, context.interrupt or Interrupt(), StopSignal()
    stages = RemovalStages(
        job,
        checkpoint=checkpoint,
        remover=remover,
        stop_signal=stop_signal,
        emit=context.emit,
        clock=clock,
        rng=context.rng,
    )
    started_s = clock.monotonic()
    await checkpoint.begin_run(context.run_id, clock.unix())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stop_signal.follow, interrupt, tasks.cancel_scope)
        if context.state is not None:
            context.state.emit_to(context.emit)
            tasks.start_soon(stop_signal.follow_state, context.state)
        # Closed here when the loop ends early; else the garbage collector would close the generator at some later time.
        async with aclosing(command.waves(stages)) as waves:
            async for items in waves:
                await command.carry_out(stages, items)
                if stop_signal.is_requested:
                    break
        tasks.cancel_scope.cancel()
    if interrupt.abort.is_set():
        raise AbortedError("aborted: the journal holds what may have been done", hint="Run the same command to go on.")
    stop_signal.request(StopReason.COMPLETED)
    wall_s = clock.monotonic() - started_s
    summary = _summary(stages, job=job, plan=plan, run_id=context.run_id, where=checkpoint.location, wall_s=wall_s)
    life = counts(stages.watermark.tally, checkpoint.opened.totals, overshoot=await checkpoint.overshoot())
    await checkpoint.end_run(context.run_id, clock.unix(), summary.stop_reason, life)
    if context.state is not None:
        await context.state.flush()
    return summary


def _summary(
    stages: RemovalStages, *, job: Job, plan: RemovalPlan, run_id: str, where: str, wall_s: float
) -> RemovalSummary:
    reason, error = stages.stop_signal.reason or StopReason.COMPLETED, stages.stop_signal.error
    return RemovalSummary(
        run_id=run_id,
        name=job.name,
        stop_reason=reason,
        planned=plan.images,
        deleted=stages.done[ActionKind.DELETE.value],
        moved=stages.done[ActionKind.MOVE.value],
        restored=stages.done[RESTORE],
        cleared=stages.done[CLEAR],
        failed=dict(stages.failed),
        left=plan.images - stages.done.total() - stages.failed.total(),
        new_answers=plan.new_answers,
        size_bytes=stages.size_bytes,
        wall_s=wall_s,
        checkpoint=where,
        error=error.message if error is not None else None,
        hint=error.hint if error is not None else None,
        exit_code=exit_code(reason, error, any_failed=bool(stages.failed)),
    )
