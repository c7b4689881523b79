"""When the next attempt may leave, and how fast attempts may follow each other.

``Pacer`` spaces attempts; ``rate.py`` decides the rate. Times are parameters: seconds of one monotonic clock.
Invariants:

- In any second, the first included, after any idleness and however late it is asked, the pacer lets no more attempts
  through than the highest rate of that second less its margin, rounded up to a whole number.
- No state grows beyond the times of one second's attempts.
"""

from __future__ import annotations

import math
from collections import deque

MARGIN = 0.01
"""What is left under the set rate: answers of a service that counts strictly by the second hang on milliseconds of the
way to it."""

FIRST_S = 0.05
"""How much longer than the others the second attempt waits: the first one has the longest way, with a connection to be
made."""

CATCH_UP_S = 0.05
"""How much lateness (of a timer, of a busy event loop) is made good, as far as the second has room for it: half of what
a bucket of a tenth of a second holds."""

IDLE_S = 0.1
"""From this lateness on nobody wanted to go, and nothing is made good."""

_WINDOW_S = 1.0
"""What services count their quotas over."""


class Pacer:
    """Spaces attempts evenly: the generic cell rate algorithm, which makes lateness good inside a sliding second.

    Args:
        rate_tps: Attempts a second, above 0.
        catch_up_s: Longest lateness that is made good, seconds.
        first_s: How much longer than others the second attempt waits, seconds.
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
        self._former_most = self._most  # the highest of the last second, which holds until that is over
        self._former_until_s = -math.inf

    @property
    def rate_tps(self) -> float:
        """The rate as it was set, margin not taken off."""
        return self._rate_tps

    @property
    def due_s(self) -> float:
        """When the next attempt may leave; a time in the past means at once."""
        due_s = self._free_s(self._former_most)
        return due_s if due_s < self._former_until_s else self._free_s(self._most)

    def take(self, now_s: float) -> bool:
        """Let one attempt leave at ``now_s`` if its time has come."""
        next_s, taken_s = self._next_s, self._taken_s
        if next_s > now_s:
            return False
        while taken_s and taken_s[0] + _WINDOW_S <= now_s:
            taken_s.popleft()
        if len(taken_s) >= (self._former_most if now_s < self._former_until_s else self._most):
            return False
        late_s = now_s - next_s
        if late_s < IDLE_S:
            due_s = now_s - min(late_s, self._catch_up_s)
        else:
            due_s = now_s if math.isfinite(next_s) else now_s + self._first_s
        self._next_s = due_s + self._interval_s
        taken_s.append(now_s)
        return True

    def give_back(self) -> None:
        """Take back the last ``take``: the attempt did not leave."""
        self._next_s -= self._interval_s
        if self._taken_s:
            self._taken_s.pop()

    def set_rate(self, rate_tps: float, now_s: float) -> None:
        """Change the rate; the part of an interval that has passed at the old rate keeps its worth.

        Raises:
            ValueError: ``rate_tps`` is not above 0.
        """
        interval_s = self._spacing_s(rate_tps)
        if self._next_s > now_s:
            self._next_s = now_s + (self._next_s - now_s) * interval_s / self._interval_s
        most = self._most_of(rate_tps)
        if most < self._most and (now_s >= self._former_until_s or self._former_most <= self._most):
            self._former_most, self._former_until_s = self._most, now_s + _WINDOW_S
        self._former_most = max(self._former_most, most)
        self._rate_tps, self._interval_s, self._most = rate_tps, interval_s, most

    def _free_s(self, most: int) -> float:
        """When an attempt may leave if ``most`` are allowed in a second."""
        taken_s = self._taken_s
        return self._next_s if len(taken_s) < most else max(self._next_s, taken_s[-most] + _WINDOW_S)

    @staticmethod
    def _spacing_s(rate_tps: float) -> float:
        if not rate_tps > 0:
            raise ValueError(f"rate must be above 0 attempts a second, not {rate_tps}")
        return 1.0 / (rate_tps * (1.0 - MARGIN))

    @staticmethod
    def _most_of(rate_tps: float) -> int:
        """Attempts in a second at the most; a hair less than a whole number is that number."""
        return math.ceil(rate_tps * (1.0 - MARGIN) - 1e-9)
