"""The AWS account of a job, opened at its first use; calls in flight, and the connections they need."""

from __future__ import annotations

import math
import resource
from contextlib import AsyncExitStack

from asyncfilter.aws import AwsClients, open_aws, open_clients
from asyncfilter.job.spec import Job, Limits

MOST_IN_FLIGHT = 4096
"""Most calls in flight when ``limits.concurrency`` is auto."""

LEAST_IN_FLIGHT = 32

RESERVED_FILES = 128
"""File descriptors that are not used for connections to the detector."""


class Account:
    """The clients of a job's account; before the first call of ``clients`` nothing is opened or needs credentials.

    Args:
        job: Has the AWS settings.
        stack: Closes the clients.
        connections: Most connections; by default as many as this process may hold.
    """

    def __init__(self, job: Job, stack: AsyncExitStack, *, connections: int | None = None) -> None:
        self._job = job
        self._stack = stack
        self._connections = connections
        self._clients: AwsClients | None = None

    async def clients(self) -> AwsClients:
        """The clients, the same ones every time.

        Raises:
            AccessError: The AWS settings cannot be used.
        """
        if self._clients is None:
            aws, timeout_s = self._job.aws, self._job.limits.timeout_s
            connections = most_connections() if self._connections is None else self._connections
            session = await self._stack.enter_async_context(open_aws(aws, timeout_s=timeout_s, connections=connections))
            self._clients = await self._stack.enter_async_context(open_clients(aws, session))
        return self._clients


def concurrency(limits: Limits, limit_tps: float | None, *, most: int | None = None) -> int:
    """Most calls in flight: ``limits.concurrency``, or enough for responses that take half the time-out.

    ``most``: What a detector on this machine has a use for, which needs no connections; None for a service.
    """
    if limits.concurrency is not None:
        return limits.concurrency
    if most is not None:
        return most
    wanted = MOST_IN_FLIGHT if limit_tps is None else math.ceil(limit_tps * limits.timeout_s / 2)
    return max(LEAST_IN_FLIGHT, min(wanted, MOST_IN_FLIGHT, most_connections()))


def most_connections() -> int:
    """Connections this process may hold; raises the soft limit of open files to the hard one first."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most_files = MOST_IN_FLIGHT + RESERVED_FILES
    wanted = most_files if hard == resource.RLIM_INFINITY else min(hard, most_files)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    available = MOST_IN_FLIGHT if soft == resource.RLIM_INFINITY else soft - RESERVED_FILES
    return max(LEAST_IN_FLIGHT, min(available, MOST_IN_FLIGHT))
