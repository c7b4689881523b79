"""``apply --stale``: deletes copies that the rules no longer make, after the user confirmed their number.

An object is deleted only when it is proved to be a copy: it has the content of an image that is in the source as it was
examined. So nothing is lost, and ``run`` makes the copy again when the rules require it. No journal is needed: a copy
that is not there any more counts as deleted, by any program.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from itertools import zip_longest

from asyncfilter.engine.core.known_answers import KnownAnswers
from asyncfilter.engine.removal.newer_verdicts import NewerVerdicts
from asyncfilter.engine.removal.stages import WAVE_IMAGES, RemovalItem, RemovalStages, other_decisions
from asyncfilter.errors import ImageError
from asyncfilter.job.fingerprint import decided_by
from asyncfilter.job.spec import Job
from asyncfilter.model import ActionKind, Effect, IfExists, location, uri_of
from asyncfilter.policy.effects import image_of
from asyncfilter.policy.outcome import Outcomes
from asyncfilter.policy.removal_places import PlaceCount, RemovalPlaces
from asyncfilter.policy.removal_plan import GroupCount, RemovalPlan
from asyncfilter.ports.checkpoint import Checkpoint
from asyncfilter.ports.remover import DeleteRequest
from asyncfilter.records.images import DoneEffect, StoredImage
from asyncfilter.records.progress import Batch
from asyncfilter.records.removal import BucketState, Removal, Step

CLEAR = "clear"
"""The kind of a deleted stale copy in events and counts."""


class Clear:
    """Deletes stale copies.

    Args:
        job: The job that decided.
        checkpoint: Records the copies.
        state: The versioning of the source.
        places: The places that may be written to; None for those of the job.
        answers: What people say about the images, up to now.
    """

    def __init__(
        self,
        job: Job,
        checkpoint: Checkpoint,
        state: BucketState,
        *,
        places: RemovalPlaces | None = None,
        answers: KnownAnswers | None = None,
    ) -> None:
        self._places = places or RemovalPlaces(job)
        self._job = job
        self._checkpoint = checkpoint
        self._state = state
        self._outcomes = Outcomes(job)
        self._changes = NewerVerdicts(job, answers, checkpoint)
        self._bucket = job.source.bucket

    async def plan(self) -> RemovalPlan:
        """The plan: the stale copies, and the number of all copies (as ``examined``).

        Raises:
            UsageError: The stored decisions are not those of the present job.
        """
        if self._checkpoint.opened.decided_by != decided_by(self._job):
            raise other_decisions(self._job)
        new_answers = await self._changes.look()
        count, places, copies = GroupCount(self._state), PlaceCount(self._places), 0
        async for page in self._pages():
            for row in page:
                copies += sum(effect.kind is ActionKind.COPY for effect in row.effects)
                for removal in self._removals(row):
                    decision = row.decision
                    places.add_copy(removal.target)
                    count.add(
                        removal,
                        verdict=None if decision is None else decision.verdict,
                        rule=None if decision is None else decision.rule,
                    )
        return RemovalPlan(
            name=self._job.name,
            is_removal=True,
            is_stale=True,
            new_answers=new_answers,
            source=uri_of(self._bucket, self._job.source.prefix),
            groups=count.groups(),
            images=count.images,
            size_bytes=count.size_bytes,
            examined=copies,
            listing_done=self._checkpoint.opened.watermark.listing_done,
            state=self._state,
            digest=count.digest,
            places=places.uses(),
        )

    async def _pages(self) -> AsyncIterator[list[StoredImage]]:
        """Images with copies, page by page; a newer answer may want one of them again, so its image is left out."""
        after_seq = 0
        # No label is needed, so none is decoded.
        while page := await self._checkpoint.positioned(after_seq, WAVE_IMAGES, is_asked=lambda _: False):
            after_seq = page[-1].seq or 0
            yield [row for row in page if row.effects and row.id not in self._changes.ids]

    def _removals(self, row: StoredImage) -> list[Removal]:
        return [
            Removal(
                image=row.id,
                key=row.key,
                etag=row.etag,
                size_bytes=row.size_bytes,
                kind=ActionKind.DELETE,
                target=copy.target,
            )
            for copy in self._outcomes.as_stored(row).stale
        ]

    async def waves(self, stages: RemovalStages) -> AsyncGenerator[list[RemovalItem], None]:
        """Stale copies; no wave contains two of one image."""
        self._stages = stages
        async for page in self._pages():
            items = [[RemovalItem(removal=one, recorded=None, row=row) for one in self._removals(row)] for row in page]
            for wave in zip_longest(*items):
                yield [item for item in wave if item is not None]

    async def carry_out(self, stages: RemovalStages, items: list[RemovalItem]) -> None:
        """Run all stages on one wave."""
        await stages.each(items, self._check_copy)
        there = [item for item in items if item.is_in and item.removal.step is Step.VERIFIED]
        for bucket in sorted({location(item.removal.target).bucket for item in there}):
            in_bucket = [item for item in there if location(item.removal.target).bucket == bucket]
            await stages.delete(bucket, in_bucket, _copy_of)
        for item in there:
            if item.is_in or item.failed_as("vanished"):
                item.error = None
                item.advance(Step.DELETED)
        await stages.note(items, self._change)
        stages.count(items, lambda item: CLEAR if item.removal.step is Step.DELETED else None)

    async def _check_copy(self, item: RemovalItem) -> None:
        """Check that the object at the target is a copy of the image, and that the image is in the source.

        Raises:
            ImageError: ``original_gone``, ``in_source`` when the object is an image itself, or ``target_exists`` when
                it is not the copy.
        """
        removal = item.removal
        if self._places.in_source(removal.target):
            raise ImageError(f"{removal.target}: an image of the source, so it is left", code="in_source")
        if item.row is None:
            raise ValueError(f"{removal.target}: a stale copy needs the row of its image")
        image, target = image_of(self._bucket, item.row), location(removal.target)
        if not self._places.in_source(image.uri):
            # It may be the very object that is to be deleted, which would be its own proof.
            message = (
                f"{removal.target}: its image would be outside of the source: {image.uri}; this may be the only one"
            )
            raise ImageError(message, code="original_gone")
        effect = Effect(kind=ActionKind.COPY, source=image, target=target, if_exists=IfExists.FAIL)
        try:
            copied = await self._stages.repeat(lambda: self._stages.remover.existing_copy(effect))
        except ImageError as error:
            if error.code in {"changed", "vanished"}:
                message = (
                    f"{removal.target}: its image is not in the source as it was examined; this may be the only copy"
                )
                raise ImageError(message, code="original_gone") from error
            raise
        if copied is None:
            item.advance(Step.DELETED)
        else:
            item.advance(Step.VERIFIED, copied=copied.etag)

    def _change(self, item: RemovalItem, batch: Batch) -> None:
        if item.removal.step is Step.DELETED and item.row is not None:
            batch.revoked.append((item.row.id, DoneEffect(ActionKind.COPY, item.removal.target)))
            self._stages.watermark.tally.stale -= 1


def _copy_of(item: RemovalItem) -> DeleteRequest:
    target = location(item.removal.target)
    return DeleteRequest(key=target.key, etag=item.removal.copied, size_bytes=item.removal.size_bytes)
