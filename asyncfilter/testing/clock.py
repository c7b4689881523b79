"""A clock that moves only when a test says so.

Invariants: time never goes back; sleepers wake in the order of their times, ties in the order in which they fell
asleep; each has run on before the next wakes.
"""

from __future__ import annotations

import heapq
import itertools

import anyio
import anyio.lowlevel

_ROUNDS = 25
"""Turns of the event loop given to woken tasks before time moves on: enough for chains of hand-overs."""


class ManualClock:
    """A ``Clock`` whose time is stepped by hand.

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
        """See ``Clock``: returns once the clock was advanced by ``delay_s``; a delay of 0 or less only yields."""
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
        """When the first sleeper wakes; None when nobody sleeps."""
        return self._sleepers[0][0] if self._sleepers else None

    async def advance(self, delay_s: float) -> None:
        """Let ``delay_s`` seconds pass, waking every sleeper whose time comes, later ones too."""
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
        """Let every task run on for as far as it gets without time passing."""
        for _ in range(_ROUNDS):
            await anyio.lowlevel.checkpoint()
