"""Opening the checkpoint of a job."""

from __future__ import annotations

from contextlib import AsyncExitStack

from asyncfilter.checkpoint import SqliteCheckpoint, open_checkpoint
from asyncfilter.job.fingerprint import identity
from asyncfilter.job.spec import Job
from asyncfilter.ports import Checkpoint
from asyncfilter.wiring.world import Overrides


async def existing_checkpoint(job: Job, overrides: Overrides, stack: AsyncExitStack) -> Checkpoint | None:
    """An existing checkpoint is opened before anything else, a new one only once the job is known to work."""
    if overrides.checkpoint is not None:
        return overrides.checkpoint
    return await sqlite(job, stack) if job.checkpoint.exists() else None


async def sqlite(job: Job, stack: AsyncExitStack) -> SqliteCheckpoint:
    """The job's checkpoint file, made where there is none, held until ``stack`` ends.

    Raises:
        CheckpointError: It cannot be used.
    """
    checkpoint = await open_checkpoint(job.checkpoint, identity=identity(job), name=job.name)
    return await stack.enter_async_context(checkpoint)
