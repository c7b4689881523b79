"""Pacing: when the next attempt may be sent.

``Pacer`` spaces attempts; ``rate.py`` decides the rate. Times are parameters: seconds of one monotonic clock.
Invariants:

- In any sliding second, the pacer admits at most as many attempts as the highest rate of that second less its margin,
  rounded up to a whole number. This includes the first second, idle times and late calls of ``take``.
- No state grows beyond the times of one second's attempts.
"""

from __future__ import annotations

import math
from collections import deque

MARGIN = 0.01
"""Fraction by which attempts stay below the set rate: with a service that counts strictly by the second, milliseconds
of network delay decide whether an attempt is accepted."""

FIRST_S = 0.05
"""Additional wait before the second attempt, seconds: the first attempt takes longer, because its connection has to be
opened."""

CATCH_UP_S = 0.05
"""How much lateness (of a timer, of a busy event loop) is made up for, seconds, as far as the limit of the second
allows: half of what a token bucket of a tenth of a second holds."""

IDLE_S = 0.1
"""From this lateness on, seconds, the pacer was idle (no attempt was due), and no lateness is made up for."""

_WINDOW_S = 1.0
"""The time over which services count their quotas, seconds."""


class Pacer:
    """Spaces attempts evenly: the generic cell rate algorithm, which makes up for lateness inside a sliding second.

    Args:
        rate_tps: Attempts a second, above 0.
        catch_up_s: Longest lateness that is made up for, seconds.
        first_s: Additional wait before the second attempt, seconds.
    """

    __slots__ = (
        "_catch_up_s",
        "_first_s",
        "_former_most",
        "_former_until_s",
        "_interval_s",
        "_most",
        "_next_s",
        "_rate_tps",
        "_taken_s",
    )

    def __init__(self, rate_tps: float, *, catch_up_s: float = CATCH_UP_S, first_s: float = FIRST_S) -> None:
        self._catch_up_s = catch_up_s
        self._first_s = first_s
        self._next_s = -math.inf
        self._rate_tps = rate_tps
        self._interval_s = self._spacing_s(rate_tps)
        self._taken_s: deque[float] = deque()
        self._most = self._most_of(rate_tps)
        self._former_most = self._most  # the highest of the last second, in force until that is over
        self._former_until_s = -math.inf

    @property
    def rate_tps(self) -> float:
        """The rate as it was set, without the margin."""
        return self._rate_tps

    @property
    def due_s(self) -> float:
        """When the next attempt may be sent; a time in the past means at once."""
        due_s = self._free_s(self._former_most)
        return due_s if due_s < self._former_until_s else self._free_s(self._most)

    def take(self, now_s: float) -> bool:
        """Admit one attempt at ``now_s`` if it is due; True when it may be sent."""
        next_s, taken_s = self._next_s, self._taken_s
        if next_s > now_s:
            return False
        while taken_s and taken_s[0] + _WINDOW_S <= now_s:
            taken_s.popleft()
        if len(taken_s) >= (self._former_most if now_s < self._former_until_s else self._most):
            return False
        late_s = now_s - next_s
        if late_s < IDLE_S:
            # Lateness counts as if the attempt had been on time, so that the following ones are due sooner.
            due_s = now_s - min(late_s, self._catch_up_s)
        else:
            due_s = now_s if math.isfinite(next_s) else now_s + self._first_s
        self._next_s = due_s + self._interval_s
        taken_s.append(now_s)
        return True

    def give_back(self) -> None:
        """Undo the last ``take``: the attempt was not sent."""
        self._next_s -= self._interval_s
        if self._taken_s:
            self._taken_s.pop()

    def set_rate(self, rate_tps: float, now_s: float) -> None:
        """Change the rate; the remaining part of the current interval is scaled to the new rate.

        Raises:
            ValueError: ``rate_tps`` is not above 0.
        """
        interval_s = self._spacing_s(rate_tps)
        if self._next_s > now_s:
            self._next_s = now_s + (self._next_s - now_s) * interval_s / self._interval_s
        most = self._most_of(rate_tps)
        # A second that began at the higher rate holds attempts of that rate: counted against the lower limit, they
        # would stop the pacer for the rest of the second.
        if most < self._most and (now_s >= self._former_until_s or self._former_most <= self._most):
            self._former_most, self._former_until_s = self._most, now_s + _WINDOW_S
        self._former_most = max(self._former_most, most)
        self._rate_tps, self._interval_s, self._most = rate_tps, interval_s, most

    def _free_s(self, most: int) -> float:
        """When an attempt may be sent if ``most`` are allowed in a second."""
        taken_s = self._taken_s
        return self._next_s if len(taken_s) < most else max(self._next_s, taken_s[-most] + _WINDOW_S)

    @staticmethod
    def _spacing_s(rate_tps: float) -> float:
        if not rate_tps > 0:
            raise ValueError(f"rate must be above 0 attempts a second, not {rate_tps}")
        return 1.0 / (rate_tps * (1.0 - MARGIN))

    @staticmethod
    def _most_of(rate_tps: float) -> int:
        """The most attempts in a second; 1e-9 is subtracted so that rounding errors do not add an attempt."""
        return math.ceil(rate_tps * (1.0 - MARGIN) - 1e-9)
