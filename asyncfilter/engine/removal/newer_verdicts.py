"""Newer verdicts: the stored images whose verdict changes by answers that no run has taken over yet.

``apply`` leaves these images alone. What became keep or review is not to be removed; what became reject was not in the
counts of any run, so that nobody has seen yet how many such images there are. The next ``run`` or ``refilter`` stores
the new verdicts.
"""

from __future__ import annotations

from asyncfilter.engine.core.answered_rows import answered_rows
from asyncfilter.engine.core.known_answers import KnownAnswers
from asyncfilter.policy.outcome import Outcomes
from asyncfilter.ports.checkpoint import LabelStore


class NewerVerdicts:
    """Finds the images.

    Args:
        answers: What people say about them; None where nobody is asked.
        checkpoint: Holds the images.
        outcomes: With the rules of the job.
        bucket: Of the source.

    Attributes:
        ids: Their row ids; empty before ``look``.
    """

    def __init__(self, answers: KnownAnswers | None, checkpoint: LabelStore, outcomes: Outcomes, bucket: str) -> None:
        self.ids: set[int] = set()
        self._answers = answers
        self._checkpoint = checkpoint
        self._outcomes = outcomes
        self._bucket = bucket

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
                before = one.row.decision
                if before is not None and (after is None or after.verdict is not before.verdict):
                    self.ids.add(one.row.id)
        return await self._answers.count_newer()
