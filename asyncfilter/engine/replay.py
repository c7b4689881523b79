"""Decisions made anew from stored labels: first what would change, then the change.

The first look goes through every stored image and touches nothing: it counts, applies the stop rules, and marks which
images need a second look, one bit each. Only those go through the monitor and the sink.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator

import anyio.lowlevel
import msgspec

from asyncfilter.job.spec import Job
from asyncfilter.model import ActionKind, Decision, Effect, Failure, Skip, StopReason
from asyncfilter.policy.outcome import Outcome, Outcomes
from asyncfilter.policy.rules import compile_rules
from asyncfilter.policy.stopping import stop_due
from asyncfilter.ports import Checkpoint, StoredImage, Watermark
from asyncfilter.records.tally import Tally

LOOK_IMAGES = 1000
"""Images read at a time: some 15 ms of work, after which others get their turn."""


class Verdicts(msgspec.Struct, kw_only=True):
    """What a first look found.

    Attributes:
        images: Images decided anew.
        changes: How many went from which outcome to which; outcomes that stayed are not in it.
        actions: Copies and tags that are to be made.
        stale: Copies that the new decisions would not make.
        stop_reason: The stop rule that holds at ``watermark``; None when all images are before it.
        watermark: Where the stored images end now, with their counts.
    """

    images: int = 0
    changes: Counter[tuple[str, str]] = msgspec.field(default_factory=Counter)
    actions: int = 0
    stale: int = 0
    stop_reason: StopReason | None = None
    watermark: Watermark


class Replay:
    """Decides stored images anew, in the order of examination.

    Args:
        job: The job as it is now.
        checkpoint: Has the labels.
    """

    def __init__(self, job: Job, checkpoint: Checkpoint) -> None:
        self._job = job
        self._checkpoint = checkpoint
        rules = compile_rules(job)
        self._is_asked = None if rules.needs_boxes else rules.asks_for
        self._outcomes = Outcomes(job, rules)
        self._marked = bytearray()

    async def look(self, mark: Watermark) -> Verdicts:
        """Decide every image up to ``mark`` without touching anything; cancellable at any time."""
        skipped = {reason: count for reason, count in mark.tally.skipped.items() if reason != Skip.DUPLICATE}
        tally = Tally(listed=mark.tally.listed, skipped=skipped)
        found = Verdicts(
            watermark=Watermark(cursor=mark.cursor, listing_done=mark.listing_done, pass_seq=mark.pass_seq, tally=tally)
        )
        self._marked = bytearray(mark.seq // 8 + 1)
        while found.stop_reason is None:
            rows = await self._checkpoint.seated(found.watermark.seq, LOOK_IMAGES, is_asked=self._is_asked)
            if not rows:
                break
            for row in rows:
                self._look_at(row, found)
                found.stop_reason = stop_due(tally, self._job.stop, self._job.limits)
                if found.stop_reason is not None:
                    break
            await anyio.lowlevel.checkpoint()
        found.stale = tally.stale
        return found

    async def second_look(self, up_to_seq: int) -> AsyncIterator[list[StoredImage]]:
        """The images marked by ``look``, up to ``up_to_seq``, in order."""
        wanted: list[int] = []
        for position, bits in enumerate(self._marked):
            if bits:
                wanted += [8 * position + bit for bit in range(8) if bits & (1 << bit)]
            if wanted and (len(wanted) >= LOOK_IMAGES or position == len(self._marked) - 1):
                places = [seq for seq in wanted if seq <= up_to_seq]
                yield list(await self._checkpoint.at(places, is_asked=self._is_asked))
                wanted = []

    def decide(self, row: StoredImage) -> tuple[Decision | None, Failure | None, Effect | None]:
        """What the job makes of a row with its labels: decision, standing failure, and the action that is wanted."""
        # Goes when engine/admission asks ``Outcomes.of`` itself.
        outcome = self._outcomes.of(row)
        return outcome.decision, outcome.failure, outcome.effect

    def counted(self, row: StoredImage) -> tuple[ActionKind | None, int]:
        """What a decided row adds to a tally beside its outcome: its confirmed action, and its stale copies."""
        # Goes when engine/admission asks ``Outcomes.as_stored`` itself.
        outcome = self._outcomes.as_stored(row)
        return outcome.counted, len(outcome.stale)

    def _look_at(self, row: StoredImage, found: Verdicts) -> None:
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

    def _note_change(self, row: StoredImage, outcome: Outcome, found: Verdicts) -> None:
        self._mark(row.seq or 0)
        before, after = _outcome(row.decision, row.failure), _outcome(outcome.decision, outcome.failure)
        if before != after:
            found.changes[before, after] += 1

    def _mark(self, seq: int) -> None:
        self._marked[seq // 8] |= 1 << (seq % 8)


def _outcome(decision: Decision | None, failure: Failure | None) -> str:
    if failure is not None or decision is None:
        return "failed"
    return decision.verdict.value
