"""The journal: group commit between the tasks of a run and its checkpoint.

Whoever has something to keep notes it here and goes on; one task makes everything that came together durable as one.
Under load the batches grow by themselves, because the next one collects while the last is written.

Invariants: an outcome is told to the monitor only when it is durable; money is reserved only when its block is; the
watermark becomes durable together with, or after, everything it stands for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
import msgspec

from asyncfilter.clock import Clock
from asyncfilter.engine.ending import Ending
from asyncfilter.engine.passage import Passage
from asyncfilter.engine.purse import Purse
from asyncfilter.errors import CheckpointError
from asyncfilter.model import Failure, StopReason
from asyncfilter.ports import Batch, Checkpoint, DoneEffect, StoredImage, Totals, Watermark

COMMIT_INTERVAL_S = 0.02
"""Least time between two commits: half of what docs/guarantees.md, *Paid work is durable*, allows, less the write."""

BATCH_ROWS = 2000
"""Rows in one transaction at the most, so that a commit under full load stays far below 250 ms."""


class Journal:
    """Makes everything durable, in order, a batch at a time.

    Args:
        checkpoint: Where it goes.
        purse: The budget whose spending and reservations go with every batch.
        totals: The sums, counted by the callers; a copy goes with every batch.
        block_micros: How much to have on record as possible spending beyond what is held.
        advance: The monitor; awaited whenever outcomes became durable or actions ended.
        watermark: The settled position now.
        ending: Told when the checkpoint cannot be written any more.
        clock: Time.
    """

    def __init__(
        self,
        *,
        checkpoint: Checkpoint,
        purse: Purse,
        totals: Totals,
        block_micros: Callable[[], int],
        advance: Callable[[], Awaitable[None]],
        watermark: Callable[[], Watermark],
        ending: Ending,
        clock: Clock,
    ) -> None:
        self.keeps_place = True
        """False while the watermark must not become durable: a dry run, or decisions being made anew."""
        self._checkpoint = checkpoint
        self._purse = purse
        self._totals = totals
        self._block_micros = block_micros
        self._advance = advance
        self._watermark = watermark
        self._ending = ending
        self._clock = clock
        self._passages: list[Passage] = []
        self._effects: list[tuple[int, DoneEffect]] = []
        self._failures: list[tuple[int, Failure]] = []
        self._unseated: list[int] = []
        self._dirty = anyio.Event()
        self._noted = 0
        self._done = 0
        self._progress = anyio.Event()
        self._broken: CheckpointError | None = None

    def record(self, passage: Passage) -> None:
        """Keep the outcome of an image; it is ready once that is durable."""
        self._passages.append(passage)
        self.touch()

    def ready(self, passage: Passage) -> None:
        """Let the monitor see an image whose outcome is durable already."""
        passage.is_ready = True
        self.touch()

    def note_effect(self, row_id: int, effect: DoneEffect) -> None:
        """Keep that an action was confirmed."""
        self._effects.append((row_id, effect))
        self.touch()

    def note_failure(self, row_id: int, failure: Failure) -> None:
        """Keep that an action failed."""
        self._failures.append((row_id, failure))
        self.touch()

    def note_unseated(self, row_id: int) -> None:
        """Keep that a row lost its place; it goes with the watermark that passes its successor."""
        self._unseated.append(row_id)

    def touch(self) -> None:
        """Something changed that the next batch should carry."""
        self._noted += 1
        self._dirty.set()

    async def flush(self) -> None:
        """Return when everything noted so far, and everything that followed from it, is durable.

        Returns at once when the checkpoint cannot be written; the ending then has the error.
        """
        while self._broken is None and self._done < self._noted:
            await self._progress.wait()

    async def run(self) -> None:
        """Write batches until cancelled; ``flush`` first."""
        while True:
            await self._dirty.wait()
            self._dirty = anyio.Event()
            started_s = self._clock.monotonic()
            try:
                await self._write()
            except CheckpointError as error:
                self._broken = error
                self._ending.request(StopReason.FAILED, error)
                self._purse.close()
                self._notify()
                return
            self._notify()
            await self._clock.sleep(max(0.0, COMMIT_INTERVAL_S - (self._clock.monotonic() - started_s)))

    async def close(self) -> None:
        """Make the last figures durable: nothing stays reserved.

        Raises:
            CheckpointError: Now, or at an earlier batch.
        """
        if self._broken is not None:
            raise self._broken
        await self._checkpoint.commit(
            Batch(watermark=self._place(), totals=self._sums(self._purse.budget.spent_micros))
        )

    async def _write(self) -> None:
        """One batch, then what follows from it: judging, releasing, settling."""
        noted = self._noted
        passages = await self._write_batch()
        for passage in passages:
            passage.is_ready = True
            passage.detection = None
        await self._advance()
        self._done = noted
        if self._passages:
            self.touch()

    async def _write_batch(self) -> list[Passage]:
        passages, self._passages = self._passages[:BATCH_ROWS], self._passages[BATCH_ROWS:]
        effects, self._effects = self._effects, []
        failures, self._failures = self._failures, []
        unseated: list[int] = []
        if self.keeps_place:
            unseated, self._unseated = self._unseated, []
        budget = self._purse.budget
        grant_micros = budget.next_grant_micros(self._block_micros())
        batch = Batch(
            new=[_row(passage) for passage in passages if _is_new(passage)],
            seated=[_row(passage) for passage in passages if not _is_new(passage)],
            effects=effects,
            failures=failures,
            unseated=unseated,
            watermark=self._place(),
            totals=self._sums(grant_micros),
        )
        await self._checkpoint.commit(batch)
        budget.grant(grant_micros)
        self._purse.refresh()
        return passages

    def _place(self) -> Watermark | None:
        if not self.keeps_place:
            return None
        mark = self._watermark()
        return msgspec.structs.replace(mark, tally=mark.tally.copy())

    def _sums(self, grant_micros: int) -> Totals:
        budget = self._purse.budget
        self._totals.spent_micros = budget.spent_micros
        self._totals.billed_calls = budget.billed_calls
        reserved_micros = grant_micros - budget.spent_micros
        price_micros = budget.next_price_micros
        return msgspec.structs.replace(
            self._totals,
            reserved_micros=reserved_micros,
            reserved_calls=reserved_micros // price_micros if price_micros else budget.held_calls,
        )

    def _notify(self) -> None:
        self._progress.set()
        self._progress = anyio.Event()


def _is_new(passage: Passage) -> bool:
    return passage.stored is None or passage.stored.id != passage.row_id


def _row(passage: Passage) -> StoredImage:
    image = passage.image
    return StoredImage(
        id=passage.row_id,
        seq=image.seq,
        key=image.key,
        etag=image.etag,
        size_bytes=image.size_bytes,
        decision=passage.decision,
        failure=passage.failure,
        detection=passage.detection,
        same_as=passage.same_as,
    )
