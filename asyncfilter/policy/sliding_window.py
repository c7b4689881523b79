"""Attempts by time: the last half minute in slots of a tenth of a second, in a ring buffer of constant size."""

from __future__ import annotations

import math
from typing import NamedTuple

SLOTS_PER_S = 10
SLOTS = 300

ACCEPTED, OVER, UNWELL = range(3)
"""Result of an attempt: accepted; throttled because the rate is too high; throttled because the service is
overloaded."""


class WindowCounts(NamedTuple):
    """The results of the attempts in some period, as counts."""

    accepted: int
    over: int
    unwell: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.accepted + self.over + self.unwell

    @property
    def refused(self) -> int:
        """The throttled ones."""
        return self.over + self.unwell


class SlidingCount:
    """Results of attempts, by the time they were sent (or, for permits, by the time they were granted)."""

    __slots__ = ("_counts", "_slot")

    def __init__(self) -> None:
        self._slot = [-1] * SLOTS
        self._counts = [[0, 0, 0] for _ in range(SLOTS)]

    def add(self, at_s: float, what: int = ACCEPTED) -> None:
        """Count one attempt made at ``at_s``; forgotten after half a minute."""
        slot = int(at_s * SLOTS_PER_S)
        index = slot % SLOTS
        if self._slot[index] != slot:
            # Older than half a minute: the slot is in use for a later time.
            if self._slot[index] > slot:
                return
            self._slot[index] = slot
            self._counts[index] = [0, 0, 0]
        self._counts[index][what] += 1

    def between(self, since_s: float, until_s: float) -> WindowCounts:
        """The attempts of the whole slots from ``since_s`` up to ``until_s``, both rounded down."""
        last = math.floor(until_s * SLOTS_PER_S)
        slots = range(max(math.floor(since_s * SLOTS_PER_S), last - SLOTS), last)
        counts = [self._counts[slot % SLOTS] for slot in slots if self._slot[slot % SLOTS] == slot]
        return WindowCounts(*map(sum, zip(*counts, strict=True))) if counts else WindowCounts(0, 0, 0)


def slot_from(at_s: float) -> float:
    """The first slot boundary at or after ``at_s``."""
    return math.ceil(at_s * SLOTS_PER_S) / SLOTS_PER_S
