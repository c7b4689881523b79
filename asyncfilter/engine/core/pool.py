"""A pool of workers that grows with the work, up to a limit.

Items arrive at the rate that the limiter allows, and a new worker starts only when all others are busy. So the number
of busy workers becomes rate times latency, and neither has to be measured.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import anyio
from anyio.abc import TaskGroup

T = TypeVar("T")


class WorkerPool(Generic[T]):
    """Runs ``work`` on items, at most ``limit`` at a time, in the order they were submitted.

    Args:
        work: Called with each item. An exception that it raises ends the task group.
        limit: Workers at the most; ``resize`` changes it.
    """

    def __init__(self, work: Callable[[T], Awaitable[None]], limit: int) -> None:
        self.limit = limit
        self.peak = 0
        self._tasks: TaskGroup | None = None
        self._work = work
        self._busy = 0
        self._backlog: deque[T] = deque()
        # One future per idle worker: an event per worker would cost an eighth of the processor time of an image.
        self._idle: list[asyncio.Future[T]] = []
        self._changed = anyio.Event()
        self._waiting = 0

    @property
    def in_flight(self) -> int:
        """Items being worked on."""
        return self._busy

    @property
    def has_room(self) -> bool:
        """True while an item would be worked on at once."""
        return self._busy < self.limit

    @property
    def unfinished(self) -> int:
        """Items being worked on, and items that wait."""
        return self._busy + len(self._backlog)

    def resize(self, limit: int) -> None:
        """Allow another number of workers, also none; those that are busy finish what they work on."""
        self.limit = limit
        while self._backlog and self.has_room:
            self.submit(self._backlog.popleft())
        if self.has_room:
            self._notify()

    def start(self, tasks: TaskGroup) -> None:
        """Start workers in ``tasks`` from now on; before this nothing can be submitted."""
        self._tasks = tasks

    def submit(self, item: T) -> None:
        """Give ``item`` to a worker; it waits when all ``limit`` workers are busy.

        Raises:
            ValueError: The pool was not started.
        """
        if self._tasks is None:
            raise ValueError("the pool was not started")
        if self._busy >= self.limit:
            self._backlog.append(item)
            return
        # Counted here and not by the worker, which starts later: until then `has_room` would be true for too many
        # items.
        self._busy += 1
        self.peak = max(self.peak, self._busy)
        while self._idle:
            slot = self._idle.pop()
            if not slot.done():  # else its worker was cancelled
                slot.set_result(item)
                return
        self._tasks.start_soon(self._worker, item)

    async def wait_room(self) -> None:
        """Return when an item would be worked on at once."""
        while not self.has_room:
            await self._wait_change()

    async def wait_done(self) -> None:
        """Return when no item is being worked on and none waits."""
        while self._busy or self._backlog:
            await self._wait_change()

    def abandon(self) -> None:
        """Drop the items that wait; those being worked on finish."""
        self._backlog.clear()

    async def _worker(self, item: T) -> None:
        while True:
            await self._work(item)
            if self._backlog:
                # The worker stays busy, so that an item submitted now cannot go before those that wait.
                item = self._backlog.popleft()
                continue
            slot: asyncio.Future[T] = asyncio.get_running_loop().create_future()
            # Without an await in between: `submit` finds both an idle worker and a free place, or neither.
            self._idle.append(slot)
            self._busy -= 1
            self._notify()
            item = await slot

    async def _wait_change(self) -> None:
        self._waiting += 1
        try:
            await self._changed.wait()
        finally:
            self._waiting -= 1

    def _notify(self) -> None:
        # Under load this runs once for each item, and a task waits only now and then: most calls need no new event.
        if self._waiting:
            self._changed.set()
            self._changed = anyio.Event()
