"""Recovery: the state of images that an earlier attempt, of this process or of a killed one, may have removed.

Every write is in the journal before it is sent, so only removals in the journal can have been carried out unconfirmed.
An image that is not there as it was examined was removed by asyncfilter if a delete may have been sent and the store
does not show otherwise; else another program removed it, and it is left as it is. Recovery writes nothing to the store.
"""

from __future__ import annotations

from collections.abc import Callable

from asyncfilter.engine.core.retry import DrainedError
from asyncfilter.engine.removal.stages import WAVE_IMAGES, Change, RemovalItem, RemovalStages
from asyncfilter.errors import ImageError, PermissionDeniedError
from asyncfilter.model import ActionKind, Failure, S3Location
from asyncfilter.ports.checkpoint import RemovalJournal
from asyncfilter.ports.remover import ObjectState, VersionState
from asyncfilter.records.images import StoredImage
from asyncfilter.records.removal import NULL_VERSION, UNDER_WAY, BucketState, Removal, Step, Versioning

ABANDONED = Failure("abandoned", "begun and not finished; the job no longer removes it")

IsWanted = Callable[[Removal, StoredImage | None], bool]
"""Whether the job still requires a removal that the journal holds, of the image of this row."""


class Recovery:
    """Reads the state of images, and distinguishes removals by asyncfilter from changes by other programs.

    Args:
        stages: The stages of the present ``apply``.
        state: The versioning of the source.
    """

    def __init__(self, stages: RemovalStages, state: BucketState) -> None:
        self._stages = stages
        self._state = state

    async def settle_abandoned(self, checkpoint: RemovalJournal, is_wanted: IsWanted, change: Change) -> None:
        """Determine and record the state of abandoned removals: begun, and no longer wanted by the job."""
        after_image = 0
        while page := await checkpoint.removals(sorted(UNDER_WAY), after_image, WAVE_IMAGES):
            after_image = page[-1][0].image
            abandoned = [resumed(recorded, row) for recorded, row in page if not is_wanted(recorded, row)]
            await self._stages.each(abandoned, self._resolve)
            await self._stages.note(abandoned, change)

    async def is_untouched(self, item: RemovalItem) -> bool:
        """Whether the image is the one examined; False when asyncfilter removed it, which the item then records.

        Raises:
            ImageError: ``vanished`` or ``changed``: another program deleted or replaced it.
        """
        found = await self.found(self._stages.source(item.removal))
        if found == ObjectState(etag=item.removal.etag, size_bytes=item.removal.size_bytes):
            return True
        await self._explain(item, found)
        return False

    async def found(self, where: S3Location) -> ObjectState | None:
        """The present object at ``where``; None when there is none."""
        return await self._stages.repeat(lambda: self._stages.remover.head(where))

    async def _resolve(self, item: RemovalItem) -> None:
        failure = ABANDONED
        try:
            await self.is_untouched(item)
        except ImageError as error:
            if error.access:
                # Not recorded as abandoned: the next `apply` may have the permission.
                raise DrainedError from error  # the state cannot be read now
            failure = Failure(error.code, error.message)
        if item.removal.step is not Step.DELETED:
            item.fail(failure)

    async def _explain(self, item: RemovalItem, found: ObjectState | None) -> None:
        """Determine whether asyncfilter or another program removed an image that is not there as it was examined.

        It was asyncfilter when a delete may have been sent and the version right above the image is a delete marker;
        where versioning is not known to be on, also when there is no object.

        Raises:
            ImageError: ``vanished`` or ``changed``: another program deleted or replaced it.
        """
        uri = self._stages.source(item.removal).uri
        if item.may_be_deleted:
            marker = await self._marker(item)
            # With versions, a delete of ours leaves a marker; without them it leaves nothing, and only the journal
            # shows it.
            if marker or (found is None and self._state.versioning is not Versioning.ON):
                item.advance(Step.DELETED, marker=marker)
                return
        if found is None:
            raise ImageError(f"{uri}: deleted since it was examined", code="vanished")
        seen = f"ETag {item.removal.etag}, now {found.etag}"
        raise ImageError(f"{uri}: replaced since it was examined ({seen})", code="changed")

    async def _marker(self, item: RemovalItem) -> str:
        """Version id of the delete marker right above the image that was examined; empty when there is none."""
        if self._state.versioning is Versioning.OFF:
            return ""
        where = self._stages.source(item.removal)
        try:
            versions = await self._stages.repeat(lambda: self._stages.remover.versions(where))
        except PermissionDeniedError:
            if self._state.versioning is Versioning.UNKNOWN:
                return ""
            raise
        ours = next((at for at, one in enumerate(versions) if one.etag == item.removal.etag), 0)
        above = versions[ours - 1] if ours else None
        if above is not None and above.is_marker:
            return above.id
        # While versioning is suspended, a delete replaces the image's own version by a marker with the id null.
        return NULL_VERSION if versions and versions[0] == VersionState(id=NULL_VERSION, is_marker=True) else ""


def resumed(recorded: Removal, row: StoredImage | None) -> RemovalItem:
    """The item of an image whose removal an earlier process began; it may have done more than it recorded."""
    is_move = recorded.kind is ActionKind.MOVE
    return RemovalItem(
        removal=recorded,
        recorded=recorded,
        row=row,
        may_be_copied=is_move and recorded.step is Step.STARTED,
        # The step before the delete: at any earlier one no delete can have been sent.
        may_be_deleted=recorded.step is (Step.VERIFIED if is_move else Step.STARTED),
    )


def aim(removal: Removal) -> tuple[str, str, int, ActionKind, str]:
    """The identity of a removal: only a job that requires one with the same identity can continue it.

    The key and the size are part of it: an entry about another object than its row is no removal of this image, and
    the plan that the user agreed to does not show its place.
    """
    return removal.key, removal.etag, removal.size_bytes, removal.kind, removal.target
