"""Stored images decided again from their labels, in two passes.

The first pass reads every stored image and writes nothing: it counts, applies the stop rules, and marks, with one bit
each, the images whose outcome changes or whose action is missing. The second pass reads only the marked images; they go
through the sequencer and the sink.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator

import anyio.lowlevel
import msgspec

from asyncfilter.job.spec import Job
from asyncfilter.model import Decision, Failure, Skip, StopReason
from asyncfilter.policy.outcome import Outcome, Outcomes
from asyncfilter.policy.rules import compile_rules
from asyncfilter.policy.stopping import stop_due
from asyncfilter.ports.checkpoint import Positions
from asyncfilter.records.answers import CurrentAnswer
from asyncfilter.records.images import StoredImage
from asyncfilter.records.progress import Watermark
from asyncfilter.records.tally import Tally

READ_IMAGES = 1000
"""Images read at a time: some 15 ms of work, after which other tasks run."""


class RedecisionPreview(msgspec.Struct, kw_only=True):
    """The result of ``StoredDecisions.preview``.

    Attributes:
        images: Images decided again.
        changes: Number of images by outcome before and after; unchanged outcomes are not included.
        actions: Actions that are still to be carried out.
        stale: Copies that the new decisions would not make.
        stop_reason: The stop rule that holds at ``watermark``; None when all images are before it.
        watermark: The position of the last image decided again, with the new counts up to it.
    """

    images: int = 0
    changes: Counter[tuple[str, str]] = msgspec.field(default_factory=Counter)
    actions: int = 0
    stale: int = 0
    stop_reason: StopReason | None = None
    watermark: Watermark


class StoredDecisions:
    """Decides stored images again, in the order of examination.

    Args:
        job: The job as it is now.
        checkpoint: Holds the labels.
        outcomes: Compute the outcome of an image.

    Attributes:
        newer: Newer answers of people than the rows have, by row id: a dry run stores none.
    """

    def __init__(self, job: Job, checkpoint: Positions, outcomes: Outcomes) -> None:
        self._job = job
        self._checkpoint = checkpoint
        rules = compile_rules(job)
        # Decoding only some labels leaves out the boxes: rules that need these read whole rows.
        self._is_asked = None if rules.needs_boxes else rules.asks_for
        self._outcomes = outcomes
        self._marked = bytearray()
        self.newer: dict[int, CurrentAnswer | None] = {}

    async def preview(self, mark: Watermark) -> RedecisionPreview:
        """Decide every image up to ``mark`` without writing anything; it can be cancelled at any time."""
        # Skipped duplicates are counted again below, image by image; other skipped objects have no row.
        skipped = {reason: count for reason, count in mark.tally.skipped.items() if reason != Skip.DUPLICATE}
        tally = Tally(listed=mark.tally.listed, skipped=skipped)
        found = RedecisionPreview(
            watermark=Watermark(
                cursor=mark.cursor,
                listing_done=mark.listing_done,
                pass_seq=mark.pass_seq,
                origin=mark.origin,
                tally=tally,
            )
        )
        # One bit each: 125 KB for a million images.
        self._marked = bytearray(mark.seq // 8 + 1)
        while found.stop_reason is None:
            rows = await self._checkpoint.positioned(found.watermark.seq, READ_IMAGES, is_asked=self._is_asked)
            if not rows:
                break
            for row in rows:
                self._preview_one(row, found)
                found.stop_reason = stop_due(tally, self._job.stop, self._job.limits)
                if found.stop_reason is not None:
                    break
            await anyio.lowlevel.checkpoint()
        found.stale = tally.stale
        return found

    async def changed(self, up_to_seq: int) -> AsyncIterator[list[StoredImage]]:
        """The images marked by ``preview``, up to ``up_to_seq``, in order."""
        wanted: list[int] = []
        for index, bits in enumerate(self._marked):
            if bits:
                wanted += [8 * index + bit for bit in range(8) if bits & (1 << bit)]
            if wanted and (len(wanted) >= READ_IMAGES or index == len(self._marked) - 1):
                positions = [seq for seq in wanted if seq <= up_to_seq]
                # Hashes are stored beside the labels, in what decoding only some of them leaves out.
                is_asked = None if self._outcomes.effects.needs_hashes else self._is_asked
                yield list(await self._checkpoint.at(positions, is_asked=is_asked))
                wanted = []

    def _preview_one(self, row: StoredImage, found: RedecisionPreview) -> None:
        if row.id in self.newer:
            row = msgspec.structs.replace(row, answer=self.newer[row.id])
        outcome = self._outcomes.of(row)
        outcome.count(found.watermark.tally)
        if outcome.pending is not None:
            found.actions += 1
        if outcome.decision != row.decision or outcome.failure != row.failure:
            self._note_change(row, outcome, found)
        elif outcome.pending is not None:
            self._mark(row.seq or 0)
        found.images += 1
        found.watermark.seq = row.seq or 0

    def _note_change(self, row: StoredImage, outcome: Outcome, found: RedecisionPreview) -> None:
        self._mark(row.seq or 0)
        before, after = outcome_name(row.decision, row.failure), outcome_name(outcome.decision, outcome.failure)
        if before != after:
            found.changes[before, after] += 1

    def _mark(self, seq: int) -> None:
        self._marked[seq // 8] |= 1 << (seq % 8)


def outcome_name(decision: Decision | None, failure: Failure | None) -> str:
    """The outcome of an image in one word, as counts name it."""
    if failure is not None or decision is None:
        return "failed"
    return decision.verdict.value
