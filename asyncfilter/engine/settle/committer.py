"""The group committer: everything that tasks note becomes durable as one transaction, a batch at a time.

It writes and nothing else: what follows from a batch is the settle loop's business. Invariant: an image is ready only
when its outcome is durable.
"""

from __future__ import annotations

import msgspec

from asyncfilter.engine.core.pending import PendingSignal
from asyncfilter.engine.core.spending import SpendingRecord
from asyncfilter.engine.core.work_item import WorkItem
from asyncfilter.errors import CheckpointError
from asyncfilter.model import Failure
from asyncfilter.ports.checkpoint import LabelStore
from asyncfilter.records.images import DoneEffect
from asyncfilter.records.progress import Batch, Watermark

BATCH_ROWS = 2000
"""Rows in one transaction at the most, so that a commit under full load stays far below 250 ms."""


class GroupCommitter:
    """Collects what is to be kept and writes it, in order.

    Args:
        checkpoint: Where it goes.
        spending: The money that goes with every batch; None where nothing is paid.
        pending: Set whenever there is something to write.
    """

    def __init__(self, *, checkpoint: LabelStore, spending: SpendingRecord | None, pending: PendingSignal) -> None:
        self.writes_watermark = True
        """False while the watermark must not become durable: a dry run, or decisions being made anew."""
        self._checkpoint = checkpoint
        self._spending = spending
        self._pending = pending
        self._items: list[WorkItem] = []
        self._effects: list[tuple[int, DoneEffect]] = []
        self._failures: list[tuple[int, Failure]] = []
        self._replaced: list[int] = []
        self._broken: CheckpointError | None = None

    def record(self, item: WorkItem) -> None:
        """Keep the outcome of an image; it is ready once that is durable."""
        self._items.append(item)
        self._pending.set()

    def ready(self, item: WorkItem) -> None:
        """Note an image whose outcome is durable already."""
        item.is_ready = True
        self._pending.set()

    def note_effect(self, row_id: int, effect: DoneEffect) -> None:
        """Keep that an action was confirmed."""
        self._effects.append((row_id, effect))
        self._pending.set()

    def note_failure(self, row_id: int, failure: Failure) -> None:
        """Keep that an action failed."""
        self._failures.append((row_id, failure))
        self._pending.set()

    def note_settled(self, replaced: list[int], *, is_moved: bool) -> None:
        """Keep that images were settled.

        Args:
            replaced: Rows that lost their position to settled images; they go with the watermark that passes these.
            is_moved: The watermark moved.
        """
        self._replaced += replaced
        if is_moved:
            self._pending.set()

    async def commit(self, watermark: Watermark) -> None:
        """Write one batch; the images in it are ready then.

        Args:
            watermark: The settled position now.

        Raises:
            CheckpointError: The batch cannot be written; nothing of it is durable.
        """
        items, self._items = self._items[:BATCH_ROWS], self._items[BATCH_ROWS:]
        await self._checkpoint.commit(self._batch(items, watermark))
        if self._spending is not None:
            self._spending.confirm()
        for item in items:
            item.is_ready = True
            item.detection = None
        if self._items:
            self._pending.set()

    def fail(self, error: CheckpointError) -> None:
        """Note that nothing can be written any more: every reservation is refused, and ``close`` raises ``error``."""
        self._broken = error
        if self._spending is not None:
            self._spending.close()

    async def close(self, watermark: Watermark) -> None:
        """Make the last figures durable: nothing stays reserved.

        Raises:
            CheckpointError: Now, or at an earlier batch.
        """
        if self._broken is not None:
            raise self._broken
        totals = self._spending.final() if self._spending is not None else None
        await self._checkpoint.commit(Batch(watermark=self._written(watermark), totals=totals))

    def _batch(self, items: list[WorkItem], watermark: Watermark) -> Batch:
        effects, self._effects = self._effects, []
        failures, self._failures = self._failures, []
        replaced: list[int] = []
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
        return msgspec.structs.replace(watermark, tally=watermark.tally.copy())
