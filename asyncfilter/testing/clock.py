"""A clock that advances only when a test calls ``advance``.

Invariants: time never goes back. Sleeping tasks wake in the order of their times, tasks with equal times in the order
in which they began to sleep. Each task that was woken runs as far as it can before the next one wakes.
"""

from __future__ import annotations

import heapq
import itertools

import anyio
import anyio.lowlevel

_ROUNDS = 25
"""Iterations of the event loop that woken tasks get before time advances: enough for tasks that wake further tasks."""


class ManualClock:
    """A ``Clock`` whose time is advanced by hand.

    Args:
        start_s: Where ``monotonic`` starts, seconds.
        unix_s: Where ``unix`` starts, seconds since 1970-01-01 UTC.
    """

    def __init__(self, start_s: float = 0.0, *, unix_s: float = 1_700_000_000.0) -> None:
        self._now_s = start_s
        self._unix_offset_s = unix_s - start_s
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, anyio.Event]] = []

    def monotonic(self) -> float:
        """See ``Clock``."""
        return self._now_s

    def unix(self) -> float:
        """See ``Clock``."""
        return self._now_s + self._unix_offset_s

    async def sleep(self, delay_s: float) -> None:
        """See ``Clock``: returns once the clock was advanced by ``delay_s``; with 0 or less it yields once."""
        if delay_s <= 0:
            await anyio.lowlevel.checkpoint()
            return
        sleeper = (self._now_s + delay_s, next(self._order), anyio.Event())
        heapq.heappush(self._sleepers, sleeper)
        try:
            await sleeper[2].wait()
        finally:
            if not sleeper[2].is_set():
                self._sleepers.remove(sleeper)
                heapq.heapify(self._sleepers)

    @property
    def sleeping(self) -> int:
        """How many tasks wait for this clock."""
        return len(self._sleepers)

    @property
    def next_wake_s(self) -> float | None:
        """Time at which the first sleeping task wakes; None when no task sleeps."""
        return self._sleepers[0][0] if self._sleepers else None

    async def advance(self, delay_s: float) -> None:
        """Advance by ``delay_s`` seconds; wake every task whose time comes, also one that began to sleep meanwhile."""
        end_s = self._now_s + delay_s
        await self.settle()
        while self._sleepers and self._sleepers[0][0] <= end_s:
            wake_s, _, woken = heapq.heappop(self._sleepers)
            self._now_s = max(self._now_s, wake_s)
            woken.set()
            await self.settle()
        self._now_s = end_s
        await self.settle()

    async def settle(self) -> None:
        """Let every task run as far as it can while time stands still."""
        for _ in range(_ROUNDS):
            await anyio.lowlevel.checkpoint()
