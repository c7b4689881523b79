"""The remover: takes objects out of the source and brings them back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from asyncfilter.errors import CallError
from asyncfilter.model import Effect, ObjectRef, S3Location
from asyncfilter.records.removal import BucketState


class ObjectState(msgspec.Struct, frozen=True, kw_only=True):
    """An object at a location, as far as a remover needs it."""

    etag: str
    size_bytes: int


class CopyResult(msgspec.Struct, frozen=True, kw_only=True):
    """A copy exists at its target with this ETag; ``is_new`` is False when the same content was there before."""

    etag: str
    is_new: bool


class DeleteResult(msgspec.Struct, frozen=True, kw_only=True):
    """An object was deleted; ``marker`` is the version id of the delete marker that replaced it, empty without one."""

    marker: str = ""


class VersionState(msgspec.Struct, frozen=True, kw_only=True):
    """One version of an object, or a delete marker, which has neither ETag nor size."""

    id: str
    etag: str = ""
    size_bytes: int = 0
    is_marker: bool = False


class DeleteRequest(msgspec.Struct, frozen=True, kw_only=True):
    """An object to delete, on condition of its ETag; a file's size must be the same too."""

    key: str
    etag: str
    size_bytes: int


DELETES_AT_ONCE = 1000
"""Most objects in one ``Remover.delete`` (S3 API reference, *DeleteObjects*)."""


class Remover(Protocol):
    """Takes objects out of the source and brings them back; every write is conditional: repeating it is harmless.

    In addition to the errors of each method, all raise ``ThrottledError``, ``TransientError``, ``AccessError``, and
    ``ImageError`` ``access_denied`` for an object that may not be touched.
    """

    async def state(self) -> BucketState:
        """What deleting means in the source."""
        ...

    async def head(self, place: S3Location) -> ObjectState | None:
        """The object at a location; None when there is none."""
        ...

    async def copy(self, effect: Effect) -> CopyResult:
        """Copy ``effect.source`` to ``effect.target`` on condition of its ETag, as ``Sink.perform`` does.

        Raises:
            ImageError: ``changed`` or ``vanished`` since, ``target_exists``, or a cause of its own.
        """
        ...

    async def existing_copy(self, effect: Effect) -> CopyResult | None:
        """The object at ``effect.target``, if it has the content of ``effect.source``; None when there is no object.

        Raises:
            ImageError: ``target_exists`` for other content; ``changed`` or ``vanished``, of the source.
        """
        ...

    async def same_content(self, image: ObjectRef, original: ObjectRef) -> bool:
        """Whether two objects have the same bytes, by SHA-256 or by the bytes; equal ETags do not show it.

        Raises:
            ImageError: ``changed`` or ``vanished``, of the image; ``original_gone``; ``content_unknown`` when the store
                does not give the bytes.
        """
        ...

    async def delete(self, bucket: str, requests: Sequence[DeleteRequest]) -> Sequence[DeleteResult | CallError]:
        """Delete up to ``DELETES_AT_ONCE`` objects in one attempt; the result for each, in the same order.

        An object's error is a value here: ``ImageError`` (``changed``, ``vanished``, ``access_denied``),
        ``ThrottledError``, or ``TransientError`` when it may have been deleted or not.
        """
        ...

    async def versions(self, place: S3Location) -> Sequence[VersionState]:
        """The versions of one object and its delete markers, newest first; empty where no versions are kept."""
        ...

    async def remove_marker(self, place: S3Location, marker: str) -> None:
        """Remove one delete marker, by its version id; no error when it does not exist."""
        ...
