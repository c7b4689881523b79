"""The settle loop: the one task that commits, judges, releases and settles, so that no lock is needed.

Every other task of a run only records its result (an outcome, a confirmed action, a need for money) and continues. One
round of this loop makes all these records durable as one transaction, and then does what follows from them. Under load
the batches become larger without any tuning, because records collect for the next round while one is written.

Invariants:

- An outcome is judged only when it is durable, and its action is released only after that.
- Money is reserved only when its block is durable.
- The watermark becomes durable together with, or after, everything before its position.
"""

from __future__ import annotations

from anyio.lowlevel import checkpoint

from asyncfilter.clock import Clock
from asyncfilter.engine.core.pending import PendingSignal
from asyncfilter.engine.core.stopping import StopSignal
from asyncfilter.engine.settle.committer import GroupCommitter
from asyncfilter.engine.settle.sequencer import Sequencer
from asyncfilter.engine.settle.sink_stage import SinkStage
from asyncfilter.errors import CheckpointError
from asyncfilter.model import StopReason

ROUND_INTERVAL_S = 0.02
"""Least time between the starts of two rounds: half of the time allowed from response to disk, less the write itself
(docs/guarantees.md, *Paid work is durable*)."""

PORTION = 16
"""Actions begun in one go; signing and sending them takes two milliseconds, in which no attempt is sent."""


class SettleLoop:
    """Takes outcomes from the committer through the sequencer to the sink, round after round.

    Args:
        committer: Holds and writes what is to become durable.
        sequencer: Judges, releases and settles in order.
        sink_stage: Carries out what is released.
        pending: Set when a round is needed.
        stop_signal: Ends the run when a stop rule holds, or the checkpoint cannot be written any more.
        clock: Time.
    """

    def __init__(
        self,
        *,
        committer: GroupCommitter,
        sequencer: Sequencer,
        sink_stage: SinkStage,
        pending: PendingSignal,
        stop_signal: StopSignal,
        clock: Clock,
    ) -> None:
        self._committer = committer
        self._sequencer = sequencer
        self._sink_stage = sink_stage
        self._pending = pending
        self._stop_signal = stop_signal
        self._clock = clock

    async def run(self) -> None:
        """Make rounds until cancelled (call ``flush`` first), or until the checkpoint cannot be written."""
        while True:
            mark = await self._pending.wait()
            started_s = self._clock.monotonic()
            try:
                await self._round()
            except CheckpointError as error:
                # In this order: no attempt may be paid for that cannot be recorded, and `flush` returns when the cause
                # is known.
                self._committer.fail(error)
                self._stop_signal.request(StopReason.FAILED, error)
                self._pending.close()
                return
            self._pending.handle(mark)
            # After `handle`, so that `flush` does not wait for this pause.
            await self._clock.sleep(max(0.0, ROUND_INTERVAL_S - (self._clock.monotonic() - started_s)))

    def hurry(self) -> None:
        """Carry out released actions without delay, from now on: no more images are admitted."""
        self._sink_stage.hurry()

    async def flush(self) -> None:
        """Return when all records so far, and all that follow from them, are durable and judged.

        Returns immediately when the checkpoint cannot be written; the stop signal then holds the error.
        """
        await self._pending.wait_handled()

    async def _round(self) -> None:
        """Commit what was recorded, then judge, release, submit and settle.

        The watermark written first is that of the round before. What this round settles is written by the next one, so
        a crash in between repeats work on images that are not settled in the checkpoint, and skips none.
        """
        await self._committer.commit(self._sequencer.watermark)
        judged = self._sequencer.judge()
        if judged.stop is not None:
            self._stop_signal.request(judged.stop.reason, judged.stop.cause)
        # Also after a stop: all images that were judged are before the stop position, so their actions are carried out.
        for number, (item, effect, failure) in enumerate(await self._sequencer.release(judged.items), 1):
            if effect is not None:
                self._sink_stage.submit(item, effect)
            elif failure is not None:
                self._committer.note_failure(item.row_id, failure)
            if not number % PORTION:
                await checkpoint()
        # After `release`, which settles the images that have no action.
        settled = self._sequencer.settle()
        self._committer.note_settled(settled.replaced, is_moved=settled.is_moved)
