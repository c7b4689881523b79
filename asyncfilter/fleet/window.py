"""How many asks may be under way at one worker: cut where its answers show that asks reach it late, else grown.

Without a window, a worker that is slower than the rate collapses: turns that come too late are repeated, which makes
more of them late.
"""

from __future__ import annotations

FIRST = 16.0
LATE_S = 0.020
"""An answer to an ask that was taken up later than this shows that the worker has too many."""

CUT = 0.7
_BEGIN_GROWTH = 1.0
"""What each answer adds until the first cut: the window doubles in the time of one call."""
_GROWTH = 0.5
"""What each answer adds later: a half in the time of one call. So a window holds its size while a seventh of the
answers are late, as on a machine that is busy with other things; less growth would end at a window of one there."""


class Window:
    """The window of one worker.

    Args:
        most: Its largest size, from 1.
    """

    __slots__ = ("_cut_s", "_growth", "_most", "_size")

    def __init__(self, most: int) -> None:
        self._most = float(most)
        self._size = min(FIRST, self._most)
        self._growth = _BEGIN_GROWTH
        self._cut_s = float("-inf")

    @property
    def size(self) -> int:
        """Asks that may be under way, from 1."""
        return int(self._size)

    def answered(self, *, late_s: float, asked_s: float, under_way: int, now_s: float) -> None:
        """Adapt to one answer.

        Args:
            late_s: How late the worker took the ask up.
            asked_s: When it was asked: an ask from before the last cut shows nothing about the size since.
            under_way: Asks under way, this one among them.
            now_s: The time.
        """
        if late_s > LATE_S:
            if asked_s > self._cut_s:
                self._size = max(1.0, min(self._size, float(under_way)) * CUT)
                self._growth, self._cut_s = _GROWTH, now_s
        elif 2 * under_way >= self._size:
            # A window that is not used is not grown: its size was not tested.
            self._size = min(self._most, self._size + self._growth)
