"""The rate limiter: every attempt needs a permit of it, the first one of a call and each repetition.

``RateController`` gives the rate, ``Pacer`` the times of the permits; tasks wait in a ``PermitQueue``. First come,
first served: a free permit is never given to a new caller while the queue has a waiter.
"""

from __future__ import annotations

from dataclasses import dataclass

from asyncfilter.clock import Clock
from asyncfilter.engine.core.permit_queue import PermitQueue, Waiter, WaiterState
from asyncfilter.errors import ThrottleCause
from asyncfilter.policy.pacing import FIRST_S, Pacer
from asyncfilter.policy.rate import RateController
from asyncfilter.policy.sliding_window import SlidingCount


@dataclass(frozen=True, slots=True, kw_only=True)
class LimiterStatistics:
    """The state of the limiter at one moment.

    Attributes:
        waiting: Tasks that wait for their permit.
        attempts_last_s: Permits given in the last second, which ends up to a tenth of a second ago.
        rate_tps: The rate now.
        limit_tps: The highest rate allowed; None when it is not known.
        closed: True once no more permits are given.
    """

    waiting: int
    attempts_last_s: int
    rate_tps: float
    limit_tps: float | None
    closed: bool


class RateLimiter(PermitQueue[Waiter]):
    """Gives permits at the controller's rate, first come, first served. Belongs to one event loop.

    Args:
        controller: Decides the rate; fed by ``accepted`` and ``throttled``.
        clock: Gives the time, and sleeps.
        first_s: See ``Pacer``.
    """

    def __init__(self, controller: RateController, clock: Clock, *, first_s: float = FIRST_S) -> None:
        super().__init__(clock)
        self._controller = controller
        self._pacer = Pacer(controller.rate_tps(clock.monotonic()), first_s=first_s)
        self._permits = SlidingCount()

    async def acquire(self) -> bool:
        """Wait for a permit.

        Returns:
            True with a permit, for one attempt that must be made immediately. False without one, once the limiter is
            closed. A cancelled caller uses no permit.
        """
        if self.acquire_nowait():
            return True
        if self._closed:
            return False
        waiter = Waiter()
        self._queue.append(waiter)
        await self._wait_for_permit(waiter)
        return waiter.state is WaiterState.GO

    def acquire_nowait(self) -> bool:
        """Take a permit if one is free and no task waits for it."""
        if self._closed or self._queue:
            return False
        now_s = self._follow_rate()
        return self._take(now_s)

    def due_s(self) -> float:
        """When the next permit is due, by the clock's ``monotonic``; a time in the past means at once."""
        self._follow_rate()
        return self._pacer.due_s

    def return_permit(self) -> None:
        """Take back the permit that was given last: its attempt was not sent."""
        self._pacer.give_back()
        # The leader computed its sleep before this permit was returned.
        self._wake_leader()

    def accepted(self, sent_s: float) -> None:
        """Record an attempt, sent at ``sent_s`` (the clock's ``monotonic``), that the service did not throttle."""
        self._controller.accepted(self._clock.monotonic(), sent_s)

    def throttled(self, cause: ThrottleCause, sent_s: float) -> None:
        """Record an attempt, sent at ``sent_s`` (the clock's ``monotonic``), that the service throttled."""
        self._controller.throttled(self._clock.monotonic(), cause, sent_s)

    def statistics(self) -> LimiterStatistics:
        """The state at this moment."""
        now_s = self._clock.monotonic()
        return LimiterStatistics(
            waiting=len(self._queue),
            attempts_last_s=self._permits.between(now_s - 1.0, now_s).total,
            rate_tps=self._controller.rate_tps(now_s),
            limit_tps=self._controller.limit_tps,
            closed=self._closed,
        )

    def _next_s(self) -> float:
        return self._pacer.due_s

    def _grant(self) -> None:
        now_s = self._follow_rate()
        # In this order: a permit is taken only for a waiter.
        while self._queue and self._take(now_s):
            self._queue.popleft().set_state(WaiterState.GO)

    def _take_back(self, _waiter: Waiter) -> None:
        self._pacer.give_back()

    def _follow_rate(self) -> float:
        now_s = self._clock.monotonic()
        rate_tps = self._controller.rate_tps(now_s)
        if rate_tps != self._pacer.rate_tps:
            self._pacer.set_rate(rate_tps, now_s)
        return now_s

    def _take(self, now_s: float) -> bool:
        if not self._pacer.take(now_s):
            return False
        self._permits.add(now_s)
        return True
