"""When the next attempt may leave, and how fast attempts may follow each other.

``Pacer`` spaces attempts; ``rate.py`` decides the rate. Times are parameters: seconds of one monotonic clock.
Invariants:

- In any second, the first included, after any idleness and however late it is asked, the pacer lets no more attempts
  through than a whole-numbered rate says: ``rate x (1 - MARGIN) x (1 + CATCH_UP_S) <= rate``. At other rates, and while
  the rate changes, it is at most one more than the highest rate of that second.
- No state grows.
"""

from __future__ import annotations

MARGIN = 0.005
"""What is left under the set rate."""

SLOW_TPS = 100.0
SLOW_MARGIN = 0.01
"""What is left under rates up to ``SLOW_TPS``: there one attempt too early is a larger part of all, and answers of a
service that counts strictly by the second hang on milliseconds of the way to it."""

CATCH_UP_S = 0.005
"""How much lateness (of a timer, of a busy event loop) is made good: as much as the margin leaves room for in a second,
so that a service that counts strictly by the second sees no excess."""

IDLE_S = 0.1
"""From this lateness on nobody wanted to go, and nothing is made good."""


class Pacer:
    """Spaces attempts evenly: the generic cell rate algorithm, with a cap on what lateness may be caught up.

    Args:
        rate_tps: Attempts a second, above 0.
        catch_up_s: Longest lateness that is made good, seconds.
    """

    __slots__ = ("_catch_up_s", "_due_s", "_interval_s", "_rate_tps")

    def __init__(self, rate_tps: float, *, catch_up_s: float = CATCH_UP_S) -> None:
        self._catch_up_s = catch_up_s
        self._due_s = float("-inf")
        self._rate_tps = rate_tps
        self._interval_s = self._spacing_s(rate_tps)

    @property
    def rate_tps(self) -> float:
        """The rate as it was set, margin not taken off."""
        return self._rate_tps

    @property
    def due_s(self) -> float:
        """When the next attempt may leave; a time in the past means at once."""
        return self._due_s

    def take(self, now_s: float) -> bool:
        """Let one attempt leave at ``now_s`` if its time has come."""
        due_s = self._due_s
        if due_s > now_s:
            return False
        late_s = now_s - due_s
        made_good_s = min(late_s, self._catch_up_s) if late_s < IDLE_S else 0.0
        self._due_s = now_s - made_good_s + self._interval_s
        return True

    def give_back(self) -> None:
        """Take back the last ``take``: the attempt did not leave."""
        self._due_s -= self._interval_s

    def set_rate(self, rate_tps: float, now_s: float) -> None:
        """Change the rate; the part of an interval that has passed at the old rate keeps its worth.

        Raises:
            ValueError: ``rate_tps`` is not above 0.
        """
        interval_s = self._spacing_s(rate_tps)
        if self._due_s > now_s:
            self._due_s = now_s + (self._due_s - now_s) * interval_s / self._interval_s
        self._rate_tps = rate_tps
        self._interval_s = interval_s

    @staticmethod
    def _spacing_s(rate_tps: float) -> float:
        if not rate_tps > 0:
            raise ValueError(f"rate must be above 0 attempts a second, not {rate_tps}")
        return 1.0 / (rate_tps * (1.0 - (SLOW_MARGIN if rate_tps <= SLOW_TPS else MARGIN)))
