"""A store in memory with objects, versions and delete markers like S3: source, sink and remover in one object."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Sequence
from itertools import count

import msgspec
from anyio.lowlevel import checkpoint as yield_to_others

from asyncfilter.errors import CallError, ImageError
from asyncfilter.model import ActionKind, Effect, IfExists, ListedObject, ObjectRef, S3Location
from asyncfilter.ports.examine import Page
from asyncfilter.ports.remover import CopyResult, DeleteRequest, DeleteResult, ObjectState, VersionState
from asyncfilter.records.removal import NULL_VERSION, BucketState, Versioning
from asyncfilter.testing.ports import Fault, no_fault

Point = Callable[[str], Awaitable[None]]
"""Awaited before and after every effect with its description; an exception simulates a process killed there."""


class StoredVersion(msgspec.Struct, frozen=True, kw_only=True):
    """One version of an object; ``body`` is None for a delete marker."""

    id: str
    body: bytes | None
    etag: str = ""


async def _pass(_what: str) -> None:
    await yield_to_others()


class MemoryStore:
    """Buckets in memory.

    Args:
        bucket: The source.
        versioning: Versioning of the source; other buckets keep no versions.
        mfa_delete: The source has MFA Delete on.
        page_objects: Objects on a page of the listing.
        point: Awaited before and after every effect.
        fault: Chooses the attempts that fail, by ``operation key`` and the number of the attempt, from 1.

    Attributes:
        deleted: Every delete that took effect, as location and ETag, in order.
        copies: Every copy made, as source and target, in order.
        batches: Sizes of the batches of deletes that were requested.
        tags: Tags by location.
    """

    def __init__(
        self,
        bucket: str = "raw",
        *,
        versioning: Versioning = Versioning.OFF,
        mfa_delete: bool = False,
        page_objects: int = 1000,
        point: Point = _pass,
        fault: Fault = no_fault,
    ) -> None:
        self.bucket = bucket
        self.versioning = versioning
        self.point = point
        self.fault = fault
        self.deleted: list[tuple[S3Location, str]] = []
        self.copies: list[tuple[S3Location, S3Location]] = []
        self.batches: list[int] = []
        self.tags: dict[S3Location, dict[str, str]] = {}
        self._mfa_delete = mfa_delete
        self._page_objects = page_objects
        self._history: dict[S3Location, list[StoredVersion]] = {}
        self._attempts: dict[str, int] = {}
        self._ids = count(1)

    # -- Other clients of the bucket -----------------------------------------------------------------------------------

    def put(self, key: str, body: bytes, bucket: str | None = None) -> str:
        """Store an object; its ETag."""
        place = S3Location(bucket or self.bucket, key)
        etag = hashlib.md5(body, usedforsecurity=False).hexdigest()
        self._write(place, body, etag)
        return etag

    def remove(self, key: str, bucket: str | None = None) -> str:
        """Delete an object like another client; returns the id of the delete marker, empty where there is none."""
        return self._remove(S3Location(bucket or self.bucket, key))

    def body(self, key: str, bucket: str | None = None) -> bytes | None:
        """The object's bytes; None when it does not exist."""
        current = self._current(S3Location(bucket or self.bucket, key))
        return current.body if current is not None else None

    def keys(self, bucket: str | None = None) -> list[str]:
        """Keys of the objects that exist, in UTF-8 byte order."""
        wanted = bucket or self.bucket
        existing = [place.key for place in self._history if place.bucket == wanted and self._current(place) is not None]
        return sorted(existing, key=str.encode)

    def history(self, key: str) -> Sequence[StoredVersion]:
        """The source's versions of a key, oldest first."""
        return tuple(self._history.get(S3Location(self.bucket, key), ()))

    # -- Source --------------------------------------------------------------------------------------------------------

    async def page(self, after: str | None) -> Page:
        """See ``Source``."""
        await self._enter("list", S3Location(self.bucket, after or ""))
        keys = self.keys()
        start = bisect_right([key.encode() for key in keys], after.encode()) if after is not None else 0
        chosen = keys[start : start + self._page_objects]
        return Page([self._listed(key) for key in chosen], start + len(chosen) >= len(keys))

    def _listed(self, key: str) -> ListedObject:
        current = self._current(S3Location(self.bucket, key))
        if current is None or current.body is None:
            raise KeyError(key)
        return ListedObject(key, len(current.body), current.etag)

    # -- Sink ----------------------------------------------------------------------------------------------------------

    async def perform(self, effect: Effect) -> None:
        """See ``Sink``: copies and tags."""
        if effect.kind is ActionKind.COPY:
            await self.copy(effect)
            return
        place = S3Location(effect.source.bucket, effect.source.key)
        await self._enter("tag", place)
        self._examined(effect.source)
        self.tags[place] = self.tags.get(place, {}) | dict(effect.tags)
        await self.point(f"tagged {place.key}")

    # -- Remover -------------------------------------------------------------------------------------------------------

    async def state(self) -> BucketState:
        """See ``Remover``."""
        await self._enter("state", S3Location(self.bucket, ""))
        return BucketState(versioning=self.versioning, mfa_delete=self._mfa_delete)

    async def head(self, place: S3Location) -> ObjectState | None:
        """See ``Remover``."""
        await self._enter("head", place)
        current = self._current(place)
        return ObjectState(etag=current.etag, size_bytes=len(current.body or b"")) if current is not None else None

    async def copy(self, effect: Effect) -> CopyResult:
        """See ``Remover``."""
        source, target = S3Location(effect.source.bucket, effect.source.key), effect.target
        if target is None:
            raise ValueError("a copy needs a target")
        await self._enter("copy", source)
        found = self._examined(effect.source)
        if (
            effect.if_exists is not IfExists.OVERWRITE
            and (existing_copy := self._existing_copy(effect, found)) is not None
        ):
            return existing_copy
        self._write(target, found.body or b"", found.etag)
        self.copies.append((source, target))
        await self.point(f"copied {source.key}")
        return CopyResult(etag=found.etag, is_new=True)

    async def existing_copy(self, effect: Effect) -> CopyResult | None:
        """See ``Remover``."""
        await self._enter("existing_copy", S3Location(effect.source.bucket, effect.source.key))
        if effect.target is None or self._current(effect.target) is None:
            return None
        return self._existing_copy(effect, self._examined(effect.source))

    def _existing_copy(self, effect: Effect, source: StoredVersion) -> CopyResult | None:
        if effect.target is None or (existing_copy := self._current(effect.target)) is None:
            return None
        if effect.if_exists is IfExists.FAIL and existing_copy.body != source.body:
            raise ImageError(f"{effect.target.uri}: another object exists there", code="target_exists")
        return CopyResult(etag=existing_copy.etag, is_new=False)

    async def same_content(self, image: ObjectRef, original: ObjectRef) -> bool:
        """See ``Remover``."""
        await self._enter("same_content", S3Location(image.bucket, image.key))
        other = self._current(S3Location(original.bucket, original.key))
        if other is None or other.etag != original.etag:
            raise ImageError(f"{original.uri} is not there any more", code="original_gone")
        return self._examined(image).body == other.body

    async def delete(self, bucket: str, requests: Sequence[DeleteRequest]) -> Sequence[DeleteResult | CallError]:
        """See ``Remover``."""
        await self._enter("batch", S3Location(bucket, requests[0].key))
        self.batches.append(len(requests))
        results: list[DeleteResult | CallError] = []
        for one in requests:
            results.append(self._delete_one(S3Location(bucket, one.key), one.etag))
            await self.point(f"deleted {one.key}")
        return results

    def _delete_one(self, place: S3Location, etag: str) -> DeleteResult | CallError:
        error = self._fault("delete", place)
        if isinstance(error, CallError):
            return error
        current = self._current(place)
        if current is None:
            return ImageError(f"{place.uri} is not there", code="vanished")
        if current.etag != etag:
            return ImageError(f"{place.uri} has another ETag", code="changed")
        self.deleted.append((place, etag))
        return DeleteResult(marker=self._remove(place))

    async def versions(self, place: S3Location) -> Sequence[VersionState]:
        """See ``Remover``."""
        await self._enter("versions", place)
        return [
            VersionState(id=one.id, etag=one.etag, size_bytes=len(one.body or b""), is_marker=one.body is None)
            for one in reversed(self._history.get(place, []))
        ]

    async def remove_marker(self, place: S3Location, marker: str) -> None:
        """See ``Remover``."""
        await self._enter("remove_marker", place)
        self._history[place] = [one for one in self._history.get(place, []) if one.id != marker]
        await self.point(f"unmarked {place.key}")

    # -- Stored versions -----------------------------------------------------------------------------------------------

    async def _enter(self, operation: str, place: S3Location) -> None:
        await self.point(f"{operation} {place.key}")
        error = self._fault(operation, place)
        if error is not None:
            raise error

    def _fault(self, operation: str, place: S3Location) -> Exception | None:
        what = f"{operation} {place.key}"
        self._attempts[what] = self._attempts.get(what, 0) + 1
        return self.fault(what, self._attempts[what])

    def _examined(self, image: ObjectRef) -> StoredVersion:
        current = self._current(S3Location(image.bucket, image.key))
        if current is None:
            raise ImageError(f"{image.uri} is not there any more", code="vanished")
        if current.etag != image.etag:
            raise ImageError(f"{image.uri} was replaced since it was examined", code="changed")
        return current

    def _current(self, place: S3Location) -> StoredVersion | None:
        history = self._history.get(place)
        return history[-1] if history and history[-1].body is not None else None

    def _state_of(self, place: S3Location) -> Versioning:
        return self.versioning if place.bucket == self.bucket else Versioning.OFF

    def _write(self, place: S3Location, body: bytes, etag: str) -> None:
        self._append(place, StoredVersion(id=self._next_id(place), body=body, etag=etag))

    def _remove(self, place: S3Location) -> str:
        if self._state_of(place) not in {Versioning.ON, Versioning.SUSPENDED}:
            self._history.pop(place, None)
            return ""
        marker = StoredVersion(id=self._next_id(place), body=None)
        self._append(place, marker)
        return marker.id

    def _append(self, place: S3Location, one: StoredVersion) -> None:
        """Add a version; with versioning off or suspended it replaces the version ``null``."""
        others = [other for other in self._history.get(place, []) if other.id != NULL_VERSION or one.id != NULL_VERSION]
        self._history[place] = [*others, one]

    def _next_id(self, place: S3Location) -> str:
        return f"v{next(self._ids)}" if self._state_of(place) is Versioning.ON else NULL_VERSION
