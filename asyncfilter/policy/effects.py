"""Which action follows from a decision: the bridge from verdicts to effects."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlencode

from asyncfilter.errors import ImageError
from asyncfilter.job.spec import Action, Job
from asyncfilter.model import ActionKind, Decision, Effect, ObjectRef, Verdict
from asyncfilter.policy.targets import Target, compile_target, may_collide
from asyncfilter.records.images import DoneEffect, StoredImage
from asyncfilter.records.removal import REMOVING

IMMEDIATE = frozenset({ActionKind.COPY, ActionKind.TAG})
"""What a run carries out itself; moves and deletes wait for ``apply`` (contract, section 5)."""


class Plan:
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

    def acts_on(self, decision: Decision, *, is_duplicate: bool = False) -> bool:
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

    def wanted(self, row: StoredImage, decision: Decision) -> Effect | None:
        """What to do with a stored image that is decided so; nothing with what left the source, or is skipped.

        Raises:
            ImageError: ``target_too_long``.
        """
        is_duplicate = row.same_as is not None
        if not self.acts_on(decision, is_duplicate=is_duplicate) or self.is_skipped(row) or removal_of(row) is not None:
            return None
        return self.effect(decision, image_of(self._job.source.bucket, row), is_duplicate=is_duplicate)

    def is_skipped(self, row: StoredImage) -> bool:
        """Whether a stored image counts as a duplicate and nothing else."""
        return self._job.source.skip_duplicates and row.same_as is not None

    def stale(self, row: StoredImage) -> list[DoneEffect]:
        """Copies of a stored image that its decision would not make."""
        try:
            return stale_copies(row, None if row.decision is None else self.wanted(row, row.decision))
        except ImageError:
            return stale_copies(row, None)


def image_of(bucket: str, row: StoredImage) -> ObjectRef:
    """The object that a row stands for."""
    return ObjectRef(bucket=bucket, key=row.key, size_bytes=row.size_bytes, etag=row.etag, seq=row.seq or 0)


def stale_copies(row: StoredImage, effect: Effect | None) -> list[DoneEffect]:
    """Copies of a stored image that ``effect`` would not make."""
    if not row.effects:
        return []
    target = effect.target.uri if effect is not None and effect.target is not None else None
    return [was for was in row.effects if was.kind is ActionKind.COPY and was.target != target]


def done(effect: Effect) -> DoneEffect:
    """How the checkpoint keeps ``effect`` once it is confirmed."""
    if effect.kind is ActionKind.TAG:
        return DoneEffect(kind=effect.kind, target=urlencode(sorted(effect.tags.items())))
    return DoneEffect(kind=effect.kind, target=effect.target.uri if effect.target is not None else "")


def removal_of(image: StoredImage) -> DoneEffect | None:
    """The confirmed action that took ``image`` out of the source; None while it is there."""
    if not image.effects:
        return None
    return next((effect for effect in image.effects if effect.kind in REMOVING), None)
