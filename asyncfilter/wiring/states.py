"""States in S3, for the commands that look at one, fetch one or clean one up; and the copies of reading commands."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from anyio import to_thread

from asyncfilter.answers.file import exists
from asyncfilter.answers.merging import merge_files
from asyncfilter.aws import S3StateStore
from asyncfilter.checkpoint import Holder
from asyncfilter.engine.preview.jobs import store_job
from asyncfilter.errors import CheckpointError, UsageError
from asyncfilter.job.load import load_job
from asyncfilter.job.spec import Aws, Job
from asyncfilter.model import S3
from asyncfilter.ports.state_store import StateStore
from asyncfilter.state.head import Head
from asyncfilter.state.looking import HELD_S, StateLook, look, no_state
from asyncfilter.state.names import StatePlace, place_of, state_place
from asyncfilter.state.restore import Restored, restore_newest
from asyncfilter.state.unnamed import Pruned, PrunePlan, plan_prune, prune
from asyncfilter.wiring.account import LEAST_IN_FLIGHT, Account


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """A state that the user named, and the AWS settings to reach it."""

    place: StatePlace
    aws: Aws


def find_state(where: str, *, profile: str | None = None) -> Where:
    """The state that ``where`` names: a job file, or ``s3://BUCKET/PREFIX/NAME.state``.

    Raises:
        UsageError: It is neither, or the job has no state in S3.
    """
    if where.startswith(S3):
        return Where(place=state_place(where), aws=Aws(profile=profile))
    job = load_job(Path(where))
    place = place_of(job)
    if place is None:
        raise UsageError(
            f"{where}: the job has no state in S3",
            hint="Set checkpoint: s3://BUCKET/PREFIX/ or checkpoint_copy: in it, or name a state by its address.",
        )
    aws = job.aws if profile is None else dataclasses.replace(job.aws, profile=profile)
    return Where(place=place, aws=aws)


@asynccontextmanager
async def open_state_store(aws: Aws) -> AsyncIterator[S3StateStore]:
    """The store of the states that an account can read."""
    async with AsyncExitStack() as stack:
        clients = await Account(store_job(Path(), aws), stack, connections=LEAST_IN_FLIGHT).clients()
        yield S3StateStore(clients.session, clients.s3)


async def look_at_state(where: Where, *, waits: bool, deep: bool) -> StateLook:
    """See ``state.looking.look``."""
    async with open_state_store(where.aws) as store:
        return await look(store, where.place, waits=waits, deep=deep)


async def pull_state(where: Where, path: Path) -> Restored:
    """Make a checkpoint file, or an answers file, of what is committed at this moment; nothing is owned.

    Raises:
        CheckpointError: There is no state, or it cannot be restored.
    """
    async with open_state_store(where.aws) as store:
        found = await restore_newest(store, where.place, path)
    if found is None:
        raise no_state(where.place)
    return found


async def plan_pruning(where: Where) -> PrunePlan:
    """What may be deleted of a state now.

    Raises:
        CheckpointError: There is no state.
    """
    async with open_state_store(where.aws) as store:
        plan = await plan_prune(store, where.place)
    if plan is None:
        raise no_state(where.place)
    return plan


async def prune_state(where: Where, plan: PrunePlan) -> Pruned:
    """See ``state.unnamed.prune``."""
    async with open_state_store(where.aws) as store:
        return await prune(store, plan)


# -- Copies of reading commands ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ForReading:
    """A job over a copy of what is committed.

    Attributes:
        job: Its checkpoint is the copy.
        uri: The state.
        head: What the copy is of.
        age_s: Seconds since that was written, by the store's clock; None where the store does not tell.
    """

    job: Job
    uri: str
    head: Head
    age_s: float | None


async def for_reading(job: Job, folder: Path, *, keeps_answers: bool = False) -> ForReading | None:
    """A job over a copy of its state, which is fetched into ``folder``; None when there is no state yet.

    People's answers are those of this machine and those that are committed.

    Args:
        job: Has a state in S3.
        folder: Is removed by the caller.
        keeps_answers: Whether the job's own answers file is used, to be added to.

    Raises:
        CheckpointError: The state cannot be restored.
        AnswersError: People's answers cannot be restored.
    """
    place = place_of(job)
    if place is None:
        raise ValueError("the job has no state in S3")
    copy = folder / f"{job.name}.db"
    async with open_state_store(job.aws) as store:
        restored = await restore_newest(store, place, copy) if await _is_there(store, place) else None
        if restored is None:
            return None
        info = await store.head(place.head)
        answers = await _answers(store, place.answers, job.answers_path, folder, keeps=keeps_answers)
    return ForReading(
        job=dataclasses.replace(job, checkpoint=copy, answers=answers),
        uri=place.uri,
        head=restored.head,
        age_s=None if info is None else info.age_s,
    )


async def _is_there(store: StateStore, place: StatePlace) -> bool:
    """Whether there is a state; asked by a listing, because S3 calls what is missing forbidden to some callers."""
    return bool([one async for one in store.listed(place.bucket, place.head.key) if one.key == place.head.key])


async def _answers(store: StateStore, place: StatePlace, local: Path, folder: Path, *, keeps: bool) -> Path:
    """The answers file to read, with what was said on this machine and what is committed.

    With ``keeps`` it is that of this machine, to which what others have committed is added; else a copy.
    """
    if not await _is_there(store, place):
        return local
    if not await to_thread.run_sync(exists, local):
        path = local if keeps else folder / local.name
        await to_thread.run_sync(lambda: path.parent.mkdir(parents=True, exist_ok=True))
        return path if await restore_newest(store, place, path) is not None else local
    committed = folder / f"committed.{local.name}"
    if await restore_newest(store, place, committed) is None:
        return local
    target, other = (local, committed) if keeps else (committed, local)
    await to_thread.run_sync(merge_files, target, [other])
    return target


def holder_of(copy: ForReading) -> Holder | None:
    """The process that works on the state that was fetched; None where there is none."""
    owner = copy.head.owner
    if owner is None or (copy.age_s is not None and copy.age_s >= HELD_S):
        return None
    return Holder(pid=owner.pid, host=owner.host, since_unix_s=_unix_s(owner.since))


def _unix_s(since: str) -> float:
    """A moment as the head has it; 0 where it is no such text."""
    try:
        return datetime.fromisoformat(since).timestamp()
    except ValueError:
        return 0.0


def no_state_of(job: Job) -> CheckpointError:
    """The error for a job whose state was never made."""
    place = place_of(job)
    if place is None:
        raise ValueError("the job has no state in S3")
    return no_state(place)
