"""What carries frames between a head and its workers."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum
from typing import Protocol

from asyncfilter.errors import AsyncFilterError

HEARTBEAT_S = 0.5
"""Every end sends a frame at least this often while a session lives."""

SILENCE_S = 5.0
"""An end that was not heard for so long is lost."""


class Loss(StrEnum):
    """Why a worker counts as lost."""

    CONNECTION = "connection"
    SILENCE = "silence"
    PROCESS = "process"
    """It ended, or it does not do what a worker does."""
    NODE = "node"


class WireLostError(Exception):
    """A wire carries nothing any more, for now or for good.

    Args:
        reason: Why.
        is_final: Nothing will ever come from it again.
    """

    def __init__(self, reason: Loss, message: str = "", *, is_final: bool = False) -> None:
        super().__init__(message or reason.value)
        self.reason = reason
        self.is_final = is_final


class WorkerFaultError(Exception):
    """One worker cannot work where it is; others may.

    Args:
        error: Why.
    """

    def __init__(self, error: AsyncFilterError) -> None:
        super().__init__(str(error))
        self.error = error


class Wire(Protocol):
    """The head's end of the way to one worker; it outlives the sessions on it."""

    name: str
    """Of the worker, as events show it."""

    async def send(self, frame: bytes) -> None:
        """Send a frame.

        Raises:
            WireLostError: It cannot be sent.
        """
        ...

    async def receive(self, session: str) -> bytes:
        """The next frame that the worker has for ``session``; an empty one at the latest after ``HEARTBEAT_S``.

        Raises:
            WireLostError: There will be none.
        """
        ...

    async def end(self) -> None:
        """End the worker's process, without asking it."""
        ...


class Hub(Protocol):
    """What starts and finds workers."""

    address: str
    """Where, as the summary shows it."""

    async def next(self) -> Wire:
        """The next worker that appears: first those that are there, then those that are started; waits for it.

        Raises:
            WorkerFaultError: It cannot work.
            AsyncFilterError: The cluster cannot be used; there will be no more workers.
        """
        ...

    async def former(self) -> list[str]:
        """Names of the workers that were there before this head, which may keep answers of another one.

        ``next`` must be waiting, and gives each of them unless it is gone by then.
        """
        ...

    @property
    def started(self) -> Collection[str]:
        """Names of the workers that it has started itself: nothing is kept there from before."""
        ...

    async def close(self) -> None:
        """End all workers, and what was started for them; the wires cannot be used any more."""
        ...

    async def leave(self, ended: Collection[str]) -> None:
        """As ``close``, but end only the workers of these names: the others are left to the next head."""
        ...
