"""``undo``: brings back what ``apply`` took out of the source.

An image that stands behind a delete marker comes back by removing that very marker; one that was moved, by copying it
back where nothing stands. Its copy in quarantine goes last, when the image was seen in its place. What stands in the
source is never overwritten.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence

from asyncfilter.engine.removal.stages import WAVE_IMAGES, RemovalItem, RemovalStages, seq_of
from asyncfilter.errors import ImageError
from asyncfilter.job.fingerprint import decided_by
from asyncfilter.job.spec import Job
from asyncfilter.model import ActionKind, Effect, Failure, IfExists, ObjectRef, location, uri_of
from asyncfilter.policy.removal import GroupCount, RemovalPlan, WayBack, way_back
from asyncfilter.ports import Checkpoint, Condemned, Found
from asyncfilter.records.images import DoneEffect, StoredImage
from asyncfilter.records.progress import Batch
from asyncfilter.records.removal import REMOVED, BucketState, Removal, Step

RESTORE = "restore"
"""How events and counts call an image that is back."""


class Undo:
    """Brings images back.

    Args:
        job: Whose source.
        checkpoint: Holds the journal.
        state: What deleting means in the source.
    """

    def __init__(self, job: Job, checkpoint: Checkpoint, state: BucketState) -> None:
        self._job = job
        self._checkpoint = checkpoint
        self._state = state
        self._decided_by = checkpoint.opened.decided_by or decided_by(job)

    async def plan(self) -> RemovalPlan:
        """What can come back, and what cannot."""
        back, lost = GroupCount(self._state), GroupCount(self._state)
        async for page in self._pages():
            for removal, _row in page:
                way = way_back(removal, self._state)
                (lost if way is WayBack.NONE else back).add(removal, target=way.value)
        watermark = self._checkpoint.opened.watermark
        return RemovalPlan(
            name=self._job.name,
            is_removal=False,
            source=uri_of(self._job.source.bucket, self._job.source.prefix),
            groups=back.groups(),
            images=back.images,
            size_bytes=back.size_bytes,
            lost=lost.groups(),
            examined=watermark.tally.examined,
            listing_done=watermark.listing_done,
            state=self._state,
            digest=back.digest,
        )

    async def _pages(self) -> AsyncIterator[Sequence[tuple[Removal, StoredImage | None]]]:
        after_image = 0
        while page := await self._checkpoint.removals(sorted(REMOVED), after_image, WAVE_IMAGES):
            after_image = page[-1][0].image
            yield page

    async def waves(self, stages: RemovalStages) -> AsyncGenerator[list[RemovalItem], None]:
        """Removed images that have a way back, by the age of their rows."""
        self._stages = stages
        async for page in self._pages():
            yield [
                RemovalItem(removal=removal, recorded=removal, row=row)
                for removal, row in page
                if way_back(removal, self._state) is not WayBack.NONE
            ]

    # -- Stages --------------------------------------------------------------------------------------------------------

    async def carry_out(self, stages: RemovalStages, items: list[RemovalItem]) -> None:
        """Take a wave through all its stages."""
        await stages.each(items, self._look)
        await stages.note(items, self._change)
        await stages.each(_at(items, Step.RETURNING), self._bring_back)
        await stages.each(_at(items, Step.RETURNING), self._verify)
        await stages.note(items, self._change)
        await self._clear(_at(items, Step.RETURNED))
        await stages.note(items, self._change)
        stages.count(items, lambda item: RESTORE if item.removal.step is Step.UNDONE else None)

    async def _look(self, item: RemovalItem) -> None:
        """See what stands in the image's place; it may be back already."""
        removal = item.removal
        found = await self._seen(item)
        if found is not None and _is_image(found, removal):
            item.advance(Step.RETURNED, returned=found.etag)
        elif removal.step is Step.RETURNED and not await self._is_in_quarantine(removal):
            item.advance(Step.UNDONE)  # all was done but the last note; what happened to the image since is not ours
        elif way_back(removal, self._state) is WayBack.MARKER and found is not None:
            raise self._occupied(item, found.etag)
        else:
            item.advance(Step.RETURNING)

    async def _seen(self, item: RemovalItem) -> Found | None:
        place = self._stages.source(item.removal)
        return await self._stages.repeat(lambda: self._stages.remover.look(place))

    async def _is_in_quarantine(self, removal: Removal) -> bool:
        if removal.kind is not ActionKind.MOVE:
            return False
        target = location(removal.target)
        found = await self._stages.repeat(lambda: self._stages.remover.look(target))
        return found is not None and found.etag == removal.copied

    def _occupied(self, item: RemovalItem, etag: str) -> ImageError:
        place = self._stages.source(item.removal).uri
        return ImageError(f"{place}: another object stands there now (ETag {etag})", code="source_exists")

    async def _bring_back(self, item: RemovalItem) -> None:
        removal = item.removal
        if way_back(removal, self._state) is WayBack.MARKER and await self._unmark(item):
            item.advance(Step.RETURNING, returned=removal.etag)
        elif removal.kind is ActionKind.MOVE:
            await self._copy_back(item)
        else:
            place = self._stages.source(removal).uri
            message = f"{place}: the image does not stand right behind the delete marker that was made for it"
            raise ImageError(message, code="not_restorable")

    async def _unmark(self, item: RemovalItem) -> bool:
        """Remove the marker, if it is the newest thing there is and the image stands right behind it."""
        removal, place = item.removal, self._stages.source(item.removal)
        versions = await self._stages.repeat(lambda: self._stages.remover.versions(place))
        if len(versions) < 2 or not versions[0].is_marker or versions[0].id != removal.marker:
            return False
        if (versions[1].etag, versions[1].size_bytes) != (removal.etag, removal.size_bytes):
            return False
        await self._stages.repeat(lambda: self._stages.remover.remove_marker(place, removal.marker))
        return True

    async def _copy_back(self, item: RemovalItem) -> None:
        removal, quarantine = item.removal, location(item.removal.target)
        copy = ObjectRef(
            bucket=quarantine.bucket,
            key=quarantine.key,
            size_bytes=removal.size_bytes,
            etag=removal.copied,
            seq=seq_of(item),
        )
        place = self._stages.source(removal)
        effect = Effect(kind=ActionKind.COPY, source=copy, target=place, if_exists=IfExists.FAIL)
        try:
            copied = await self._stages.repeat(lambda: self._stages.remover.copy(effect))
        except ImageError as error:
            if error.code == "target_exists":
                raise ImageError(error.message, code="source_exists") from error
            raise
        item.advance(Step.RETURNING, returned=copied.etag)

    async def _verify(self, item: RemovalItem) -> None:
        removal = item.removal
        found = await self._seen(item)
        if found != Found(etag=removal.returned, size_bytes=removal.size_bytes):
            place = self._stages.source(removal).uri
            raise ImageError(f"{place}: the image is not there as it was brought back", code="not_verified")
        item.advance(Step.RETURNED)

    async def _clear(self, items: list[RemovalItem]) -> None:
        """Delete the copies in quarantine; one that is not there as we made it stays what it is."""
        ours = [item for item in items if item.removal.kind is ActionKind.MOVE and not item.removal.is_foreign]
        for bucket in sorted({location(item.removal.target).bucket for item in ours}):
            there = [item for item in ours if location(item.removal.target).bucket == bucket]
            await self._stages.delete(bucket, there, _copy_of)
        for item in items:
            if item.is_in or item.failed_as("vanished", "changed"):
                item.error = None
                item.advance(Step.UNDONE)

    # -- What follows --------------------------------------------------------------------------------------------------

    def _change(self, item: RemovalItem, batch: Batch) -> None:
        if isinstance(item.error, ImageError):
            is_back = item.removal.step is Step.RETURNED
            failure = Failure(item.error.code, item.error.message)
            item.fail(failure, Step.RETURNED if is_back else Step.DELETED)
        elif item.removal.step is Step.UNDONE:
            item.advance(Step.UNDONE, decided_by=self._decided_by)
            self._take_back(item, batch)
        batch.removals.append(item.removal)

    def _take_back(self, item: RemovalItem, batch: Batch) -> None:
        row, removal = item.row, item.removal
        effect = DoneEffect(removal.kind, removal.target)
        if row is None or effect not in row.effects:
            return
        batch.revoked.append((row.id, effect))
        if row.seq is not None:
            if removal.returned not in {"", row.etag}:
                batch.renewed.append((row.id, removal.returned))  # the same content: its labels are paid for
            self._stages.watermark.tally.take_back_effect(removal.kind)


def _at(items: list[RemovalItem], step: Step) -> list[RemovalItem]:
    return [item for item in items if item.removal.step is step]


def _is_image(found: Found, removal: Removal) -> bool:
    return found.size_bytes == removal.size_bytes and found.etag in {removal.etag, removal.returned} - {""}


def _copy_of(item: RemovalItem) -> Condemned:
    return Condemned(
        key=location(item.removal.target).key, etag=item.removal.copied, size_bytes=item.removal.size_bytes
    )
