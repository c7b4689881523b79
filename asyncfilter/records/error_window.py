"""The error window: which of the last images could not be examined, for ``stop.errors``.

Only failures are recorded, by their position in the window, so that the state stays small however long the run is. It
depends only on the outcomes in order, and is stored in the checkpoint with the tally.
"""

from __future__ import annotations

from bisect import bisect_right

import msgspec

from asyncfilter.job.spec import MAX_WINDOW


class ErrorWindow(msgspec.Struct, kw_only=True):
    """Outcomes since the window began.

    Attributes:
        outcomes: Their number.
        failed_at: Which of them failed, counted from 1, rising; only those of the last ``MAX_WINDOW`` are certain to be
            included.
    """

    outcomes: int = 0
    failed_at: list[int] = []

    def count(self) -> None:
        """Record an image that was examined."""
        self.outcomes += 1

    def count_failure(self) -> None:
        """Record an image that could not be examined."""
        self.outcomes += 1
        del self.failed_at[: bisect_right(self.failed_at, self.outcomes - MAX_WINDOW)]
        self.failed_at.append(self.outcomes)

    def failures(self, window: int) -> int | None:
        """Failures among the last ``window`` outcomes, up to ``MAX_WINDOW``; None before there were so many."""
        if self.outcomes < window:
            return None
        return len(self.failed_at) - bisect_right(self.failed_at, self.outcomes - window)

    def copy(self) -> ErrorWindow:
        """An independent copy."""
        return ErrorWindow(outcomes=self.outcomes, failed_at=list(self.failed_at))
