"""The duplicate guard: a duplicate is removed only while the earlier image with the same content still exists.

The content is the same when SHA-256 or the bytes say so. ETags are MD5, and two pictures can be made that have one.

A checkpoint may be somebody else's: an image that it calls a duplicate of itself, by whichever address, or of one that
it calls a duplicate of this one in turn, has no earlier image. An object in a place that the job does not name is none
either: it may belong to whoever made the checkpoint.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping

from msgspec import structs

from asyncfilter.errors import ImageError
from asyncfilter.job.spec import Job
from asyncfilter.model import ActionKind, ObjectRef, S3Location, location
from asyncfilter.policy.effects import image_of
from asyncfilter.policy.removal_places import RemovalPlaces
from asyncfilter.ports.checkpoint import LabelStore
from asyncfilter.ports.remover import ObjectState
from asyncfilter.records.images import StoredImage
from asyncfilter.records.removal import REMOVING

Head = Callable[[S3Location], Awaitable[ObjectState | None]]
SameContent = Callable[[ObjectRef, ObjectRef], Awaitable[bool]]


class DuplicateGuard:
    """Checks, before a duplicate is removed, that the earlier image with the same content is still there.

    Args:
        job: Gives the actions of duplicates and of verdicts.
        checkpoint: Holds the rows of the earlier images.
        places: Those in which the earlier images may be; two names of one object are recognised by its address.
    """

    def __init__(self, job: Job, checkpoint: LabelStore, places: RemovalPlaces) -> None:
        self._job = job
        self._checkpoint = checkpoint
        self._places = places
        self._known: dict[int, StoredImage] = {}
        self._circular: set[int] = set()

    async def fetch(self, rows: Iterable[StoredImage]) -> None:
        """Read the earlier images that ``check`` will need for these rows, which are checked before any is removed."""
        after = {row.id: row.same_as for row in rows if row.same_as is not None and self._job.duplicate is not None}
        ids = set(after.values())
        self._known = {row.id: row for row in await self._checkpoint.rows(sorted(ids))} if ids else {}
        self._circular = _circular(after)

    async def check(self, row: StoredImage, head: Head, same_content: SameContent) -> None:
        """Check that the content of a duplicate remains when the duplicate is removed.

        Raises:
            ImageError: ``original_gone``: the earlier image is not there any more. ``content_differs``: it is another
                picture with the same ETag.
        """
        if row.same_as is None or self._job.duplicate is None:
            return
        original, image = self._known.get(row.same_as), image_of(self._job.source.bucket, row)
        is_earlier = original is not None and row.id not in self._circular
        there = await self._find(original, image, head) if original is not None and is_earlier else None
        if there is None:
            # An original that the rules removed too is not needed: this image has its verdict, and goes for that.
            if self._is_needed(row):
                raise ImageError(f"{image.uri}: {self._gone(original)}", code="original_gone")
        elif not await same_content(image, there):
            message = f"another picture than {there.uri}, although both have the ETag {row.etag}"
            raise ImageError(f"{image.uri}: {message}", code="content_differs")

    def _is_needed(self, row: StoredImage) -> bool:
        """Whether the content of a duplicate must be kept, and only the earlier image has it after the removal."""
        if row.same_as is None or row.decision is None or self._job.duplicate is None:
            return False
        judged = self._job.actions[row.decision.verdict].kind
        # A moved image is kept in quarantine, a deleted one is not: so a deleted duplicate of a moved image needs it.
        return judged not in REMOVING or (judged, self._job.duplicate.kind) == (ActionKind.MOVE, ActionKind.DELETE)

    def _gone(self, original: StoredImage | None) -> str:
        message = "the earlier image with the same content is not there any more, this may be the only one"
        others = [uri for uri in _moves(original) if not self._places.moved(uri)[1]] if original is not None else []
        return f"{message}; not looked at, since the job does not name the place: {others[0]}" if others else message

    async def _find(self, original: StoredImage, image: ObjectRef, head: Head) -> ObjectRef | None:
        """The original at the key at which it was examined, or at the target to which it was moved; never ``image``.

        Both only in places of the job, or that the user allowed.

        Another kind of store gives it another ETag; its bytes are compared by ``check`` in any case.
        """
        places, source = self._places, S3Location(self._job.source.bucket, original.key)
        named = [source] if places.image(original.key)[1] else []
        named += [location(uri) for uri in _moves(original) if places.moved(uri)[1]]
        own = places.address(S3Location(image.bucket, image.key))
        for where in named:
            if places.address(where) == own:
                continue
            found = await head(where)
            if found is None or found.size_bytes != original.size_bytes:
                continue
            if found.etag == original.etag or where.store is not source.store:
                return structs.replace(image_of(where.bucket, original), key=where.key, etag=found.etag)
        return None


def _moves(original: StoredImage) -> list[str]:
    return [effect.target for effect in original.effects if effect.kind is ActionKind.MOVE]


def _circular(after: Mapping[int, int]) -> set[int]:
    """The rows that come after themselves, by way of rows that are checked together with them."""
    state: dict[int, int] = {}
    circular: set[int] = set()
    for start in after:
        path: list[int] = []
        at = start
        while at in after and at not in state:
            state[at] = start
            path.append(at)
            at = after[at]
        if state.get(at) == start:
            circular.update(path[path.index(at) :])
    return circular
