"""The examine stage: workers make paid calls, and share each outcome with images of the same content."""

from __future__ import annotations

from asyncfilter.engine.core.budget_gate import BudgetGate
from asyncfilter.engine.core.pool import WorkerPool
from asyncfilter.engine.core.work_item import WorkItem
from asyncfilter.engine.examine.detect import PaidCalls
from asyncfilter.engine.examine.duplicates import DuplicateTracker


class ExamineStage:
    """Examines images, several at a time.

    Args:
        calls: Makes the paid call of one image.
        duplicates: Shares its outcome.
        budget_gate: Is told when an image is no longer in flight.
        limit: Calls in flight at the most, from 1.
    """

    def __init__(self, *, calls: PaidCalls, duplicates: DuplicateTracker, budget_gate: BudgetGate, limit: int) -> None:
        self.pool: WorkerPool[WorkItem] = WorkerPool(self._examine, limit)
        self._calls = calls
        self._duplicates = duplicates
        self._budget_gate = budget_gate

    async def _examine(self, item: WorkItem) -> None:
        """Examine an image, give the outcome to its followers, and submit the follower that must be examined next."""
        has_outcome = await self._calls.examine(item)
        successor = self._duplicates.examined(item) if has_outcome else None
        # The successor takes the place of its leader at once: no image behind it may be paid with its money.
        self._budget_gate.leave(item.image.seq, successor=successor.image.seq if successor is not None else None)
        if successor is not None:
            self.pool.submit(successor)
