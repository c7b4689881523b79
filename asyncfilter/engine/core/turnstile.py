"""The turnstile: one queue of tasks before several limiters (lanes), each of which gives permits at a rate of its own.

A permit is of one lane: the lane that is due first among those that the task may use. First come, first served among
the tasks that may use a lane: a task that is barred from one lane for a while delays no other task. Tasks wait in one
``PermitQueue``; the limiters themselves have no queue.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Generic, Protocol, TypeVar

from asyncfilter.clock import Clock
from asyncfilter.engine.core.limiter import RateLimiter
from asyncfilter.engine.core.permit_queue import PermitQueue, Waiter, WaiterState


class Lane(Protocol):
    """What the turnstile needs of a lane; compared by identity."""

    @property
    def limiter(self) -> RateLimiter:
        """Gives the permits of the lane."""
        ...


L = TypeVar("L", bound=Lane)


class _LaneWaiter(Waiter, Generic[L]):
    """A waiter with the lanes from which it is barred, each until a moment of the clock."""

    __slots__ = ("barred_s", "lane")

    def __init__(self, barred_s: Mapping[L, float]) -> None:
        super().__init__()
        self.barred_s = barred_s
        self.lane: L | None = None


class Turnstile(PermitQueue[_LaneWaiter[L]]):
    """Gives permits of lanes. Belongs to one event loop.

    Args:
        lanes: At least one.
        clock: Gives the time, and sleeps.
    """

    def __init__(self, lanes: Iterable[L], clock: Clock) -> None:
        super().__init__(clock)
        self._lanes = list(lanes)
        self._sleeps_until_s = math.inf

    @property
    def waiting(self) -> int:
        """Tasks that wait for a permit."""
        return len(self._queue)

    async def acquire(self, barred_s: Mapping[L, float] | None = None) -> L | None:
        """Wait for a permit.

        Args:
            barred_s: Lanes that the caller may not use until a moment of the clock's ``monotonic``.

        Returns:
            The lane, for one attempt that must be made immediately; None without a permit, once the turnstile is
            closed. A cancelled caller uses no permit.
        """
        if self._closed:
            return None
        waiter = _LaneWaiter[L](barred_s or {})
        self._queue.append(waiter)
        if self._leader is None:
            self._grant()
        elif self._due_s(waiter) < self._sleeps_until_s:
            self._wake_leader()
        await self._wait_for_permit(waiter)
        return waiter.lane

    def remove(self, lane: L) -> None:
        """Give no more permits of a lane."""
        self._lanes.remove(lane)
        self._wake_leader()

    def _grant(self) -> None:
        """Give each permit that is due to the first waiter that may have it."""
        now_s = self._clock.monotonic()
        lanes = self._lanes
        while self._queue and lanes:
            lane = min(lanes, key=_due_s)
            if lane.limiter.due_s() > now_s:
                return
            waiter = next((one for one in self._queue if one.barred_s.get(lane, -math.inf) <= now_s), None)
            # In this order: a permit is taken only for a waiter.
            if waiter is None or not lane.limiter.acquire_nowait():
                lanes = [one for one in lanes if one is not lane]
                continue
            self._queue.remove(waiter)
            waiter.lane = lane
            waiter.set_state(WaiterState.GO)

    def _next_s(self) -> float:
        """When a permit is due that any waiter may have."""
        soonest_s = min(map(_due_s, self._lanes), default=math.inf)
        next_s = math.inf
        for waiter in self._queue:
            next_s = min(next_s, self._due_s(waiter) if waiter.barred_s else soonest_s)
            if next_s <= soonest_s:
                break  # most often at the first waiter: few are barred from any lane
        self._sleeps_until_s = next_s
        return next_s

    def _due_s(self, waiter: _LaneWaiter[L]) -> float:
        """When a permit is due that a waiter may have; infinite without lanes."""
        barred_s = waiter.barred_s
        if not barred_s:
            return min(map(_due_s, self._lanes), default=math.inf)
        return min((max(lane.limiter.due_s(), barred_s.get(lane, -math.inf)) for lane in self._lanes), default=math.inf)

    def _take_back(self, waiter: _LaneWaiter[L]) -> None:
        if waiter.lane is not None:
            waiter.lane.limiter.return_permit()


def _due_s(lane: Lane) -> float:
    return lane.limiter.due_s()
