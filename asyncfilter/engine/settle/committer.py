"""The group committer: what tasks record becomes durable in batches, each of them one transaction.

It only writes; the settle loop does what follows from a batch. Invariant: an image is ready only when its outcome is
durable.
"""

from __future__ import annotations

import msgspec

from asyncfilter.engine.core.pending import PendingSignal
from asyncfilter.engine.core.spending import SpendingRecord
from asyncfilter.engine.core.work_item import WorkItem
from asyncfilter.errors import CheckpointError
from asyncfilter.model import Failure
from asyncfilter.policy.certain_stop import CertainStop
from asyncfilter.ports.checkpoint import LabelStore
from asyncfilter.records.images import DoneEffect
from asyncfilter.records.progress import Batch, Watermark

BATCH_ROWS = 2000
"""Most rows in one transaction, so that a commit under full load takes far less than 250 ms."""


class GroupCommitter:
    """Collects outcomes, effects, failures and money, and writes them in order.

    Args:
        checkpoint: Written to.
        spending: The money that is written with every batch; None where nothing is paid.
        pending: Set when there is something to write.
        certain_stop: Is told of every outcome, durable or not, at a position that is not counted yet.
        keeps_recorded: Keep what is recorded beside labels until images are settled.
    """

    def __init__(
        self,
        *,
        checkpoint: LabelStore,
        spending: SpendingRecord | None,
        pending: PendingSignal,
        certain_stop: CertainStop,
        keeps_recorded: bool = False,
    ) -> None:
        self.writes_watermark = True
        """False while the watermark must not become durable: in a dry run, and while stored images are redecided."""
        self._checkpoint = checkpoint
        self._spending = spending
        self._pending = pending
        self._certain_stop = certain_stop
        self._keeps_recorded = keeps_recorded
        self._items: list[WorkItem] = []
        self._effects: list[tuple[int, DoneEffect]] = []
        self._failures: list[tuple[int, Failure]] = []
        self._replaced: list[int] = []
        self._broken: CheckpointError | None = None

    def record(self, item: WorkItem) -> None:
        """Write the outcome of an image with a later batch; the image is ready once that is durable."""
        self._items.append(item)
        self._foresee(item)
        self._pending.set()

    def ready(self, item: WorkItem) -> None:
        """Mark an image as ready whose outcome is durable already, or is not stored."""
        item.is_ready = True
        self._foresee(item)
        self._pending.set()

    def note_effect(self, row_id: int, effect: DoneEffect) -> None:
        """Write with a later batch that an action was confirmed."""
        self._effects.append((row_id, effect))
        self._pending.set()

    def note_failure(self, row_id: int, failure: Failure) -> None:
        """Write with a later batch that an action failed."""
        self._failures.append((row_id, failure))
        self._pending.set()

    def note_settled(self, replaced: list[int], *, is_moved: bool) -> None:
        """Write with a later batch that images were settled.

        Args:
            replaced: Rows whose positions settled images took over; written with the watermark past these images.
            is_moved: True when the watermark moved.
        """
        self._replaced += replaced
        if is_moved:
            self._pending.set()

    async def commit(self, watermark: Watermark) -> None:
        """Write one batch, and mark its images as ready.

        Args:
            watermark: The present settled position.

        Raises:
            CheckpointError: The batch cannot be written; nothing of it is durable.
        """
        # Taken before the write: what is recorded while it lasts belongs to the next batch.
        items, self._items = self._items[:BATCH_ROWS], self._items[BATCH_ROWS:]
        await self._checkpoint.commit(self._batch(items, watermark))
        if self._spending is not None:
            self._spending.confirm()
        for item in items:
            item.is_ready = True
            item.forget_labels(keeps_recorded=self._keeps_recorded)
        # The rest of a large batch needs a round of its own, also when no further change requests one.
        if self._items:
            self._pending.set()

    def fail(self, error: CheckpointError) -> None:
        """Record that nothing can be written any more: every reservation is refused, and ``close`` raises ``error``."""
        self._broken = error
        if self._spending is not None:
            self._spending.close()

    async def close(self, watermark: Watermark) -> None:
        """Write the last figures; no money stays reserved.

        Raises:
            CheckpointError: This write failed, or that of an earlier batch.
        """
        if self._broken is not None:
            raise self._broken
        totals = self._spending.final() if self._spending is not None else None
        await self._checkpoint.commit(Batch(watermark=self._written(watermark), totals=totals))

    def _foresee(self, item: WorkItem) -> None:
        # Not a redecided image, which is counted already, and not one without money, which has no outcome.
        if not item.is_positioned and not item.is_unpaid:
            self._certain_stop.decide(item.image.seq, item.counted_verdict)

    def _batch(self, items: list[WorkItem], watermark: Watermark) -> Batch:
        effects, self._effects = self._effects, []
        failures, self._failures = self._failures, []
        replaced: list[int] = []
        # Kept back otherwise: after a crash the former row must still count while its successor is not settled.
        if self.writes_watermark:
            replaced, self._replaced = self._replaced, []
        return Batch(
            new=[item.row() for item in items if item.is_new],
            positioned=[item.row() for item in items if not item.is_new],
            effects=effects,
            failures=failures,
            unpositioned=replaced,
            watermark=self._written(watermark),
            totals=self._spending.next() if self._spending is not None else None,
        )

    def _written(self, watermark: Watermark) -> Watermark | None:
        if not self.writes_watermark:
            return None
        # A copy, because the sequencer counts on while a thread writes the batch.
        return msgspec.structs.replace(watermark, tally=watermark.tally.copy())
