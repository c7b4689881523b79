"""Which action follows from a decision: the bridge from verdicts to effects."""

from __future__ import annotations

from asyncfilter.job.spec import Job
from asyncfilter.model import ActionKind, Decision, Effect, ObjectRef, Verdict
from asyncfilter.policy.targets import Target, compile_target, may_collide
from asyncfilter.ports import DoneEffect

IMMEDIATE = frozenset({ActionKind.COPY, ActionKind.TAG})
"""What a run carries out itself; moves and deletes wait for ``apply`` (contract, section 5)."""


class Plan:
    """The actions of a job, compiled.

    Attributes:
        needs_owners: True when two objects could map to one target, so that claims must be checked.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._actions = {verdict: action for verdict, action in job.actions.items() if action.kind in IMMEDIATE}
        self._targets: dict[Verdict, Target] = {
            verdict: compile_target(action.target)
            for verdict, action in self._actions.items()
            if action.target is not None
        }
        self.needs_owners = may_collide(list(self._targets.values()))

    def effect(self, decision: Decision, image: ObjectRef) -> Effect | None:
        """What to do with ``image``; None when nothing is.

        Raises:
            ImageError: ``target_too_long``.
        """
        action = self._actions.get(decision.verdict)
        if action is None:
            return None
        target = self._targets.get(decision.verdict)
        location = None
        if target is not None:
            location = target.locate(
                key=image.key, prefix=self._job.source.prefix, label=decision.label, name=self._job.name
            )
        return Effect(kind=action.kind, source=image, target=location, if_exists=action.if_exists, tags=action.tags)


def done(effect: Effect) -> DoneEffect:
    """How the checkpoint keeps ``effect`` once it is confirmed."""
    return DoneEffect(kind=effect.kind, target=effect.target.uri if effect.target is not None else "")
