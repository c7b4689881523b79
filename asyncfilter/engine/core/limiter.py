"""The rate limiter: every attempt needs a permit of it, the first one of a call and each repetition.

``RateController`` gives the rate, ``Pacer`` the times of the permits; this module makes tasks wait. Invariants:

- First come, first served: a free permit is never given to a new caller while the queue has a waiter.
- One waiter, the leader, sleeps on behalf of the whole queue, at least a millisecond at a time, and then gives a batch
  of permits. So the limiter has no background task, and no waiter polls.
- A cancelled or refused waiter uses no permit.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from anyio import CancelScope

from asyncfilter.clock import Clock
from asyncfilter.engine.core.waiter import Waiter, WaiterState
from asyncfilter.errors import ThrottleCause
from asyncfilter.policy.pacing import FIRST_S, Pacer
from asyncfilter.policy.rate import RateController
from asyncfilter.policy.sliding_window import SlidingCount

SHORTEST_SLEEP_S = 0.001
"""The resolution of event-loop timers; at higher rates, several permits are given in one batch."""

LONGEST_SLEEP_S = 0.5
"""The rate is read again at least this often while a task waits, because it may have risen."""


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


class RateLimiter:
    """Gives permits at the controller's rate, first come, first served. Belongs to one event loop.

    Args:
        controller: Decides the rate; fed by ``accepted`` and ``throttled``.
        clock: Gives the time, and sleeps.
        first_s: See ``Pacer``.
    """

    def __init__(self, controller: RateController, clock: Clock, *, first_s: float = FIRST_S) -> None:
        self._controller = controller
        self._clock = clock
        self._pacer = Pacer(controller.rate_tps(clock.monotonic()), first_s=first_s)
        self._permits = SlidingCount()
        self._queue: deque[Waiter] = deque()
        self._leader: Waiter | None = None
        self._sleep_scope: CancelScope | None = None
        self._closed = False

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
        try:
            if self._leader is not None:
                # Woken as the next leader, with a permit, or refused; without a leader this waiter is the head of the
                # queue.
                await waiter.wait()
            if waiter.state in (WaiterState.WAIT, WaiterState.LEAD):
                await self._lead(waiter)
        except BaseException:
            self._withdraw(waiter)
            raise
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

    def close(self) -> None:
        """Give no more permits: ``acquire`` returns False to all waiting and all later callers."""
        self._closed = True
        while self._queue:
            self._queue.popleft().set_state(WaiterState.REFUSED)
        # The leader was refused with the others, but it sleeps in the clock and not on its own future.
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

    async def _lead(self, waiter: Waiter) -> None:
        """Sleep for the whole queue until ``waiter`` has its permit, then make the next waiter the leader.

        The leader is the head of the queue, so ``_grant_permits`` serves it first.
        """
        self._leader = waiter
        waiter.state = WaiterState.LEAD
        while waiter.state is WaiterState.LEAD:
            sleep_s = self._pacer.due_s - self._clock.monotonic()
            # A scope of the sleep alone: `close` and a returned permit end the sleep, and not the caller's task.
            with CancelScope() as self._sleep_scope:
                await self._clock.sleep(min(max(sleep_s, SHORTEST_SLEEP_S), LONGEST_SLEEP_S))
            self._grant_permits()
        self._hand_over()

    def _grant_permits(self) -> None:
        now_s = self._follow_rate()
        # In this order: a permit is taken only for a waiter.
        while self._queue and self._take(now_s):
            self._queue.popleft().set_state(WaiterState.GO)

    def _hand_over(self) -> None:
        self._leader = self._queue[0] if self._queue else None
        if self._leader is not None:
            self._leader.set_state(WaiterState.LEAD)

    def _withdraw(self, waiter: Waiter) -> None:
        """Take a cancelled waiter out of the queue; a permit that it got already goes to the next waiter."""
        if waiter.state is WaiterState.GO:
            self.return_permit()
        elif waiter in self._queue:
            self._queue.remove(waiter)
        # After the removal: the next leader is the new head of the queue.
        if self._leader is waiter:
            self._hand_over()

    def _wake_leader(self) -> None:
        if self._sleep_scope is not None:
            self._sleep_scope.cancel()

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
