"""Counts by time, in slots of a tenth of a second that are used over and over: the last half minute, in flat memory."""

from __future__ import annotations

import math

SLOTS_PER_S = 10
SLOTS = 300


class SlidingCount:
    """What became of attempts, by the time they were sent (or, for turns given, by the time of the turn)."""

    __slots__ = ("_accepted", "_slot", "_throttled")

    def __init__(self) -> None:
        self._slot = [-1] * SLOTS
        self._accepted = [0] * SLOTS
        self._throttled = [0] * SLOTS

    def add(self, at_s: float, *, throttled: bool = False) -> None:
        """Count one attempt made at ``at_s``; forgotten after half a minute."""
        slot = int(at_s * SLOTS_PER_S)
        index = slot % SLOTS
        if self._slot[index] != slot:
            if self._slot[index] > slot:
                return
            self._slot[index] = slot
            self._accepted[index] = self._throttled[index] = 0
        if throttled:
            self._throttled[index] += 1
        else:
            self._accepted[index] += 1

    def between(self, since_s: float, until_s: float) -> tuple[int, int]:
        """Accepted and throttled attempts of the whole slots from ``since_s`` up to ``until_s``, rounded down."""
        last = math.floor(until_s * SLOTS_PER_S)
        accepted = throttled = 0
        for slot in range(max(math.floor(since_s * SLOTS_PER_S), last - SLOTS), last):
            index = slot % SLOTS
            if self._slot[index] == slot:
                accepted += self._accepted[index]
                throttled += self._throttled[index]
        return accepted, throttled
