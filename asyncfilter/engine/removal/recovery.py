"""Recovery: what became of images that an earlier attempt, of this process or of one that died, may have removed.

The journal announces every write, so only announced removals can have happened unseen. An image that is not there as it
was examined was removed by us if a delete may have been sent and the store does not show otherwise; else by another
program, and the image is left. Nothing is written to the store here.
"""

from __future__ import annotations

from collections.abc import Callable

from asyncfilter.engine.core.retry import DrainedError
from asyncfilter.engine.removal.stages import WAVE_IMAGES, Change, RemovalItem, RemovalStages
from asyncfilter.errors import ImageError, PermissionDeniedError
from asyncfilter.model import ActionKind, Failure, S3Location
from asyncfilter.ports.checkpoint import RemovalJournal
from asyncfilter.ports.remover import ObjectState, Version
from asyncfilter.records.images import StoredImage
from asyncfilter.records.removal import NULL_VERSION, UNDER_WAY, BucketState, Removal, Step, Versioning

ABANDONED = Failure("abandoned", "begun and not finished; the job no longer removes it")

IsWanted = Callable[[Removal, StoredImage | None], bool]
"""Whether the job still asks for a removal that the journal holds, of the image of this row."""


class Recovery:
    """Looks at images, and tells removals by us from changes by others.

    Args:
        stages: Those of the present ``apply``.
        state: What deleting means in the source.
    """

    def __init__(self, stages: RemovalStages, state: BucketState) -> None:
        self._stages = stages
        self._state = state

    async def settle_abandoned(self, checkpoint: RemovalJournal, is_wanted: IsWanted, change: Change) -> None:
        """Find out what became of removals that were begun and are not wanted any more, and record it."""
        after_image = 0
        while page := await checkpoint.removals(sorted(UNDER_WAY), after_image, WAVE_IMAGES):
            after_image = page[-1][0].image
            abandoned = [resumed(recorded, row) for recorded, row in page if not is_wanted(recorded, row)]
            await self._stages.each(abandoned, self._find_out)
            await self._stages.note(abandoned, change)

    async def is_untouched(self, item: RemovalItem) -> bool:
        """Whether the image is the one examined; False when it was found to be removed by us, which is noted.

        Raises:
            ImageError: ``vanished`` or ``changed``, by another program.
        """
        found = await self.found(self._stages.source(item.removal))
        if found == ObjectState(etag=item.removal.etag, size_bytes=item.removal.size_bytes):
            return True
        await self._explain(item, found)
        return False

    async def found(self, place: S3Location) -> ObjectState | None:
        """What is at ``place`` now; None when nothing is."""
        return await self._stages.repeat(lambda: self._stages.remover.head(place))

    async def _find_out(self, item: RemovalItem) -> None:
        failure = ABANDONED
        try:
            await self.is_untouched(item)
        except ImageError as error:
            if error.access:
                raise DrainedError from error  # it cannot be found out now
            failure = Failure(error.code, error.message)
        if item.removal.step is not Step.DELETED:
            item.fail(failure)

    async def _explain(self, item: RemovalItem, found: ObjectState | None) -> None:
        """The image is not there as it was: by us, when a delete may have been sent, or by another program.

        In a versioned bucket the delete marker right above the image tells; elsewhere, that nothing is there.

        Raises:
            ImageError: ``vanished`` or ``changed``, by another program.
        """
        where = self._stages.source(item.removal).uri
        if item.may_be_deleted:
            marker = await self._marker(item)
            if marker or (found is None and self._state.versioning is not Versioning.ON):
                item.advance(Step.DELETED, marker=marker)
                return
        if found is None:
            raise ImageError(f"{where}: deleted since it was examined", code="vanished")
        seen = f"ETag {item.removal.etag}, now {found.etag}"
        raise ImageError(f"{where}: replaced since it was examined ({seen})", code="changed")

    async def _marker(self, item: RemovalItem) -> str:
        """Version id of the delete marker right above the image that was examined; empty when there is none."""
        if self._state.versioning is Versioning.OFF:
            return ""
        place = self._stages.source(item.removal)
        try:
            versions = await self._stages.repeat(lambda: self._stages.remover.versions(place))
        except PermissionDeniedError:
            if self._state.versioning is Versioning.UNKNOWN:
                return ""
            raise
        ours = next((at for at, one in enumerate(versions) if one.etag == item.removal.etag), 0)
        above = versions[ours - 1] if ours else None
        if above is not None and above.is_marker:
            return above.id
        return NULL_VERSION if versions and versions[0] == Version(id=NULL_VERSION, is_marker=True) else ""


def resumed(recorded: Removal, row: StoredImage | None) -> RemovalItem:
    """An image that an earlier process had begun with, and may have got further than it could record."""
    is_move = recorded.kind is ActionKind.MOVE
    return RemovalItem(
        removal=recorded,
        recorded=recorded,
        row=row,
        may_be_copied=is_move and recorded.step is Step.STARTED,
        may_be_deleted=recorded.step is (Step.VERIFIED if is_move else Step.STARTED),
    )


def aim(removal: Removal) -> tuple[str, ActionKind, str]:
    """What a removal is about: a job that asks for another one cannot go on with it."""
    return removal.etag, removal.kind, removal.target
