"""Which action follows from a decision: the bridge from verdicts to effects."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlencode

from asyncfilter.job.spec import Action, Job
from asyncfilter.model import ActionKind, Decision, Effect, ObjectRef, Verdict
from asyncfilter.policy.targets import Target, compile_target, may_collide
from asyncfilter.records.images import DoneEffect, StoredImage

IMMEDIATE = frozenset({ActionKind.COPY, ActionKind.TAG})
"""What a run carries out itself; moves and deletes wait for ``apply`` (docs/guarantees.md, *Actions*)."""


class Effects:
    """The actions of a job, compiled.

    Args:
        job: Whose actions.
        kinds: The kinds that ``effect`` gives; all others are as none.

    Attributes:
        needs_owners: True when two objects could map to one target, so that claims must be checked.
    """

    def __init__(self, job: Job, kinds: Collection[ActionKind] = IMMEDIATE) -> None:
        self._job = job
        self._actions = {verdict: action for verdict, action in job.actions.items() if action.kind in kinds}
        self._targets: dict[Verdict, Target] = {
            verdict: compile_target(action.target)
            for verdict, action in job.actions.items()
            if action.target is not None
        }
        duplicate = job.duplicate if job.duplicate is not None and job.duplicate.kind in kinds else None
        self._duplicate = duplicate
        self._duplicate_target = compile_target(duplicate.target) if duplicate and duplicate.target else None
        others = [compile_target(job.duplicate.target)] if job.duplicate is not None and job.duplicate.target else []
        self.needs_owners = may_collide([*self._targets.values(), *others])

    def action(self, decision: Decision, *, is_duplicate: bool = False) -> Action:
        """What the job says of such an image, of whatever kind."""
        if is_duplicate and self._job.duplicate is not None:
            return self._job.duplicate
        return self._job.actions[decision.verdict]

    def covers(self, decision: Decision, *, is_duplicate: bool = False) -> bool:
        """True when ``effect`` would give an effect: cheaper, and most images have none."""
        if is_duplicate and self._job.duplicate is not None:
            return self._duplicate is not None
        return decision.verdict in self._actions

    def effect(self, decision: Decision, image: ObjectRef, *, is_duplicate: bool = False) -> Effect | None:
        """What to do with ``image``; None when nothing is.

        Args:
            decision: What the rules said.
            image: The image.
            is_duplicate: An earlier image has the same content.

        Raises:
            ImageError: ``target_too_long``.
        """
        if is_duplicate and self._job.duplicate is not None:
            action, target = self._duplicate, self._duplicate_target
        else:
            action, target = self._actions.get(decision.verdict), self._targets.get(decision.verdict)
        if action is None:
            return None
        location = None
        if target is not None:
            location = target.locate(
                key=image.key, prefix=self._job.source.prefix, label=decision.label, name=self._job.name
            )
        return Effect(
            kind=action.kind,
            source=image,
            target=location,
            if_exists=action.if_exists,
            is_link=action.is_link,
            tags=action.tags,
        )


def image_of(bucket: str, row: StoredImage) -> ObjectRef:
    """The object that a row stands for."""
    return ObjectRef(bucket=bucket, key=row.key, size_bytes=row.size_bytes, etag=row.etag, seq=row.seq or 0)


def done(effect: Effect) -> DoneEffect:
    """How the checkpoint keeps ``effect`` once it is confirmed."""
    if effect.kind is ActionKind.TAG:
        return DoneEffect(kind=effect.kind, target=urlencode(sorted(effect.tags.items())))
    return DoneEffect(kind=effect.kind, target=effect.target.uri if effect.target is not None else "")
