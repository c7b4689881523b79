"""The turnstile that every attempt passes, the first and each repetition.

The rate comes from ``RateController``, the spacing from ``Pacer``; this module makes tasks wait. Invariants:

- First come, first served; a free turn is never taken past someone who waits.
- The head of the queue sleeps for all, at least a millisecond at a time, and wakes a batch: no task of its own, no
  spinning.
- A cancelled or refused waiter uses no turn.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from enum import Enum, auto

from anyio import CancelScope

from asyncfilter.clock import Clock
from asyncfilter.errors import ThrottleCause
from asyncfilter.policy.pacing import FIRST_S, Pacer
from asyncfilter.policy.rate import RateController
from asyncfilter.policy.sliding import SlidingCount

SHORTEST_SLEEP_S = 0.001
"""What event loops can time; several turns a millisecond are given in one batch."""

LONGEST_SLEEP_S = 0.5
"""The rate is asked again at least this often while somebody waits: it may have risen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LimiterStatistics:
    """What the limiter is doing.

    Attributes:
        waiting: Tasks that wait for their turn.
        attempts_last_s: Turns given in the last second, which ends up to a tenth of a second ago.
        rate_tps: The rate now.
        limit_tps: The highest rate allowed; None when it is not known.
        closed: True once no more turns are given.
    """

    waiting: int
    attempts_last_s: int
    rate_tps: float
    limit_tps: float | None
    closed: bool


class _Word(Enum):
    """What a waiter knows of its turn."""

    WAIT = auto()
    LEAD = auto()
    GO = auto()
    REFUSED = auto()


class _Place:
    """A place in the queue."""

    __slots__ = ("_told", "word")

    def __init__(self) -> None:
        self.word = _Word.WAIT
        self._told: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def tell(self, word: _Word) -> None:
        self.word = word
        if not self._told.done():
            self._told.set_result(None)

    async def wait(self) -> None:
        await self._told


class RateLimiter:
    """Gives turns at the controller's rate, first come, first served. Belongs to one event loop.

    Args:
        controller: Decides the rate; fed by ``accepted`` and ``throttled``.
        clock: Time, and how to wait.
        first_s: See ``Pacer``.
    """

    def __init__(self, controller: RateController, clock: Clock, *, first_s: float = FIRST_S) -> None:
        self._controller = controller
        self._clock = clock
        self._pacer = Pacer(controller.rate_tps(clock.monotonic()), first_s=first_s)
        self._turns = SlidingCount()
        self._queue: deque[_Place] = deque()
        self._leader: _Place | None = None
        self._nap: CancelScope | None = None
        self._closed = False

    async def acquire(self) -> bool:
        """Wait for a turn.

        Returns:
            True with a turn, which is for one attempt made at once. False without one, once the limiter is closed. A
            cancelled caller has used no turn.
        """
        if self.acquire_nowait():
            return True
        if self._closed:
            return False
        place = _Place()
        self._queue.append(place)
        try:
            if self._leader is not None:
                await place.wait()
            if place.word in (_Word.WAIT, _Word.LEAD):
                await self._lead(place)
        except BaseException:
            self._forsake(place)
            raise
        return place.word is _Word.GO

    def acquire_nowait(self) -> bool:
        """Take a turn if one is free and nobody waits for it."""
        if self._closed or self._queue:
            return False
        now_s = self._follow_rate()
        return self._take(now_s)

    def expected_wait_s(self) -> float:
        """Seconds until a task that comes now would have its turn, if the rate stays as it is."""
        now_s = self._follow_rate()
        return max(0.0, self._pacer.due_s - now_s) + len(self._queue) / self._pacer.rate_tps

    def close(self) -> None:
        """Give no more turns: everybody who waits, and everybody who comes later, is refused."""
        self._closed = True
        while self._queue:
            self._queue.popleft().tell(_Word.REFUSED)
        self._wake_leader()

    def accepted(self, sent_s: float) -> None:
        """The service took an attempt sent at ``sent_s`` (the clock's ``monotonic``), whatever it answered."""
        self._controller.accepted(self._clock.monotonic(), sent_s)

    def throttled(self, cause: ThrottleCause, sent_s: float) -> None:
        """The service refused an attempt sent at ``sent_s`` for its rate."""
        self._controller.throttled(self._clock.monotonic(), cause, sent_s)

    def statistics(self) -> LimiterStatistics:
        """How things stand."""
        now_s = self._clock.monotonic()
        return LimiterStatistics(
            waiting=len(self._queue),
            attempts_last_s=self._turns.between(now_s - 1.0, now_s).total,
            rate_tps=self._controller.rate_tps(now_s),
            limit_tps=self._controller.limit_tps,
            closed=self._closed,
        )

    async def _lead(self, place: _Place) -> None:
        """Sleep for the whole queue until it is this place's turn, then hand over to the next."""
        self._leader = place
        place.word = _Word.LEAD
        while place.word is _Word.LEAD:
            nap_s = self._pacer.due_s - self._clock.monotonic()
            with CancelScope() as self._nap:
                await self._clock.sleep(min(max(nap_s, SHORTEST_SLEEP_S), LONGEST_SLEEP_S))
            self._give_turns()
        self._hand_over()

    def _give_turns(self) -> None:
        now_s = self._follow_rate()
        while self._queue and self._take(now_s):
            self._queue.popleft().tell(_Word.GO)

    def _hand_over(self) -> None:
        self._leader = self._queue[0] if self._queue else None
        if self._leader is not None:
            self._leader.tell(_Word.LEAD)

    def _forsake(self, place: _Place) -> None:
        """A waiter was cancelled: its place is taken out, and a turn it was given already goes to the next."""
        if place.word is _Word.GO:
            self._pacer.give_back()
            self._wake_leader()
        elif place in self._queue:
            self._queue.remove(place)
        if self._leader is place:
            self._hand_over()

    def _wake_leader(self) -> None:
        if self._nap is not None:
            self._nap.cancel()

    def _follow_rate(self) -> float:
        now_s = self._clock.monotonic()
        rate_tps = self._controller.rate_tps(now_s)
        if rate_tps != self._pacer.rate_tps:
            self._pacer.set_rate(rate_tps, now_s)
        return now_s

    def _take(self, now_s: float) -> bool:
        if not self._pacer.take(now_s):
            return False
        self._turns.add(now_s)
        return True
