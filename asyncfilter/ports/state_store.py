"""The port of the store in which a state outlives its machine: whole objects, conditional writes, listings.

``put`` and ``put_file`` make exactly one attempt: only the owner of a state knows what a lost answer means. The other
methods may repeat attempts that had no effect. In addition to the errors of each method, all raise ``AccessError`` for
what the account may not do, ``EndpointError`` where nothing answers any more, ``ThrottledError`` and
``TransientError``.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple, Protocol

from asyncfilter.model import ListedObject, S3Location


class StoredBytes(NamedTuple):
    """The bytes of an object, or the first of them, and the ETag that they had, without its quotes."""

    body: bytes
    etag: str


class StoredInfo(NamedTuple):
    """What a store says about an object.

    Attributes:
        place: Where it is.
        size_bytes: Its size.
        etag: Its ETag, without quotes.
        age_s: Seconds since it was written, both times by the clock of the store; None where it does not tell.
    """

    place: S3Location
    size_bytes: int
    etag: str
    age_s: float | None = None


class Refusal(StrEnum):
    """Why a conditional write had no effect."""

    CHANGED = "changed"
    """HTTP 412: there is an object although none may be, or another one than ``if_match`` names."""
    GONE = "gone"
    """HTTP 404: there is none, and ``if_match`` names one."""
    CONFLICT = "conflict"
    """HTTP 409: another write is under way; the same write may succeed a moment later."""
    UNSUPPORTED = "unsupported"
    """HTTP 501 and the like: the store does not know the condition."""


class Put(NamedTuple):
    """The result of a write: the ETag of the new object, without quotes, or why there is none."""

    etag: str
    refusal: Refusal | None = None


class StateStore(Protocol):
    """A store of states."""

    async def get(self, place: S3Location, *, most_bytes: int) -> StoredBytes | None:
        """At most the first ``most_bytes`` of an object; None when there is none."""
        ...

    async def head(self, place: S3Location) -> StoredInfo | None:
        """What is known about an object without reading it; None when there is none."""
        ...

    def pieces(self, info: StoredInfo) -> AsyncGenerator[bytes, None]:
        """All bytes of an object in order, in pieces of some megabytes, on condition of its ETag.

        Raises:
            ObjectChangedError: It was replaced or deleted, or other bytes came.
        """
        ...

    async def put(
        self,
        place: S3Location,
        body: bytes,
        *,
        only_new: bool = False,
        if_match: str | None = None,
        sha256: bytes | None = None,
    ) -> Put:
        """Write an object by one request, with the SHA-256 of its bytes, which the store compares.

        Args:
            place: Where.
            body: The bytes.
            only_new: Only if there is no object.
            if_match: Only if the object has this ETag.
            sha256: Of the bytes, where it is known.
        """
        ...

    async def put_file(self, place: S3Location, path: Path, *, sha256: bytes) -> Put:
        """Write the bytes of a file, which is not held in memory; only if there is no object.

        Args:
            place: Where.
            path: The file; it does not change meanwhile.
            sha256: Of its bytes.
        """
        ...

    def listed(self, bucket: str, prefix: str) -> AsyncGenerator[ListedObject, None]:
        """All objects whose keys begin with ``prefix``, in the order of their keys; read page by page."""
        ...

    async def delete(self, place: S3Location, etag: str) -> bool:
        """Delete an object; False when it is another one by now. One that is gone counts as deleted."""
        ...
