"""The one task group of ``apply`` and ``undo``: wave after wave, until all is done or the user leaves."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from random import Random
from typing import Protocol

import anyio
import msgspec

from asyncfilter.clock import Clock
from asyncfilter.engine.ending import Ending, Interrupt
from asyncfilter.engine.removal.stages import Item, Stages
from asyncfilter.engine.removal.stale_copies import CLEAR
from asyncfilter.engine.removal.undo import RESTORE
from asyncfilter.errors import AbortedError
from asyncfilter.events import Emit
from asyncfilter.job.spec import Job
from asyncfilter.model import ActionKind, StopReason
from asyncfilter.policy.counts import counts, exit_code
from asyncfilter.policy.removal import Consent, RemovalPlan, RemovalSummary
from asyncfilter.ports import Checkpoint, Remover


class Verb(Protocol):
    """``Apply``, ``Undo`` or ``Clear``."""

    async def plan(self) -> RemovalPlan:
        """What would be done; nothing is changed."""
        ...

    def waves(self, stages: Stages) -> AsyncGenerator[list[Item], None]:
        """The images to work on, up to ``WAVE_IMAGES`` at a time."""
        ...

    async def carry_out(self, stages: Stages, items: list[Item]) -> None:
        """Take a wave through its stages."""
        ...


class RemovalErrand(msgspec.Struct, frozen=True, kw_only=True):
    """One ``apply`` or ``undo``.

    Attributes:
        run_id: Names it in the checkpoint's history.
        interrupt: Requested once, what is under way is finished and journalled; twice, it is left at once.
        emit: Told of every image.
        clock: Time.
    """

    run_id: str
    interrupt: Interrupt
    emit: Emit
    clock: Clock


async def carry_out(
    job: Job,
    verb: Verb,
    consent: Consent,
    *,
    checkpoint: Checkpoint,
    remover: Remover,
    errand: RemovalErrand,
    rng: Random | None = None,
) -> RemovalSummary:
    """Do what was agreed to, and nothing else.

    Args:
        job: Whose source.
        verb: What to do.
        consent: How much, and which.
        checkpoint: Open, and held by this process.
        remover: The store.
        errand: Which doing of it this is.
        rng: Draws the jitter of repetitions.

    Raises:
        UsageError: The plan is not what was agreed to: nothing was done.
        AbortedError: Interrupted twice; the journal says what may have been done.
        CheckpointError: The journal cannot be written; nothing more was done then.
    """
    plan = await verb.plan()
    consent.check(plan)
    clock, interrupt, ending = errand.clock, errand.interrupt, Ending()
    stages = Stages(
        job,
        checkpoint=checkpoint,
        remover=remover,
        ending=ending,
        emit=errand.emit,
        clock=clock,
        rng=rng or Random(),
    )
    started_s = clock.monotonic()
    await checkpoint.begin_run(errand.run_id, clock.unix())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_obey, interrupt, ending, tasks.cancel_scope)
        async with aclosing(verb.waves(stages)) as waves:
            async for items in waves:
                await verb.carry_out(stages, items)
                if ending.is_requested:
                    break
        tasks.cancel_scope.cancel()
    if interrupt.abort.is_set():
        raise AbortedError("aborted: the journal says what may have been done", hint="Run the same command to go on.")
    ending.request(StopReason.COMPLETED)
    wall_s = clock.monotonic() - started_s
    summary = _summary(stages, job=job, plan=plan, run_id=errand.run_id, where=checkpoint.location, wall_s=wall_s)
    life = counts(stages.watermark.tally, checkpoint.opened.totals, overshoot=await checkpoint.overshoot())
    await checkpoint.end_run(errand.run_id, clock.unix(), summary.stop_reason, life)
    return summary


async def _obey(interrupt: Interrupt, ending: Ending, scope: anyio.CancelScope) -> None:
    await interrupt.drain.wait()
    ending.request(StopReason.INTERRUPTED)
    await interrupt.abort.wait()
    scope.cancel()


def _summary(stages: Stages, *, job: Job, plan: RemovalPlan, run_id: str, where: str, wall_s: float) -> RemovalSummary:
    reason, error = stages.ending.reason or StopReason.COMPLETED, stages.ending.error
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
        size_bytes=stages.size_bytes,
        wall_s=wall_s,
        checkpoint=where,
        error=error.message if error is not None else None,
        hint=error.hint if error is not None else None,
        exit_code=exit_code(reason, error, any_failed=bool(stages.failed)),
    )
