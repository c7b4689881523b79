"""A queue of tasks that wait for permits, of which one, the leader, sleeps until the next permit is due.

Invariants:

- First come, first served: who gets a permit is decided in the order of the queue.
- The leader sleeps at least a millisecond at a time, and then a batch of permits is given. So there is no background
  task, and no waiter polls.
- A cancelled or refused waiter uses no permit.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from enum import Enum, auto
from typing import Generic, TypeVar

from anyio import CancelScope

from asyncfilter.clock import Clock

SHORTEST_SLEEP_S = 0.001
"""The resolution of event-loop timers; at higher rates, several permits are given in one batch."""

LONGEST_SLEEP_S = 0.5
"""The rate is read again at least this often while a task waits, because it may have risen."""


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


W = TypeVar("W", bound=Waiter)


class PermitQueue(ABC, Generic[W]):
    """The queue and its leader; a subclass knows when permits are due. Belongs to one event loop.

    Args:
        clock: Gives the time, and sleeps.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._queue: deque[W] = deque()
        self._leader: W | None = None
        self._sleep_scope: CancelScope | None = None
        self._closed = False

    @abstractmethod
    def _next_s(self) -> float:
        """When the next permit is due that a waiter may have, by the clock's ``monotonic``."""

    @abstractmethod
    def _grant(self) -> None:
        """Take waiters that get a permit which is due out of the queue, and set their state to ``GO``."""

    @abstractmethod
    def _take_back(self, waiter: W) -> None:
        """Return the permit of a waiter in state ``GO``, which was not used."""

    def close(self) -> None:
        """Give no more permits: all waiting and all later callers of ``acquire`` are refused."""
        self._closed = True
        while self._queue:
            self._queue.popleft().set_state(WaiterState.REFUSED)
        # The leader was refused with the others, but it sleeps in the clock and not on its own future.
        self._wake_leader()

    async def _wait_for_permit(self, waiter: W) -> None:
        """Return when ``waiter``, the last of the queue or one that has its permit, has a permit or is refused."""
        try:
            if waiter.state is WaiterState.WAIT and self._leader is not None:
                # Woken as the next leader, with a permit, or refused; without a leader this waiter is the head of the
                # queue.
                await waiter.wait()
            if waiter.state in (WaiterState.WAIT, WaiterState.LEAD):
                await self._lead(waiter)
        except BaseException:
            self._withdraw(waiter)
            raise

    async def _lead(self, waiter: W) -> None:
        """Sleep for the whole queue until ``waiter`` has its permit, then make the next waiter the leader."""
        self._leader = waiter
        waiter.state = WaiterState.LEAD
        while waiter.state is WaiterState.LEAD:
            sleep_s = self._next_s() - self._clock.monotonic()
            # A scope of the sleep alone: what wakes the leader ends the sleep, and not the caller's task.
            with CancelScope() as self._sleep_scope:
                await self._clock.sleep(min(max(sleep_s, SHORTEST_SLEEP_S), LONGEST_SLEEP_S))
            self._grant()
        self._hand_over()

    def _wake_leader(self) -> None:
        """End the sleep of the leader, which was computed before something changed."""
        if self._sleep_scope is not None:
            self._sleep_scope.cancel()

    def _hand_over(self) -> None:
        self._leader = self._queue[0] if self._queue else None
        if self._leader is not None:
            self._leader.set_state(WaiterState.LEAD)

    def _withdraw(self, waiter: W) -> None:
        """Take a cancelled waiter out of the queue; a permit that it got already goes to the next waiter."""
        if waiter.state is WaiterState.GO:
            self._take_back(waiter)
            self._wake_leader()
        elif waiter in self._queue:
            self._queue.remove(waiter)
        # After the removal: the next leader is the new head of the queue.
        if self._leader is waiter:
            self._hand_over()
