"""Redecision: stored images are decided again, from their labels, when the job is not the one they were decided by.

The first look (``StoredDecisions.look``) decides everything and changes nothing. Then the images that need more go
through the settle loop, at their positions, as examined ones do. No detector, limiter or budget takes part.

Invariant: while decisions of two jobs stand beside each other, the checkpoint is on record as decided by none.
"""

from __future__ import annotations

import msgspec

from asyncfilter.clock import Clock
from asyncfilter.engine.ending import Ending
from asyncfilter.engine.journal import GroupCommitter
from asyncfilter.engine.monitor import Sequencer
from asyncfilter.engine.passage import Passage
from asyncfilter.engine.replay import Replay, Verdicts
from asyncfilter.engine.settle.loop import SettleLoop
from asyncfilter.errors import AsyncFilterError
from asyncfilter.events import Emit, OutcomeChange, RulesApplied
from asyncfilter.job.fingerprint import decided_by
from asyncfilter.job.spec import Job
from asyncfilter.model import ObjectRef, StopReason
from asyncfilter.ports import Checkpoint, StoredImage


class Redecider:
    """Brings the stored decisions up to the job as it is now.

    Args:
        job: The job.
        checkpoint: Holds labels and decisions.
        replay: Decides stored images.
        sequencer: Releases and settles what changed.
        committer: Keeps what changed.
        loop: Runs beside it.
        ending: Told when the checkpoint cannot be read.
        emit: Told what changes.
        clock: Time.
        dry_run: Find and report what would change, and count by it; write nothing.
    """

    def __init__(
        self,
        job: Job,
        *,
        checkpoint: Checkpoint,
        replay: Replay,
        sequencer: Sequencer,
        committer: GroupCommitter,
        loop: SettleLoop,
        ending: Ending,
        emit: Emit,
        clock: Clock,
        dry_run: bool,
    ) -> None:
        self._bucket = job.source.bucket
        self._skips_duplicates = job.source.skip_duplicates
        self._decided_by = decided_by(job)
        self._checkpoint = checkpoint
        self._replay = replay
        self._sequencer = sequencer
        self._committer = committer
        self._loop = loop
        self._ending = ending
        self._emit = emit
        self._clock = clock
        self._dry_run = dry_run
        self._begun: tuple[Verdicts, int] | None = None

    async def run(self) -> None:
        """Decide stored images again where the job differs from the one that decided them; ``finish`` afterwards.

        Cancelling leaves decisions that are made again by the next run.
        """
        opened = self._checkpoint.opened
        if opened.decided_by == self._decided_by:
            return
        mark = self._sequencer.watermark
        found = await self._replay.look(mark)
        if found.images:
            self._report(found, dropped=mark.tally.examined - found.watermark.tally.examined)
        self._sequencer.start_at(found.watermark)
        if self._dry_run:
            return
        if opened.decided_by is not None:
            # A process that dies half way leaves decisions of two jobs: they must not pass for those of one.
            await self._checkpoint.decided(None, opened.watermark)
        self._begun = (found, mark.seq)
        self._committer.writes_watermark = False
        await self._admit(found.watermark.seq)
        await self._sequencer.wait_settled()
        await self.finish()

    async def finish(self) -> None:
        """Put the new decisions on record once all that follows from them is done; else they are made again."""
        if self._begun is None or self._ending.is_requested:
            return
        (found, up_to_seq), self._begun = self._begun, None
        await self._loop.flush()
        mark = self._sequencer.watermark
        if found.stop_reason is not None and mark.seq < up_to_seq:
            await self._checkpoint.unseat_after(mark.seq)
            mark.cursor, mark.listing_done = None, False
        await self._checkpoint.decided(self._decided_by, msgspec.structs.replace(mark, tally=mark.tally.copy()))
        self._committer.writes_watermark = True

    async def _admit(self, up_to_seq: int) -> None:
        try:
            async for rows in self._replay.second_look(up_to_seq):
                for row in rows:
                    if not self._sequencer.has_room:
                        await self._sequencer.wait_room()
                    self._admit_one(row)
        except AsyncFilterError as error:
            self._ending.request(StopReason.FAILED, error)

    def _admit_one(self, row: StoredImage) -> None:
        image = ObjectRef(bucket=self._bucket, key=row.key, size_bytes=row.size_bytes, etag=row.etag, seq=row.seq or 0)
        passage = Passage(image=image, row_id=row.id, stored=row, is_seated=True, moves_cursor=False)
        passage.same_as = row.same_as
        passage.is_skipped = self._skips_duplicates and row.same_as is not None
        passage.decision, passage.failure, _ = self._replay.decide(row)
        self._sequencer.admit(passage)
        if (passage.decision, passage.failure) == (row.decision, row.failure):
            self._committer.ready(passage)
        else:
            self._committer.record(passage)

    def _report(self, found: Verdicts, dropped: int) -> None:
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
