"""Newer verdicts: what ``apply`` does with answers on which no run or refilter has acted yet.

It leaves every image alone whose verdict they change. What became keep or review is not to be removed, and is stored.
What they alone let leave the source is not stored: nobody has seen in the counts of a run how many such images there
are. The next run or refilter takes all of these answers over again, and acts on them.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from asyncfilter.engine.core.answered_rows import Answered, answered_rows
from asyncfilter.engine.core.known_answers import KnownAnswers
from asyncfilter.job.spec import Job
from asyncfilter.model import Decision
from asyncfilter.policy.outcome import Outcomes
from asyncfilter.policy.removal_query import removal_query
from asyncfilter.policy.rules import compile_rules
from asyncfilter.ports.checkpoint import LabelStore
from asyncfilter.records.images import StoredImage
from asyncfilter.records.progress import Batch, Watermark


class NewerVerdicts:
    """Finds the images, and stores what may be stored.

    Args:
        job: The job that decided.
        answers: What people say about them; None where nobody is asked.
        checkpoint: Holds the images.

    Attributes:
        ids: Row ids of images whose verdict newer answers change; empty before ``look``.
    """

    def __init__(self, job: Job, answers: KnownAnswers | None, checkpoint: LabelStore) -> None:
        self.ids: set[int] = set()
        self._answers = answers
        self._checkpoint = checkpoint
        self._outcomes = Outcomes(job, compile_rules(job))
        self._which = removal_query(job)
        self._bucket = job.source.bucket

    async def look(self) -> int:
        """Find the images by the answers that were known when the checkpoint was opened.

        Returns:
            How many newer answers there are.

        Raises:
            AnswersError: The answers cannot be read.
        """
        if self._answers is None:
            return 0
        async for page in self._answers.newer():
            for one in await answered_rows(self._checkpoint, self._bucket, page):
                after = self._outcomes.decide(one.row.detection, one.answer)
                if _changes(one.row.decision, after):
                    self.ids.add(one.row.id)
        return await self._answers.count_newer()

    async def take_over(self, watermark: Watermark) -> None:
        """Store the newer answers, except those by which an image would leave the source.

        Args:
            watermark: The checkpoint's; its counts follow the new verdicts.

        Raises:
            AnswersError: The answers cannot be read.
            CheckpointError: The checkpoint cannot be written.
        """
        answers = self._answers
        position = None if answers is None else answers.position_of_apply
        if answers is None or position is None or position == answers.taken:
            return
        async for page in answers.newer():
            await self._store(await answered_rows(self._checkpoint, self._bucket, page), watermark)
        await self._checkpoint.commit(Batch(answers=position))
        answers.taken = position

    async def _store(self, answered: Sequence[Answered], watermark: Watermark) -> None:
        """Rows, answers and the counts that they change become durable together."""
        rows = [row for one in answered if (row := self._new_row(one, watermark)) is not None]
        if rows:
            counted = msgspec.structs.replace(watermark, tally=watermark.tally.copy())
            await self._checkpoint.commit(Batch(positioned=rows, watermark=counted))

    def _new_row(self, one: Answered, watermark: Watermark) -> StoredImage | None:
        """The row as it is to be stored; None where it stays as it is."""
        row = one.new_row
        if row.seq is None or row.seq > watermark.seq:
            return None if row == one.row else row
        before, after = self._outcomes.as_stored(one.row), self._outcomes.of(row)
        if _changes(before.decision, after.decision) and self._leaves(row, after.decision):
            return None
        row = msgspec.structs.replace(row, decision=after.decision, failure=after.failure)
        if row == one.row:
            return None
        after.count_instead_of(before, watermark.tally)
        return row

    def _leaves(self, row: StoredImage, decision: Decision | None) -> bool:
        is_duplicate = row.same_as is not None
        return decision is not None and self._which.covers(decision.verdict, is_duplicate=is_duplicate)


def _changes(before: Decision | None, after: Decision | None) -> bool:
    """Whether the verdict of an image that has one becomes another one."""
    return before is not None and (after is None or after.verdict is not before.verdict)
