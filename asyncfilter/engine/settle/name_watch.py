"""The names in a job's rules, compared with the labels that exist, while a run goes on.

Before anything is paid for, names are compared with the list of labels that ships with the package, or with those that
the evaluation of a model has, and with the labels of earlier runs. Where neither is known, names are compared with the
answers, once there are enough. At the end
everything is compared once more: what an answer refuted is no caution of the summary.
"""

from __future__ import annotations

import msgspec

from asyncfilter.engine.core.stored_names import stored_names
from asyncfilter.engine.settle.run_core import RunCore
from asyncfilter.engine.settle.sequencer import Sequencer
from asyncfilter.policy.cautions.kinship import has_order
from asyncfilter.policy.cautions.label_names import (
    FEW_ANSWERS,
    MANY_ANSWERS,
    Findings,
    KnownNames,
    label_list_of,
    name_findings,
)

_INTERVAL_S = 0.25
"""Time between two looks at the number of answers; no image waits for one."""


class NameWatch:
    """Says which names in the rules are probably mistakes.

    Args:
        core: What all parts of the run share.
        sequencer: Counts the answers.
    """

    def __init__(self, core: RunCore, sequencer: Sequencer) -> None:
        self._job = core.job
        self._checkpoint = core.checkpoint
        self._cautions = core.cautions
        self._clock = core.clock
        self._is_own = core.has_own_labels
        self._model = core.model
        self._has_list = bool(core.model.labels) or label_list_of(core.job, is_own=core.has_own_labels) is not None
        self._is_off = core.options.is_preview
        self._sequencer = sequencer
        self._said: Findings = {}

    async def begin(self) -> None:
        """Compare before anything is paid for."""
        if not self._is_off:
            self._say(await self._findings())

    async def run(self) -> None:
        """Compare with the first answers; then return.

        They tell names where labels are not published, and otherwise what labels have to do with each other.
        """
        if self._is_off or (self._has_list and not has_order(self._job)):
            return
        for enough in (FEW_ANSWERS, MANY_ANSWERS):
            while self._answers < enough:
                await self._clock.sleep(_INTERVAL_S)
            self._say(await self._findings())

    async def finish(self) -> None:
        """Compare with all answers: say what is new, and take back what they refuted.

        Where labels are not published, a sample is the first to have answers, and says what they show; else what they
        have not refuted is in its summary, and has been said before the sample.
        """
        found = await self._findings()
        if self._is_off and self._has_list:
            self._cautions.note(found.values())
            return
        for key in self._said.keys() - found.keys():
            self._cautions.take_back(self._said.pop(key))
        self._say(found)

    @property
    def _answers(self) -> int:
        return self._sequencer.ahead.judged

    async def _findings(self) -> Findings:
        """What is wrong with the names; the checkpoint is read only when something may be."""
        answers = self._answers
        is_sure = not has_order(self._job) and not name_findings(self._job, KnownNames(model=self._model))
        if is_sure if self._has_list else answers < FEW_ANSWERS:
            return {}
        return name_findings(self._job, await self._known(answers))

    async def _known(self, answers: int) -> KnownNames:
        found = await stored_names(self._checkpoint, self._job, answers=answers, is_own=self._is_own)
        return msgspec.structs.replace(found, model=self._model)

    def _say(self, found: Findings) -> None:
        for key, message in found.items():
            if key not in self._said:
                self._said[key] = message
                self._cautions.say(message)
