"""``policy --check``: which permissions of a job the caller has."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AsyncExitStack

from asyncfilter.aws import check_access
from asyncfilter.job.spec import Job
from asyncfilter.policy.permissions import AccessReport, BucketFacts, Command, commands_by_need
from asyncfilter.wiring.account import LEAST_IN_FLIGHT, Account


async def check_permissions(
    job: Job, commands: Iterable[Command], facts: BucketFacts, *, tries_writes: bool = False
) -> AccessReport:
    """Check the caller's permissions; see ``check_access``.

    Args:
        job: The job.
        commands: The commands whose permissions are checked.
        facts: What the job does not say about account and buckets.
        tries_writes: Writes whose condition cannot hold are tried also at stores other than AWS's.

    Raises:
        AccessError: AWS does not accept the credentials, or cannot be reached.
    """
    async with AsyncExitStack() as stack:
        clients = await Account(job, stack, connections=LEAST_IN_FLIGHT).clients()
        return await check_access(job, commands_by_need(job, commands, facts), clients, tries_writes=tries_writes)
