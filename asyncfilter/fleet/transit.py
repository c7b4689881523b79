"""How late a turn is at a worker, without clocks that agree.

The smallest transit of a frame that was seen in the last minutes counts as no time at all: what is longer than it is
lateness. So the attempts of any second come from turns of little more than a second, however long the way is.
"""

from __future__ import annotations

import time

TURN_S = 0.050
"""A turn is good for so long; after that it goes back unused."""

BATCH_S = 0.005
"""Asks of so much time travel in one frame; this wait is not counted as lateness."""

_DRIFT = 200e-6
"""How much faster one clock may run than the other; quartz differs by less than half of it."""

_RECENT_S = 120.0
"""A way that has become longer for good is taken as it is after twice this time at the latest: until then each turn
that takes it is late. Standing still and being busy last less long."""


_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Transit:
    """The way from one head to one worker."""

    __slots__ = ("_began_s", "_recent_s", "_smallest_s", "_updated_s")

    def __init__(self) -> None:
        self._smallest_s = float("inf")
        self._recent_s = float("inf")
        self._began_s = self._updated_s = float("-inf")

    def arrived(self, sent_s: float, now_s: float) -> None:
        """Adapt to one frame.

        Args:
            sent_s: When it was sent, by the head's clock.
            now_s: The time, by the worker's clock.
        """
        if now_s - self._began_s > _RECENT_S:
            self._smallest_s, self._recent_s, self._began_s = self._recent_s, float("inf"), now_s
        # The smallest transit may grow as fast as clocks differ: else a drift of days would look like lateness.
        drift_s = max(0.0, now_s - self._updated_s) * _DRIFT
        self._recent_s = min(now_s - sent_s, self._recent_s + drift_s)
        self._smallest_s = min(self._recent_s, self._smallest_s + drift_s)
        self._updated_s = now_s

    def late_s(self, turn_s: float, now_s: float) -> float:
        """How late a turn is that was given at ``turn_s`` by the head's clock, from 0."""
        return max(0.0, now_s - turn_s - self._smallest_s - BATCH_S)


def fleet_clock() -> float:
    """Seconds that go on while this machine is suspended, which ``time.monotonic`` does not count on Linux."""
    return time.clock_gettime(_CLOCK)
