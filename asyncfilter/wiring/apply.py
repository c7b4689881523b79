"""``apply`` and ``undo``: remove images from the source, and bring them back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from random import Random

import msgspec

from asyncfilter.checkpoint import checkpoint_exists
from asyncfilter.clock import SystemClock
from asyncfilter.engine.core.known_answers import KnownAnswers
from asyncfilter.engine.core.run_context import RunContext
from asyncfilter.engine.core.stopping import Interrupt
from asyncfilter.engine.removal.apply import Apply
from asyncfilter.engine.removal.runner import carry_out
from asyncfilter.engine.removal.stages import AT_ONCE
from asyncfilter.engine.removal.stale_copies import Clear
from asyncfilter.engine.removal.undo import Undo
from asyncfilter.errors import CheckpointError, UsageError
from asyncfilter.events import Emit, ignore
from asyncfilter.folders import canonical_places
from asyncfilter.job.addresses import parse_source
from asyncfilter.job.spec import Job
from asyncfilter.policy.removal_places import RemovalPlaces, allowed_place
from asyncfilter.policy.removal_plan import Consent, RemovalPlan, RemovalSummary
from asyncfilter.ports.checkpoint import Checkpoint
from asyncfilter.ports.remover import Remover
from asyncfilter.records.removal import BucketState
from asyncfilter.wiring.account import LEAST_IN_FLIGHT, Account
from asyncfilter.wiring.known_answers import known_answers
from asyncfilter.wiring.located import with_known_bucket
from asyncfilter.wiring.overrides import Overrides, accepts_world, check_own_stores, new_run_id
from asyncfilter.wiring.session import existing_checkpoint, kept_state, with_known_references
from asyncfilter.wiring.stores import open_remover


@accepts_world
async def plan_apply(
    job: Job,
    *,
    again: bool = False,
    stale: bool = False,
    allow_places: Sequence[str] = (),
    overrides: Overrides | None = None,
) -> RemovalPlan:
    """The plan of ``apply``: the images that it would remove from the source; nothing is changed.

    Args:
        job: The job whose decisions are applied.
        again: Include images that were brought back under the same decisions.
        stale: Plan instead to delete the copies that the decisions no longer make.
        allow_places: Buckets with prefixes, or folders, in which the checkpoint may delete and write besides those of
            the job, such as ``s3://former-target/birds/``.
        overrides: Your own remover or checkpoint.

    Raises:
        UsageError: The stored decisions are of other rules or actions.
        CheckpointError: There is no checkpoint, or it cannot be used.
        AccessError: The source cannot be reached.
    """
    opened = _open_removal(job, overrides, _removal_context("apply", overrides))
    async with AsyncExitStack() as stack, opened as (resolved_job, checkpoint, remover):
        places = _places(resolved_job, allow_places)
        answers = await known_answers(resolved_job, checkpoint.opened.answers, overrides or Overrides(), stack)
        command = _apply(
            resolved_job, checkpoint, await remover.state(), places, again=again, stale=stale, answers=answers
        )
        return await command.plan()


@accepts_world
async def apply(
    job: Job,
    consent: Consent,
    *,
    again: bool = False,
    stale: bool = False,
    allow_places: Sequence[str] = (),
    overrides: Overrides | None = None,
    interrupt: Interrupt | None = None,
    on_event: Emit = ignore,
) -> RemovalSummary:
    """Move and delete the pending images, if ``consent`` is for exactly them; an interrupted ``apply`` is continued.

    Other arguments and errors are those of ``plan_apply``; ``interrupt`` and ``on_event`` are those of ``run``.

    Raises:
        UsageError: The plan is not the one agreed to, or its share is too large: nothing was done.
        AbortedError: ``interrupt`` was requested twice.
    """
    context = _removal_context("apply", overrides, interrupt, on_event)
    opened = _open_removal(job, overrides, context)
    async with AsyncExitStack() as stack, opened as (resolved_job, checkpoint, remover):
        places = _places(resolved_job, allow_places)
        answers = await known_answers(resolved_job, checkpoint.opened.answers, overrides or Overrides(), stack)
        operation = _apply(
            resolved_job, checkpoint, await remover.state(), places, again=again, stale=stale, answers=answers
        )
        context = msgspec.structs.replace(context, state=kept_state(checkpoint))
        return await carry_out(
            resolved_job, operation, consent, checkpoint=checkpoint, remover=remover, context=context
        )


@accepts_world
async def plan_undo(job: Job, *, allow_places: Sequence[str] = (), overrides: Overrides | None = None) -> RemovalPlan:
    """The plan of ``undo``: images that it can and cannot bring back; nothing is changed.

    Arguments and errors are those of ``plan_apply``.
    """
    context = _removal_context("undo", overrides)
    async with _open_removal(job, overrides, context) as (resolved_job, checkpoint, remover):
        places = _places(resolved_job, allow_places)
        return await Undo(resolved_job, checkpoint, await remover.state(), places=places).plan()


@accepts_world
async def undo(
    job: Job,
    consent: Consent,
    *,
    allow_places: Sequence[str] = (),
    overrides: Overrides | None = None,
    interrupt: Interrupt | None = None,
    on_event: Emit = ignore,
) -> RemovalSummary:
    """Bring back the images that ``apply`` removed, as far as the store can. Otherwise as ``apply``."""
    context = _removal_context("undo", overrides, interrupt, on_event)
    async with _open_removal(job, overrides, context) as (resolved_job, checkpoint, remover):
        places = _places(resolved_job, allow_places)
        operation = Undo(resolved_job, checkpoint, await remover.state(), places=places)
        context = msgspec.structs.replace(context, state=kept_state(checkpoint))
        return await carry_out(
            resolved_job, operation, consent, checkpoint=checkpoint, remover=remover, context=context
        )


def _apply(
    job: Job,
    checkpoint: Checkpoint,
    state: BucketState,
    places: RemovalPlaces,
    *,
    again: bool,
    stale: bool,
    answers: KnownAnswers,
) -> Apply | Clear:
    if stale:
        return Clear(job, checkpoint, state, places=places, answers=answers)
    return Apply(job, checkpoint, state, again=again, places=places, answers=answers)


def _places(job: Job, allowed: Sequence[str]) -> RemovalPlaces:
    """The places that the job covers, and those that the user allows.

    Raises:
        UsageError: One of ``allowed`` is no address.
    """
    try:
        free = [allowed_place(parse_source(text, ".")) for text in allowed]
    except ValueError as exc:
        raise UsageError(f"--allow-place: {exc}", hint="Name a bucket and prefix, or a folder.") from exc
    return RemovalPlaces(job, free, canonical_places())


def _removal_context(
    name: str, overrides: Overrides | None, interrupt: Interrupt | None = None, emit: Emit = ignore
) -> RunContext:
    given = overrides or Overrides()
    return RunContext(
        run_id=f"{name}-{new_run_id()}",
        interrupt=interrupt or Interrupt(),
        emit=emit,
        clock=given.clock or SystemClock(),
        rng=given.rng or Random(),
    )


@asynccontextmanager
async def _open_removal(
    job: Job, overrides: Overrides | None, context: RunContext
) -> AsyncIterator[tuple[Job, Checkpoint, Remover]]:
    """The job with label names in place of references, its checkpoint, which is opened first, and its remover."""
    overrides = overrides or Overrides()
    check_own_stores(job, overrides, "remover")
    if overrides.checkpoint is not None or checkpoint_exists(job.checkpoint):
        job = with_known_bucket(job)
    async with AsyncExitStack() as stack:
        checkpoint = await existing_checkpoint(job, overrides, stack, context)
        if checkpoint is None:
            raise CheckpointError(
                f"{job.checkpoint}: there is no checkpoint, so there are no decisions to apply",
                hint=f"Run the job first: asyncfilter run {job.path or 'JOB'}",
            )
        account = Account(job, stack, connections=LEAST_IN_FLIGHT + AT_ONCE)
        yield await with_known_references(job, checkpoint), checkpoint, await open_remover(job, overrides, account)
