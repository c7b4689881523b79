"""Take-over: newer answers of people are stored in the checkpoint, and what follows from them is done.

It happens when the checkpoint is opened, and in a run once more when the listing has ended or a limit stopped it; never
in between. An image that a newer answer is about is decided again from its labels (``policy/outcome``), counted by its
new verdict, and goes through the settle loop at its position, as in a redecision. Stop rules are not asked again: they
have seen the rules' verdicts, which answers do not change.

Invariants:

- An image's row, its answer and the counts that it changes become durable as one transaction.
- The checkpoint follows the answers file up to a serial only when all that follows from these answers is done. After a
  kill the same answers are taken over again, which changes nothing that was done before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from asyncfilter.engine.core.answered_rows import Answered, answered_rows
from asyncfilter.engine.core.known_answers import KnownAnswers
from asyncfilter.engine.core.work_item import WorkItem
from asyncfilter.engine.settle.committer import BATCH_ROWS, GroupCommitter
from asyncfilter.engine.settle.loop import SettleLoop
from asyncfilter.engine.settle.run_core import RunCore
from asyncfilter.engine.settle.sequencer import Sequencer
from asyncfilter.engine.settle.sink_stage import SinkStage
from asyncfilter.engine.settle.stored_decisions import StoredDecisions, outcome_name
from asyncfilter.errors import AnswersError, AsyncFilterError
from asyncfilter.events import AnswersTakenOver, OutcomeChange
from asyncfilter.job.fingerprint import decided_by
from asyncfilter.model import StopReason
from asyncfilter.policy.answers.following import FILE_IS_MISSING
from asyncfilter.policy.effects import image_of
from asyncfilter.policy.outcome import Outcome
from asyncfilter.records.images import StoredImage
from asyncfilter.records.progress import Batch

CHUNK_IMAGES = BATCH_ROWS // 2
"""Images that are decided again before their rows are written: they fit into one transaction with their counts."""

ENDS = frozenset(
    {
        StopReason.COMPLETED,
        StopReason.MATCHES,
        StopReason.MISSES_IN_A_ROW,
        StopReason.HIT_RATE,
        StopReason.MAX_IMAGES,
        StopReason.BUDGET,
    }
)
"""The ends of a run at which newer answers are taken over once more: neither an interruption nor an error."""


class TakeOver:
    """Takes newer answers over.

    Args:
        core: What all parts of the run share; a dry run reports what would change, counts by it, and changes nothing.
        decisions: Decides all stored images again where the job differs from the one that decided them.
        sequencer: Releases and settles what changed.
        committer: Writes what changed.
        sink_stage: Carries out actions.
        loop: Runs in a task of its own.
    """

    def __init__(
        self,
        core: RunCore,
        *,
        decisions: StoredDecisions,
        sequencer: Sequencer,
        committer: GroupCommitter,
        sink_stage: SinkStage,
        loop: SettleLoop,
    ) -> None:
        self._answers = core.answers
        self._bucket = core.job.source.bucket
        self._checkpoint = core.checkpoint
        self._outcomes = core.outcomes
        self._stop_signal = core.stop_signal
        self._cautions = core.cautions
        self._emit = core.emit
        self._clock = core.clock
        self._dry_run = core.options.dry_run
        # Otherwise the redecider decides every stored image, with the answers that are stored here.
        self._is_decided = core.checkpoint.opened.decided_by == decided_by(core.job)
        self._decisions = decisions
        self._sequencer = sequencer
        self._committer = committer
        self._sink_stage = sink_stage
        self._loop = loop

    async def begin(self) -> None:
        """Take over what was known when the checkpoint was opened; ``record`` is to follow the redecision."""
        answers = self._answers
        if answers is None:
            return
        self._caution(answers)
        try:
            await self._take(answers)
        except AsyncFilterError as error:
            self._stop_signal.request(StopReason.FAILED, error)

    async def record(self) -> None:
        """Record how far the checkpoint follows the answers file, once all that follows is done."""
        answers, stop_signal = self._answers, self._stop_signal
        self._is_decided = True
        if answers is None or self._dry_run or stop_signal.is_immediate:
            return
        position = answers.position
        if position is not None:
            await self._checkpoint.commit(Batch(answers=position))
            answers.taken = position

    async def again(self) -> None:
        """Take over what people said meanwhile, at the end of a run; not after an interruption or an error.

        Raises:
            CheckpointError: The checkpoint cannot be read or written.
        """
        answers, stop_signal = self._answers, self._stop_signal
        if answers is None or self._dry_run or stop_signal.is_immediate or stop_signal.reason not in ENDS:
            return
        self._sequencer.forget_unjudged()
        try:
            await answers.look()
            await self._take(answers)
        except AnswersError as error:
            # The run is over, with a result; the next one tells the error before it begins.
            self._cautions.say(f"newer answers were not taken over: {error.message}")
        else:
            await self.record()

    def _caution(self, answers: KnownAnswers) -> None:
        if answers.is_missing:
            self._cautions.say(FILE_IS_MISSING)
        elif answers.is_older:
            self._cautions.say(
                f"{answers.location} has fewer answers than were taken over from it before, so it is an older copy: "
                "what it lacks goes on to hold"
            )

    async def _take(self, answers: KnownAnswers) -> None:
        if answers.position is None:
            return
        found = _Changes(answers=await answers.count_newer())
        async for page in answers.newer():
            for some in _chunks(await answered_rows(self._checkpoint, self._bucket, page)):
                if self._stop_signal.is_immediate:
                    return
                await self._take_some(some, found)
        self._report(found)

    async def _take_some(self, some: Sequence[Answered], found: _Changes) -> None:
        """Store the answers of some images; decide those again that have a position."""
        last_seq = self._sequencer.watermark.seq
        stored: list[StoredImage] = []
        for one in some:
            if self._is_decided and one.row.seq is not None and one.row.seq <= last_seq:
                self._decide_again(one, found)
            elif self._dry_run:
                self._decisions.newer[one.row.id] = one.answer
            elif one.answer != one.row.answer:
                stored.append(one.new_row)
        if stored:
            await self._checkpoint.commit(Batch(positioned=stored))
        await self._settle()

    def _decide_again(self, one: Answered, found: _Changes) -> None:
        row, new_row = one.row, one.new_row
        before, after = self._outcomes.as_stored(row), self._outcomes.of(new_row)
        is_changed = (after.decision, after.failure, one.answer) != (row.decision, row.failure, row.answer)
        if not is_changed and after.pending is None:
            return  # taken over before by a process that was killed, or about the labels alone
        # Without a wait in between: counts and row are written by the same transaction.
        self._sequencer.count_instead(row.seq or 0, after, before)
        found.add(before, after)
        if not self._dry_run:
            self._admit(new_row, after, is_changed=is_changed)

    def _admit(self, row: StoredImage, outcome: Outcome, *, is_changed: bool) -> None:
        item = WorkItem(
            image=image_of(self._bucket, row),
            row_id=row.id,
            stored=row,
            is_positioned=True,
            moves_cursor=False,
            # A transaction that has its action must have the count of it, too: no later pass counts the image anew.
            counted_in=self._sequencer.life_and_run,
        )
        item.take_outcome(row, outcome)
        self._sequencer.admit(item)
        if is_changed:
            self._committer.record(item)
        else:
            self._committer.ready(item)

    async def _settle(self) -> None:
        """Return when everything so far is durable and its actions are over, or the run ends at once."""
        await self._loop.flush()
        await self._sink_stage.drain()
        await self._loop.flush()

    def _report(self, found: _Changes) -> None:
        if found.answers:
            self._emit(
                AnswersTakenOver(
                    at_unix_s=self._clock.unix(),
                    answers=found.answers,
                    images=found.images,
                    changes=[
                        OutcomeChange(before=before, after=after, images=images)
                        for (before, after), images in sorted(found.changes.items())
                    ],
                    actions=found.actions,
                )
            )


class _Changes(msgspec.Struct, kw_only=True):
    """What newer answers change.

    Attributes:
        answers: Newer answers.
        images: Stored images that are decided again for them.
        changes: Of these, the ones whose outcome is another one, by outcome before and after.
        actions: Actions that follow.
    """

    answers: int
    images: int = 0
    changes: Counter[tuple[str, str]] = msgspec.field(default_factory=Counter)
    actions: int = 0

    def add(self, before: Outcome, after: Outcome) -> None:
        """Count one image."""
        self.images += 1
        self.actions += after.pending is not None
        names = outcome_name(before.decision, before.failure), outcome_name(after.decision, after.failure)
        if names[0] != names[1]:
            self.changes[names] += 1


def _chunks(rows: Sequence[Answered]) -> Iterable[Sequence[Answered]]:
    return (rows[start : start + CHUNK_IMAGES] for start in range(0, len(rows), CHUNK_IMAGES))
