"""The settle loop: the one task that commits, judges, releases and settles, so that no lock is needed.

Every other task of a run notes what it found (an outcome, a confirmed action, a need for money) and goes on. One round
of this loop makes all of it durable as one transaction, and then does what follows from it. Under load the rounds carry
more by themselves, because the next one collects while the last one is written.

Invariants: an outcome is judged only when it is durable; an action is released only after that; money is reserved only
when its block is durable; the watermark becomes durable together with, or after, everything it stands for.
"""

from __future__ import annotations

from asyncfilter.clock import Clock
from asyncfilter.engine.actions import SinkStage
from asyncfilter.engine.core.pending import PendingSignal
from asyncfilter.engine.ending import Ending
from asyncfilter.engine.journal import GroupCommitter
from asyncfilter.engine.monitor import Sequencer
from asyncfilter.errors import CheckpointError
from asyncfilter.model import StopReason

ROUND_INTERVAL_S = 0.02
"""Least time between the starts of two rounds: half of what is allowed from response to disk, less the write itself
(docs/guarantees.md, *Paid work is durable*)."""


class SettleLoop:
    """Takes outcomes from the committer through the sequencer to the sink, round after round.

    Args:
        committer: Holds what is to become durable.
        sequencer: Judges, releases and settles in order.
        sink_stage: Carries out what is released.
        pending: Says when there is something to do.
        ending: Told when a stop rule holds, and when the checkpoint cannot be written any more.
        clock: Time.
    """

    def __init__(
        self,
        *,
        committer: GroupCommitter,
        sequencer: Sequencer,
        sink_stage: SinkStage,
        pending: PendingSignal,
        ending: Ending,
        clock: Clock,
    ) -> None:
        self._committer = committer
        self._sequencer = sequencer
        self._sink_stage = sink_stage
        self._pending = pending
        self._ending = ending
        self._clock = clock

    async def run(self) -> None:
        """Go round until cancelled (``flush`` first), or until the checkpoint cannot be written."""
        while True:
            mark = await self._pending.wait()
            started_s = self._clock.monotonic()
            try:
                await self._round()
            except CheckpointError as error:
                self._committer.fail(error)
                self._ending.request(StopReason.FAILED, error)
                self._pending.close()
                return
            self._pending.handle(mark)
            await self._clock.sleep(max(0.0, ROUND_INTERVAL_S - (self._clock.monotonic() - started_s)))

    async def flush(self) -> None:
        """Return when everything noted so far, and everything that followed from it, is durable and judged.

        Returns at once when the checkpoint cannot be written; the ending then has the error.
        """
        await self._pending.wait_handled()

    async def _round(self) -> None:
        """Commit what came together, then judge, release, submit and settle what follows from it."""
        await self._committer.commit(self._sequencer.watermark)
        judged = self._sequencer.judge()
        if judged.stop is not None:
            self._ending.request(judged.stop.reason, judged.stop.cause)
        for passage, effect, failure in await self._sequencer.release(judged.passages):
            if effect is not None:
                self._sink_stage.submit(passage, effect)
            elif failure is not None:
                self._committer.note_failure(passage.row_id, failure)
        settled = self._sequencer.settle()
        self._committer.note_settled(settled.replaced, is_moved=settled.is_moved)
