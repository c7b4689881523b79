"""The examine stage: workers make paid calls, and share each outcome with images of the same content."""

from __future__ import annotations

from asyncfilter.engine.core.pool import WorkerPool
from asyncfilter.engine.core.work_item import WorkItem
from asyncfilter.engine.examine.detect import PaidCalls
from asyncfilter.engine.examine.duplicates import DuplicateTracker


class ExamineStage:
    """Examines images, several at a time.

    Args:
        calls: Makes the paid call of one image.
        duplicates: Shares its outcome.
        limit: Calls in flight at the most, from 1.
    """

    def __init__(self, *, calls: PaidCalls, duplicates: DuplicateTracker, limit: int) -> None:
        self.pool: WorkerPool[WorkItem] = WorkerPool(self._examine, limit)
        self._calls = calls
        self._duplicates = duplicates

    async def _examine(self, item: WorkItem) -> None:
        """Examine an image, give the outcome to its followers, and submit the follower that must be examined next."""
        if await self._calls.examine(item):
            successor = self._duplicates.examined(item)
            if successor is not None:
                self.pool.submit(successor)
