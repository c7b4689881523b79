"""Redecision: stored images are decided again, from their labels, when another job decided them.

The preview (``StoredDecisions.preview``) decides every image and changes nothing. Then the images whose outcome
changes, or whose action is missing, go through the settle loop at their positions, as examined images do. No detector,
limiter or budget is used.

Invariant: while the checkpoint holds decisions of two jobs, it names neither of them as the job that decided.
"""

from __future__ import annotations

import msgspec

from asyncfilter.engine.core.work_item import WorkItem
from asyncfilter.engine.settle.committer import GroupCommitter
from asyncfilter.engine.settle.loop import SettleLoop
from asyncfilter.engine.settle.run_core import RunCore
from asyncfilter.engine.settle.sequencer import Sequencer
from asyncfilter.engine.settle.stored_decisions import RedecisionPreview, StoredDecisions
from asyncfilter.errors import AsyncFilterError
from asyncfilter.events import OutcomeChange, RulesApplied
from asyncfilter.job.fingerprint import decided_by
from asyncfilter.model import StopReason
from asyncfilter.policy.effects import image_of
from asyncfilter.records.images import StoredImage


class Redecider:
    """Makes the stored decisions those of the present job.

    Args:
        core: What all parts of the run share; a dry run reports what would change, counts by it, and changes nothing.
        decisions: Finds what changes.
        sequencer: Releases and settles what changed.
        committer: Writes what changed.
        loop: Runs in a task of its own.
    """

    def __init__(
        self,
        core: RunCore,
        *,
        decisions: StoredDecisions,
        sequencer: Sequencer,
        committer: GroupCommitter,
        loop: SettleLoop,
    ) -> None:
        self._bucket = core.job.source.bucket
        self._decided_by = decided_by(core.job)
        self._checkpoint = core.checkpoint
        self._outcomes = core.outcomes
        self._stop_signal = core.stop_signal
        self._emit = core.emit
        self._clock = core.clock
        self._dry_run = core.options.dry_run
        self._decisions = decisions
        self._sequencer = sequencer
        self._committer = committer
        self._loop = loop
        self._begun: tuple[RedecisionPreview, int] | None = None

    async def run(self) -> None:
        """Decide stored images again, if the job differs from the one that decided them; then ``finish``.

        After a cancellation the next run decides all stored images again.
        """
        opened = self._checkpoint.opened
        if opened.decided_by == self._decided_by:
            return
        mark = self._sequencer.watermark
        found = await self._decisions.preview(mark)
        if found.images:
            self._report(found, dropped=mark.tally.examined - found.watermark.tally.examined)
        self._sequencer.start_at(found.watermark)
        if self._dry_run:
            return
        if opened.decided_by is not None:
            # A process killed in between leaves decisions of two jobs: the checkpoint must not name one of them.
            await self._checkpoint.decided(None, opened.watermark)
        self._begun = (found, mark.seq)
        # The watermark counts the new decisions, whose rows are not written yet; `finish` writes it.
        self._committer.writes_watermark = False
        await self._admit(found.watermark.seq)
        await self._sequencer.wait_settled()
        await self.finish()

    async def finish(self) -> None:
        """Record the job as the one that decided, when all that follows is done; else the next run redecides."""
        if self._begun is None or self._stop_signal.is_requested:
            return
        (found, up_to_seq), self._begun = self._begun, None
        # The last rows must be durable before the job is recorded as the one that decided.
        await self._loop.flush()
        mark = self._sequencer.watermark
        if found.stop_reason is not None and mark.seq < up_to_seq:
            # A stop rule now holds earlier: later images become cached rows, and the cursor, which is past them, is
            # reset.
            await self._checkpoint.drop_positions_after(mark.seq)
            mark.cursor, mark.listing_done = None, False
        await self._checkpoint.decided(self._decided_by, msgspec.structs.replace(mark, tally=mark.tally.copy()))
        self._committer.writes_watermark = True

    async def _admit(self, up_to_seq: int) -> None:
        try:
            async for rows in self._decisions.changed(up_to_seq):
                for row in rows:
                    if not self._sequencer.has_room:
                        await self._sequencer.wait_room()
                    self._admit_one(row)
        except AsyncFilterError as error:
            self._stop_signal.request(StopReason.FAILED, error)

    def _admit_one(self, row: StoredImage) -> None:
        item = WorkItem(
            image=image_of(self._bucket, row), row_id=row.id, stored=row, is_positioned=True, moves_cursor=False
        )
        item.take_outcome(row, self._outcomes.of(row))
        self._sequencer.admit(item)
        if (item.decision, item.failure) == (row.decision, row.failure):
            # Only its action is missing: the row is right, and nothing has to be durable before the action.
            self._committer.ready(item)
        else:
            self._committer.record(item)

    def _report(self, found: RedecisionPreview, dropped: int) -> None:
        self._emit(
            RulesApplied(
                at_unix_s=self._clock.unix(),
                images=found.images,
                changes=[
                    OutcomeChange(before=before, after=after, images=images)
                    for (before, after), images in sorted(found.changes.items())
                ],
                actions=found.actions,
                stale=found.stale,
                dropped=dropped,
            )
        )
