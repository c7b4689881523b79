"""Time, and the states that follow from it.

A change has a status while it is under way, and an end. A look at a state after the end of its change finds what
the change has led to, with the time of its end, however late that is.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final

MOST_SPEED: Final = 1e9


class Clock:
    """The time of the sandbox.

    Args:
        speed: How many times faster than at AWS a change is; times of requests and detections are not affected.
        now: Unix seconds.

    Raises:
        ValueError: If the speed is not positive.
    """

    def __init__(self, speed: float = 1.0, now: Callable[[], float] = time.time) -> None:
        if not 0 < speed <= MOST_SPEED:
            raise ValueError(f"the speed must be above 0 and at most {MOST_SPEED:.0e}, not {speed}")
        self.speed = speed
        self._now = now
        self._ahead_s = 0.0

    def now_s(self) -> float:
        """Unix seconds."""
        return self._now() + self._ahead_s

    def advance(self, seconds: float) -> None:
        """Let time pass at once; it never goes back.

        Raises:
            ValueError: If ``seconds`` is negative.
        """
        if seconds < 0:
            raise ValueError(f"time does not go back: {seconds} s")
        self._ahead_s += seconds


class _Change:
    """A change that is under way, with the work, if any, that it waits for."""

    __slots__ = ("_clock", "_ends_s", "_work", "_worked_s", "status", "then")

    def __init__(
        self, clock: Clock, status: str, ends_s: float, then: Callable[[float], None], work: Future[Any] | None
    ) -> None:
        self._clock, self._ends_s, self._work = clock, ends_s, work
        self._worked_s = 0.0
        self.status, self.then = status, then
        if work is not None:
            work.add_done_callback(self._note)

    def _note(self, _: Future[Any]) -> None:
        self._worked_s = self._clock.now_s()

    def end_s(self) -> float | None:
        """When it ended; None while it is under way."""
        if self._clock.now_s() < self._ends_s or (self._work is not None and not self._work.done()):
            return None
        return max(self._ends_s, self._worked_s)


class State:
    """The status of one resource.

    Args:
        clock: The sandbox's.
        status: The first.
        message: What the service says beside it.
    """

    def __init__(self, clock: Clock, status: str, message: str = "") -> None:
        self._clock = clock
        self._status = status
        self._message = message
        self._change: _Change | None = None

    def begin(
        self,
        status: str,
        *,
        lasts_s: float,
        then: Callable[[float], None],
        message: str = "",
        work: Future[Any] | None = None,
    ) -> None:
        """Begin a change.

        Args:
            status: While it is under way.
            lasts_s: Its duration at AWS; it is divided by the speed.
            then: Called once with the time of its end, by the first who looks after it.
            message: What the service says meanwhile.
            work: The change does not end before it.
        """
        ends_s = self._clock.now_s() + lasts_s / self._clock.speed
        self._message = message
        self._change = _Change(self._clock, status, ends_s, then, work)

    def settle(self, status: str, message: str = "") -> None:
        """Set a status that lasts."""
        self._change, self._status, self._message = None, status, message

    @property
    def status(self) -> str:
        """The status now."""
        change = self._change
        if change is None:
            return self._status
        ended_s = change.end_s()
        if ended_s is None:
            return change.status
        self._change = None
        change.then(ended_s)
        return self.status

    @property
    def message(self) -> str:
        """What the service says about the status; empty for nothing."""
        return self._message if self.status else ""

    @property
    def is_changing(self) -> bool:
        """Whether a change is under way."""
        return bool(self.status) and self._change is not None
