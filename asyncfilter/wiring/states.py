"""States in S3: for commands that look at one, fetch one or clean one up, and the copies that reading commands use."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from asyncfilter.aws import S3StateStore
from asyncfilter.engine.preview.jobs import store_job
from asyncfilter.errors import UsageError
from asyncfilter.job.load import load_job
from asyncfilter.job.spec import Aws, Job
from asyncfilter.model import S3
from asyncfilter.state.looking import StateLook, look, no_state
from asyncfilter.state.names import StatePlace, state_place
from asyncfilter.state.restore import Restored, restore_newest
from asyncfilter.state.unnamed import Pruned, PrunePlan, plan_prune, prune
from asyncfilter.wiring.account import LEAST_IN_FLIGHT, Account


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """A state that the user named, and the AWS settings to reach it."""

    place: StatePlace
    aws: Aws


def place_of(job: Job) -> StatePlace | None:
    """The state of a job's checkpoint; None for one without state in S3."""
    return None if job.state is None else StatePlace(job.state.bucket, job.state.prefix, job.name)


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
