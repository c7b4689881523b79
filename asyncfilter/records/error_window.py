"""Which of the last images could not be examined: the memory of ``stop.errors``.

Only failures are written down, by their place, so that images that went well cost nothing and the state stays small
however long the run is. It is a function of the outcomes in order, and goes with the tally into the checkpoint.
"""

from __future__ import annotations

from bisect import bisect_right

import msgspec

from asyncfilter.job.spec import MAX_WINDOW


class Recent(msgspec.Struct, kw_only=True):
    """Outcomes since the memory began.

    Attributes:
        outcomes: How many.
        failed_at: Which of them failed, counted from 1, rising; only those of the last ``MAX_WINDOW`` are sure to be
            there.
    """

    outcomes: int = 0
    failed_at: list[int] = []

    def count(self) -> None:
        """One image was examined."""
        self.outcomes += 1

    def count_failure(self) -> None:
        """One image could not be examined."""
        self.outcomes += 1
        del self.failed_at[: bisect_right(self.failed_at, self.outcomes - MAX_WINDOW)]
        self.failed_at.append(self.outcomes)

    def failures(self, window: int) -> int | None:
        """Failures among the last ``window`` outcomes, up to ``MAX_WINDOW``; None before there were so many."""
        if self.outcomes < window:
            return None
        return len(self.failed_at) - bisect_right(self.failed_at, self.outcomes - window)

    def copy(self) -> Recent:
        """An independent memory of the same."""
        return Recent(outcomes=self.outcomes, failed_at=list(self.failed_at))
