"""Effects: which action follows from a decision."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlencode

import msgspec

from asyncfilter.job.spec import Action, Job
from asyncfilter.model import ActionKind, Decision, Detection, Effect, ObjectRef, StoreKind, Verdict
from asyncfilter.policy.provenance import provenance_of
from asyncfilter.policy.targets import TargetTemplate, compile_target, may_collide
from asyncfilter.records.images import DoneEffect, StoredImage

IMMEDIATE = frozenset({ActionKind.COPY, ActionKind.TAG})
"""The actions that a run carries out itself; moves and deletes are left to ``apply`` (docs/guarantees.md,
*Actions*)."""


class Effects:
    """The actions of a job, compiled.

    Args:
        job: The job with the actions.
        kinds: The kinds that ``effect`` returns; actions of other kinds count as none.

    Attributes:
        needs_owners: True when two objects could map to one target, so that claims must be checked.
        needs_hashes: True when files are copied into another kind of store, by the hash of what was examined.
    """

    def __init__(self, job: Job, kinds: Collection[ActionKind] = IMMEDIATE) -> None:
        self._job = job
        self._actions = {verdict: action for verdict, action in job.actions.items() if action.kind in kinds}
        self._targets: dict[Verdict, TargetTemplate] = {
            verdict: compile_target(action.target)
            for verdict, action in job.actions.items()
            if action.target is not None
        }
        duplicate = job.duplicate if job.duplicate is not None and job.duplicate.kind in kinds else None
        self._duplicate = duplicate
        self._duplicate_target = compile_target(duplicate.target) if duplicate and duplicate.target else None
        others = [compile_target(job.duplicate.target)] if job.duplicate is not None and job.duplicate.target else []
        self.needs_owners = may_collide([*self._targets.values(), *others])
        self.needs_hashes = job.source.store is StoreKind.FOLDER and bool(job.target_stores - {StoreKind.FOLDER})

    def action(self, decision: Decision, *, is_duplicate: bool = False) -> Action:
        """The job's action for such an image, of any kind."""
        if is_duplicate and self._job.duplicate is not None:
            return self._job.duplicate
        return self._job.actions[decision.verdict]

    def covers(self, decision: Decision, *, is_duplicate: bool = False) -> bool:
        """True when ``effect`` would return an effect; cheaper than ``effect``, for the many images that have none."""
        if is_duplicate and self._job.duplicate is not None:
            return self._duplicate is not None
        return decision.verdict in self._actions

    def effect(self, decision: Decision, image: ObjectRef, *, is_duplicate: bool = False) -> Effect | None:
        """The effect for ``image``; None when there is none.

        Args:
            decision: The decision of the rules.
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
    """The object of a row."""
    return ObjectRef(bucket=bucket, key=row.key, size_bytes=row.size_bytes, etag=row.etag, seq=row.seq or 0)


def with_hash(effect: Effect, detection: Detection | None) -> Effect:
    """``effect`` with the hash of the file that was examined, where a file is copied into another kind of store.

    Its ETag is time and inode, which a program can keep when it writes other bytes. Copies between folders do not read
    the bytes, and an object of S3 is read on condition of its ETag.
    """
    if effect.target is None or effect.source.store is not StoreKind.FOLDER or effect.target.store is StoreKind.FOLDER:
        return effect
    return msgspec.structs.replace(effect, blake2b=provenance_of(detection).blake2b)


def done(effect: Effect) -> DoneEffect:
    """The stored form of ``effect``, for the checkpoint, once it is confirmed."""
    if effect.kind is ActionKind.TAG:
        return DoneEffect(kind=effect.kind, target=urlencode(sorted(effect.tags.items())))
    return DoneEffect(kind=effect.kind, target=effect.target.uri if effect.target is not None else "")
