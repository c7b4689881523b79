"""Quotas: a sliding second or a token bucket, and a limit on how fast a rate may grow.

Without I/O: every decision is a function of the times passed to ``admit``, in monotonic seconds.
"""

from __future__ import annotations

from collections import deque
from enum import StrEnum
from typing import Final, Protocol

WINDOW_S: Final = 1.0


class ThrottleMode(StrEnum):
    """How the quota is counted."""

    WINDOW = "window"
    """At most the quota in any window of one second."""
    BUCKET = "bucket"
    """The quota on average; idle time accumulates up to one second's worth of calls."""


class Quota(Protocol):
    """Decides for each attempt whether it is within the rate."""

    def admit(self, at_s: float) -> bool:
        """Count an attempt at ``at_s``; False if it is refused. Refused attempts do not use the quota."""
        ...


class SlidingWindow:
    """At most ``floor(tps)`` attempts in any window of a second; for ``tps`` below 1, one in any ``1 / tps`` s."""

    def __init__(self, tps: float) -> None:
        self._limit = max(1, int(tps))
        self._span_s = WINDOW_S if tps >= 1 else 1 / tps
        self._admitted: deque[float] = deque()

    def admit(self, at_s: float) -> bool:
        """See ``Quota``."""
        admitted = self._admitted
        while admitted and admitted[0] <= at_s - self._span_s:
            admitted.popleft()
        if len(admitted) >= self._limit:
            return False
        admitted.append(at_s)
        return True


class TokenBucket:
    """``tps`` tokens a second, at most ``burst`` of them stored; full at the start."""

    def __init__(self, tps: float, burst: float | None = None) -> None:
        self._tps = tps
        self._burst = max(1.0, tps if burst is None else burst)
        self._tokens = self._burst
        self._at_s: float | None = None

    def admit(self, at_s: float) -> bool:
        """See ``Quota``."""
        if self._at_s is not None:
            self._tokens = min(self._burst, self._tokens + (at_s - self._at_s) * self._tps)
        self._at_s = at_s
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Ramp:
    """Admits up to ``growth`` times the attempts of the previous second, and always ``floor`` attempts a second."""

    def __init__(self, growth: float, floor: int = 10) -> None:
        self._growth = growth
        self._floor = floor
        self._second = 0
        self._now = 0
        self._before = 0

    def admit(self, at_s: float) -> bool:
        """See ``Quota``."""
        second = int(at_s)
        if second != self._second:
            self._before = self._now if second == self._second + 1 else 0
            self._second, self._now = second, 0
        if self._now >= max(self._floor, self._growth * self._before):
            return False
        self._now += 1
        return True


def new_quota(tps: float, mode: ThrottleMode) -> Quota:
    """A quota of ``tps`` attempts a second."""
    return SlidingWindow(tps) if mode is ThrottleMode.WINDOW else TokenBucket(tps)
