"""The turnstile: one queue of tasks before several limiters (lanes), each of which gives permits at a rate of its own.

A permit is of one lane: the lane that is due first among those that the task may use. Invariants:

- First come, first served among the tasks that may use a lane. A task that is barred from one lane for a while delays
  no other task.
- As in ``RateLimiter``, one waiter sleeps on behalf of the whole queue, and a cancelled or refused waiter uses no
  permit. The limiters themselves have no queue.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Generic, Protocol, TypeVar

from anyio import CancelScope

from asyncfilter.clock import Clock
from asyncfilter.engine.core.limiter import LONGEST_SLEEP_S, SHORTEST_SLEEP_S, RateLimiter
from asyncfilter.engine.core.waiter import Waiter, WaiterState


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


class Turnstile(Generic[L]):
    """Gives permits of lanes. Belongs to one event loop.

    Args:
        lanes: At least one.
        clock: Gives the time, and sleeps.
    """

    def __init__(self, lanes: Iterable[L], clock: Clock) -> None:
        self._lanes = list(lanes)
        self._clock = clock
        self._queue: deque[_LaneWaiter[L]] = deque()
        self._leader: _LaneWaiter[L] | None = None
        self._sleep_scope: CancelScope | None = None
        self._sleeps_until_s = math.inf
        self._closed = False

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
        try:
            if waiter.state is WaiterState.WAIT and self._leader is not None:
                await waiter.wait()
            if waiter.state in (WaiterState.WAIT, WaiterState.LEAD):
                await self._lead(waiter)
        except BaseException:
            self._withdraw(waiter)
            raise
        return waiter.lane

    def remove(self, lane: L) -> None:
        """Give no more permits of a lane."""
        self._lanes.remove(lane)
        self._wake_leader()

    def close(self) -> None:
        """Give no more permits: ``acquire`` returns None to all waiting and all later callers."""
        self._closed = True
        while self._queue:
            self._queue.popleft().set_state(WaiterState.REFUSED)
        self._wake_leader()

    async def _lead(self, waiter: _LaneWaiter[L]) -> None:
        """Sleep for the whole queue until ``waiter`` has its permit, then make the next waiter the leader."""
        self._leader = waiter
        waiter.state = WaiterState.LEAD
        while waiter.state is WaiterState.LEAD:
            now_s = self._clock.monotonic()
            self._sleeps_until_s = self._next_s()
            # A scope of the sleep alone: `close`, a returned permit and a new waiter end the sleep, not the task.
            with CancelScope() as self._sleep_scope:
                await self._clock.sleep(min(max(self._sleeps_until_s - now_s, SHORTEST_SLEEP_S), LONGEST_SLEEP_S))
            self._grant()
        self._hand_over()

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
        return next_s

    def _due_s(self, waiter: _LaneWaiter[L]) -> float:
        """When a permit is due that a waiter may have; infinite without lanes."""
        barred_s = waiter.barred_s
        if not barred_s:
            return min(map(_due_s, self._lanes), default=math.inf)
        return min((max(lane.limiter.due_s(), barred_s.get(lane, -math.inf)) for lane in self._lanes), default=math.inf)

    def _hand_over(self) -> None:
        self._leader = self._queue[0] if self._queue else None
        if self._leader is not None:
            self._leader.set_state(WaiterState.LEAD)

    def _withdraw(self, waiter: _LaneWaiter[L]) -> None:
        """Take a cancelled waiter out of the queue; a permit that it got already goes to the next waiter."""
        if waiter.state is WaiterState.GO and waiter.lane is not None:
            waiter.lane.limiter.return_permit()
            # The leader computed its sleep before this permit was returned.
            self._wake_leader()
        elif waiter in self._queue:
            self._queue.remove(waiter)
        # After the removal: the next leader is the new head of the queue.
        if self._leader is waiter:
            self._hand_over()

    def _wake_leader(self) -> None:
        if self._sleep_scope is not None:
            self._sleep_scope.cancel()


def _due_s(lane: Lane) -> float:
    return lane.limiter.due_s()
