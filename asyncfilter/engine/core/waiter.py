"""A position in a queue for permits, of which one waiter, the leader, sleeps on behalf of all."""

from __future__ import annotations

import asyncio
from enum import Enum, auto


class WaiterState(Enum):
    """The state of a waiter.

    ``WAIT``: in the queue; another waiter sleeps for it. ``LEAD``: it sleeps for the whole queue. ``GO``: it has its
    permit. ``REFUSED``: no more permits are given.
    """

    WAIT = auto()
    LEAD = auto()
    GO = auto()
    REFUSED = auto()


class Waiter:
    """A position in a queue."""

    __slots__ = ("_changed", "state")

    def __init__(self) -> None:
        self.state = WaiterState.WAIT
        self._changed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def set_state(self, state: WaiterState) -> None:
        """Change the state, and wake the task that waits for a change."""
        self.state = state
        # Done already when the waiter became the leader before, or when its task was cancelled.
        if not self._changed.done():
            self._changed.set_result(None)

    async def wait(self) -> None:
        """Return when the state was changed."""
        await self._changed
