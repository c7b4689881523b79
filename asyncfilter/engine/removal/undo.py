"""``undo``: restores the images that ``apply`` removed from the source.

An image that is the version right behind the delete marker of ``apply`` is restored by removing exactly that marker;
else a moved image is restored by copying it back, if its key in the source is free. Its copy in quarantine is deleted
last, after the restored image was verified. An object in the source is never overwritten.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence

import msgspec

from asyncfilter.engine.removal.stages import WAVE_IMAGES, RemovalItem, RemovalStages, seq_of
from asyncfilter.errors import ImageError
from asyncfilter.job.fingerprint import decided_by
from asyncfilter.job.spec import Job
from asyncfilter.model import ActionKind, Effect, Failure, IfExists, ObjectRef, location, uri_of
from asyncfilter.policy.removal_places import PlaceCount, RemovalPlaces
from asyncfilter.policy.removal_plan import GroupCount, RemovalPlan
from asyncfilter.policy.removal_query import RestoreMethod, restore_method
from asyncfilter.ports.checkpoint import Checkpoint
from asyncfilter.ports.remover import DeleteRequest, ObjectState
from asyncfilter.records.images import DoneEffect, StoredImage
from asyncfilter.records.progress import Batch
from asyncfilter.records.removal import REMOVED, BucketState, Removal, Step

RESTORE = "restore"
"""The kind of a restored image in events and counts."""

_LEFT = ("vanished", "changed")
"""Failures of a copy in quarantine that is not there as ``apply`` made it."""


class Undo:
    """Restores removed images.

    Args:
        job: The job; its source is changed.
        checkpoint: Holds the removal journal.
        state: The versioning of the source, which decides how a deleted image can be restored.
        places: The places that may be written to; None for those of the job.
    """

    def __init__(
        self, job: Job, checkpoint: Checkpoint, state: BucketState, *, places: RemovalPlaces | None = None
    ) -> None:
        self._places = places or RemovalPlaces(job)
        self._job = job
        self._checkpoint = checkpoint
        self._state = state
        self._decided_by = checkpoint.opened.decided_by or decided_by(job)
        self._followed = checkpoint.opened.answers
        self._copied_back: set[int] = set()

    async def plan(self) -> RemovalPlan:
        """The plan: the images that can be restored, and those that cannot."""
        back, lost, places = GroupCount(self._state), GroupCount(self._state), PlaceCount(self._places)
        async for page in self._pages():
            for removal, _row in page:
                method = restore_method(removal, self._state)
                (lost if method is RestoreMethod.NONE else back).add(removal, target=method.value)
                if method is not RestoreMethod.NONE:
                    places.add_image(removal.key)
                    if removal.kind is ActionKind.MOVE:
                        places.add_moved(removal.target)
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
            places=places.uses(),
        )

    async def _pages(self) -> AsyncIterator[Sequence[tuple[Removal, StoredImage | None]]]:
        after_image = 0
        while page := await self._checkpoint.removals(sorted(REMOVED), after_image, WAVE_IMAGES):
            after_image = page[-1][0].image
            yield page

    async def waves(self, stages: RemovalStages) -> AsyncGenerator[list[RemovalItem], None]:
        """Removed images that have a restore method, by the age of their rows."""
        self._stages = stages
        async for page in self._pages():
            yield [
                RemovalItem(removal=removal, recorded=removal, row=row)
                for removal, row in page
                if restore_method(removal, self._state) is not RestoreMethod.NONE
            ]

    # -- Stages --------------------------------------------------------------------------------------------------------

    async def carry_out(self, stages: RemovalStages, items: list[RemovalItem]) -> None:
        """Run all stages on one wave."""
        self._copied_back.clear()
        await stages.each(items, self._check_source)
        await stages.note(items, self._change)
        await stages.each(_at(items, Step.RETURNING), self._restore)
        # Without a commit in between: after a kill, the journal has RETURNING, and the next `undo` checks first.
        await stages.each(_at(items, Step.RETURNING), self._verify)
        await stages.note(items, self._change)
        # RETURNED is durable here: the copy in quarantine goes only after the image was seen in its place.
        await stages.each(_at(items, Step.RETURNED), self._check_copy)
        await self._clear(_at(items, Step.RETURNED))
        await stages.note(items, self._change)
        stages.count(items, lambda item: RESTORE if item.removal.step is Step.UNDONE else None)

    async def _check_source(self, item: RemovalItem) -> None:
        """Read the object at the image's key in the source; the image may be restored already."""
        removal = item.removal
        found = await self._seen(item)
        if found is not None and _is_image(found, removal):
            item.advance(Step.RETURNED, returned=found.etag)
        elif removal.step is Step.RETURNED and not await self._is_in_quarantine(removal):
            item.advance(Step.UNDONE)  # only the last record was missing; later changes of the image are not undone
        elif restore_method(removal, self._state) is RestoreMethod.MARKER and found is not None:
            raise self._occupied(item, found.etag)
        else:
            item.advance(Step.RETURNING)

    async def _seen(self, item: RemovalItem) -> ObjectState | None:
        where = self._stages.source(item.removal)
        return await self._stages.repeat(lambda: self._stages.remover.head(where))

    async def _is_in_quarantine(self, removal: Removal) -> bool:
        if removal.kind is not ActionKind.MOVE:
            return False
        target = location(removal.target)
        found = await self._stages.repeat(lambda: self._stages.remover.head(target))
        return found is not None and found.etag == removal.copied

    def _occupied(self, item: RemovalItem, etag: str) -> ImageError:
        uri = self._stages.source(item.removal).uri
        return ImageError(f"{uri}: another object is there now (ETag {etag})", code="source_exists")

    async def _restore(self, item: RemovalItem) -> None:
        removal = item.removal
        if restore_method(removal, self._state) is RestoreMethod.MARKER and await self._remove_marker(item):
            item.advance(Step.RETURNING, returned=removal.etag)
        elif removal.kind is ActionKind.MOVE:
            await self._copy_back(item)
        else:
            uri = self._stages.source(removal).uri
            message = f"{uri}: the image is not the version right behind the delete marker that was made for it"
            raise ImageError(message, code="not_restorable")

    async def _remove_marker(self, item: RemovalItem) -> bool:
        """Remove the delete marker, if it is the newest version and the image is the version right behind it."""
        removal, where = item.removal, self._stages.source(item.removal)
        versions = await self._stages.repeat(lambda: self._stages.remover.versions(where))
        # Only our own marker, while it is the newest version: under a later write it hides nothing.
        if len(versions) < 2 or not versions[0].is_marker or versions[0].id != removal.marker:
            return False
        if (versions[1].etag, versions[1].size_bytes) != (removal.etag, removal.size_bytes):
            return False
        await self._stages.repeat(lambda: self._stages.remover.remove_marker(where, removal.marker))
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
        where = self._stages.source(removal)
        effect = Effect(kind=ActionKind.COPY, source=copy, target=where, if_exists=IfExists.FAIL)
        try:
            copied = await self._stages.repeat(lambda: self._stages.remover.copy(effect))
        except ImageError as error:
            if error.code != "target_exists":
                raise
            # An earlier attempt may have copied it back, with another ETag.
            etag = await self._stages.equal_object(effect)
            if etag is None:
                raise ImageError(error.message, code="source_exists") from error
            is_proved = True
        else:
            # An object that was there may have only the checksum of the copy: `_check_copy` compares them.
            etag, is_proved = copied.etag, copied.is_new
        if is_proved:
            self._copied_back.add(removal.image)
        item.advance(Step.RETURNING, returned=etag)

    async def _verify(self, item: RemovalItem) -> None:
        removal = item.removal
        found = await self._seen(item)
        if found != ObjectState(etag=removal.returned, size_bytes=removal.size_bytes):
            uri = self._stages.source(removal).uri
            raise ImageError(f"{uri}: the object there is not the image that was restored", code="not_verified")
        item.advance(Step.RETURNED)

    async def _check_copy(self, item: RemovalItem) -> None:
        """Check that the copy in quarantine, which is to be deleted, has the content of the image in the source.

        Raises:
            ImageError: ``content_differs``; ``in_source``: it is an image itself; ``original_gone``: the image is not
                there any more.
        """
        removal = item.removal
        if removal.kind is not ActionKind.MOVE or removal.is_foreign:
            return
        is_image = self._places.address(location(removal.target)) == self._places.address(self._stages.source(removal))
        if is_image or self._places.in_source(removal.target):
            raise ImageError(f"{removal.target}: an image of the source, so it is left", code="in_source")
        if removal.image in self._copied_back:
            return
        try:
            is_copy = await self._stages.is_copy(item, removal.returned or removal.etag)
        except ImageError as error:
            if error.code in _LEFT:
                return  # another object than the one that was copied, or none: ``_clear`` leaves it
            raise
        if not is_copy:
            uri = self._stages.source(removal).uri
            raise ImageError(f"{removal.target}: not the content of {uri}, so it is left", code="content_differs")

    async def _clear(self, items: list[RemovalItem]) -> None:
        """Delete the copies in quarantine; an object that is not the copy that ``apply`` made is left as it is."""
        # A foreign object was at the target before the move: undo leaves it there.
        ours = [item for item in items if item.removal.kind is ActionKind.MOVE and not item.removal.is_foreign]
        for bucket in sorted({location(item.removal.target).bucket for item in ours}):
            in_bucket = [item for item in ours if location(item.removal.target).bucket == bucket]
            await self._stages.delete(bucket, in_bucket, _copy_of)
        for item in items:
            if item.is_in or item.failed_as(*_LEFT):
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
                batch.renewed.append((row.id, removal.returned))  # the content is the same, so its labels stay valid
            self._stages.watermark.tally.take_back_effect(removal.kind)
            self._follow_again(row, batch)

    def _follow_again(self, row: StoredImage, batch: Batch) -> None:
        """Let the next run act on what people said about a restored image: while it was gone, nothing followed."""
        answer, followed = row.answer, self._followed
        if answer is not None and followed is not None and answer.serial <= followed.acted_to:
            self._followed = batch.answers = msgspec.structs.replace(followed, acted=answer.serial - 1)


def _at(items: list[RemovalItem], step: Step) -> list[RemovalItem]:
    return [item for item in items if item.removal.step is step]


def _is_image(found: ObjectState, removal: Removal) -> bool:
    return found.size_bytes == removal.size_bytes and found.etag in {removal.etag, removal.returned} - {""}


def _copy_of(item: RemovalItem) -> DeleteRequest:
    return DeleteRequest(
        key=location(item.removal.target).key, etag=item.removal.copied, size_bytes=item.removal.size_bytes
    )
