"""The examine stage: the workers that make paid calls, and what follows from a call for images of the same content."""

from __future__ import annotations

from asyncfilter.engine.call import PaidCalls
from asyncfilter.engine.passage import Passage
from asyncfilter.engine.pool import WorkerPool
from asyncfilter.engine.twins import DuplicateTracker


class ExamineStage:
    """Examines images, several at a time.

    Args:
        calls: Makes the paid call of one image.
        duplicates: Shares its outcome.
        limit: Calls in flight at the most, from 1.
    """

    def __init__(self, *, calls: PaidCalls, duplicates: DuplicateTracker, limit: int) -> None:
        self.pool: WorkerPool[Passage] = WorkerPool(self._examine, limit)
        self._calls = calls
        self._duplicates = duplicates

    async def _examine(self, passage: Passage) -> None:
        """Call, give the outcome to the image's duplicates, and submit the one that must be examined next."""
        if await self._calls.examine(passage):
            successor = self._duplicates.examined(passage)
            if successor is not None:
                self.pool.submit(successor)
