"""``apply --stale``: deletes copies that the rules no longer make, after the user confirmed how many.

A copy goes only when it is shown to be one: it has the content of an image that stands in the source as it was
examined. So nothing is lost by it, and ``run`` makes the copy again when the rules ask for it. There is no journal: a
copy that is not there any more needs no deleting, whatever deleted it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from itertools import zip_longest

from asyncfilter.engine.removal.stages import WAVE_IMAGES, RemovalItem, RemovalStages, other_decisions
from asyncfilter.errors import ImageError
from asyncfilter.job.fingerprint import decided_by
from asyncfilter.job.spec import Job
from asyncfilter.model import ActionKind, Effect, IfExists, location, uri_of
from asyncfilter.policy.effects import image_of
from asyncfilter.policy.outcome import Outcomes
from asyncfilter.policy.removal_plan import GroupCount, RemovalPlan
from asyncfilter.ports.checkpoint import Checkpoint
from asyncfilter.ports.remover import DeleteRequest
from asyncfilter.records.images import DoneEffect, StoredImage
from asyncfilter.records.progress import Batch
from asyncfilter.records.removal import BucketState, Removal, Step

CLEAR = "clear"
"""How events and counts call a stale copy that is gone."""


class Clear:
    """Deletes stale copies.

    Args:
        job: Whose decisions.
        checkpoint: Knows the copies.
        state: What deleting means in the source.
    """

    def __init__(self, job: Job, checkpoint: Checkpoint, state: BucketState) -> None:
        self._job = job
        self._checkpoint = checkpoint
        self._state = state
        self._outcomes = Outcomes(job)
        self._bucket = job.source.bucket

    async def plan(self) -> RemovalPlan:
        """The copies that are stale, beside all copies.

        Raises:
            UsageError: The stored decisions are not those of the job as it is now.
        """
        if self._checkpoint.opened.decided_by != decided_by(self._job):
            raise other_decisions(self._job)
        count, copies = GroupCount(self._state), 0
        async for page in self._pages():
            for row in page:
                copies += sum(effect.kind is ActionKind.COPY for effect in row.effects)
                for removal in self._removals(row):
                    decision = row.decision
                    count.add(
                        removal,
                        verdict=None if decision is None else decision.verdict,
                        rule=None if decision is None else decision.rule,
                    )
        return RemovalPlan(
            name=self._job.name,
            is_removal=True,
            is_stale=True,
            source=uri_of(self._bucket, self._job.source.prefix),
            groups=count.groups(),
            images=count.images,
            size_bytes=count.size_bytes,
            examined=copies,
            listing_done=self._checkpoint.opened.watermark.listing_done,
            state=self._state,
            digest=count.digest,
        )

    async def _pages(self) -> AsyncIterator[list[StoredImage]]:
        """Images with copies, by pages."""
        after_seq = 0
        while page := await self._checkpoint.positioned(after_seq, WAVE_IMAGES, is_asked=lambda _: False):
            after_seq = page[-1].seq or 0
            yield [row for row in page if row.effects]

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
        """Stale copies, no two of one image at a time."""
        self._stages = stages
        async for page in self._pages():
            items = [[RemovalItem(removal=one, recorded=None, row=row) for one in self._removals(row)] for row in page]
            for wave in zip_longest(*items):
                yield [item for item in wave if item is not None]

    async def carry_out(self, stages: RemovalStages, items: list[RemovalItem]) -> None:
        """Take a wave through all its stages."""
        await stages.each(items, self._look)
        there = [item for item in items if item.is_in and item.removal.step is Step.VERIFIED]
        for bucket in sorted({location(item.removal.target).bucket for item in there}):
            mine = [item for item in there if location(item.removal.target).bucket == bucket]
            await stages.delete(bucket, mine, _copy_of)
        for item in there:
            if item.is_in or item.failed_as("vanished"):
                item.error = None
                item.advance(Step.DELETED)
        await stages.note(items, self._change)
        stages.count(items, lambda item: CLEAR if item.removal.step is Step.DELETED else None)

    async def _look(self, item: RemovalItem) -> None:
        """See that what stands at the target is a copy of the image, and that the image stands.

        Raises:
            ImageError: ``original_gone``, or ``target_exists`` for something else than the copy.
        """
        removal = item.removal
        if item.row is None:
            raise ValueError(f"{removal.target}: a stale copy is that of a stored image")
        image, target = image_of(self._bucket, item.row), location(removal.target)
        effect = Effect(kind=ActionKind.COPY, source=image, target=target, if_exists=IfExists.FAIL)
        try:
            copied = await self._stages.repeat(lambda: self._stages.remover.existing_copy(effect))
        except ImageError as error:
            if error.code in {"changed", "vanished"}:
                message = f"{removal.target}: its image is not in the source as it was, this may be the only copy"
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
