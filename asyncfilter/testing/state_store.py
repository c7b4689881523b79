"""A ``StateStore`` in memory: what S3 does, and the faults that an owner of a state must survive."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Callable
from itertools import count
from pathlib import Path
from typing import NamedTuple

import anyio
from anyio.lowlevel import checkpoint as yield_to_others

from asyncfilter.errors import ObjectChangedError, TransientError
from asyncfilter.model import ListedObject, S3Location
from asyncfilter.ports.state_store import Put, Refusal, StoredBytes, StoredInfo

_PIECE_BYTES = 64 * 1024


class StoredFile(NamedTuple):
    """One object: its bytes, its ETag, and when it was written by ``MemoryStateStore.now_s``."""

    body: bytes
    etag: str
    written_s: float


class LostAnswerError(Exception):
    """Raised by a fault: the request is carried out, and its answer is lost."""


Fault = Callable[[str, S3Location], object]
"""Called before every request with its name and place.

It raises ``LostAnswerError``, or what the request fails with; a result that is a ``Refusal`` refuses a write."""


def no_fault(_operation: str, _place: S3Location) -> object:
    """No request fails."""
    return None


class MemoryStateStore:
    """Objects in memory, shared by all that use one instance.

    Args:
        fault: Makes requests fail.
        obeys_new: False for a store that ignores ``If-None-Match``.
        obeys_match: False for a store that ignores ``If-Match``.

    Attributes:
        objects: By bucket and key.
        now_s: The clock of the store; a test sets it.
        requests: Every request, as name and place, in order.
    """

    def __init__(self, *, fault: Fault = no_fault, obeys_new: bool = True, obeys_match: bool = True) -> None:
        self.objects: dict[S3Location, StoredFile] = {}
        self.fault = fault
        self.now_s = 0.0
        self.requests: list[tuple[str, S3Location]] = []
        self._obeys_new, self._obeys_match = obeys_new, obeys_match
        self._versions = count(1)

    # -- Other clients of the store ------------------------------------------------------------------------------------

    def write(self, place: S3Location, body: bytes) -> str:
        """Write an object like another client; its ETag."""
        etag = f"{hashlib.md5(body, usedforsecurity=False).hexdigest()}-{next(self._versions)}"
        self.objects[place] = StoredFile(body, etag, self.now_s)
        return etag

    # -- The port ------------------------------------------------------------------------------------------------------

    async def get(self, place: S3Location, *, most_bytes: int) -> StoredBytes | None:
        """See ``StateStore``."""
        await self._enter("get", place)
        found = self.objects.get(place)
        return None if found is None else StoredBytes(found.body[:most_bytes], found.etag)

    async def head(self, place: S3Location) -> StoredInfo | None:
        """See ``StateStore``."""
        await self._enter("head", place)
        found = self.objects.get(place)
        return None if found is None else StoredInfo(place, len(found.body), found.etag, self.now_s - found.written_s)

    async def pieces(self, info: StoredInfo) -> AsyncGenerator[bytes, None]:
        """See ``StateStore``."""
        for start in range(0, info.size_bytes, _PIECE_BYTES):
            await self._enter("part", info.place)
            found = self.objects.get(info.place)
            if found is None or found.etag != info.etag:
                raise ObjectChangedError(f"{info.place.uri}: replaced or deleted while it was read")
            yield found.body[start : start + _PIECE_BYTES]

    async def put(
        self,
        place: S3Location,
        body: bytes,
        *,
        only_new: bool = False,
        if_match: str | None = None,
        sha256: bytes | None = None,
    ) -> Put:
        """See ``StateStore``."""
        if sha256 is not None and sha256 != hashlib.sha256(body).digest():
            raise ValueError(f"{place.uri}: the digest is of other bytes")
        is_lost = False
        try:
            refused = await self._enter("put", place)
        except LostAnswerError:
            refused, is_lost = None, True
        result = Put("", refused) if isinstance(refused, Refusal) else self._put(place, body, only_new, if_match)
        if is_lost:
            raise TransientError(f"PutObject on {place.uri}: no complete response in time", may_be_billed=True)
        return result

    def _put(self, place: S3Location, body: bytes, only_new: bool, if_match: str | None) -> Put:  # noqa: FBT001
        present = self.objects.get(place)
        if only_new and self._obeys_new and present is not None:
            return Put("", Refusal.CHANGED)
        if if_match is not None and self._obeys_match and (present is None or present.etag != if_match):
            return Put("", Refusal.GONE if present is None else Refusal.CHANGED)
        return Put(self.write(place, body))

    async def put_file(self, place: S3Location, path: Path, *, sha256: bytes) -> Put:
        """See ``StateStore``."""
        return await self.put(place, await anyio.Path(path).read_bytes(), only_new=True, sha256=sha256)

    async def listed(self, bucket: str, prefix: str) -> AsyncGenerator[ListedObject, None]:
        """See ``StateStore``."""
        await self._enter("list", S3Location(bucket, prefix))
        below = [(place, one) for place, one in self.objects.items() if place.bucket == bucket]
        for place, one in sorted(below, key=lambda pair: pair[0].key.encode()):
            if place.key.startswith(prefix):
                yield ListedObject(place.key, len(one.body), one.etag)

    async def delete(self, place: S3Location, etag: str) -> bool:
        """See ``StateStore``."""
        await self._enter("delete", place)
        found = self.objects.get(place)
        if found is not None and found.etag != etag:
            return False
        self.objects.pop(place, None)
        return True

    async def _enter(self, operation: str, place: S3Location) -> object:
        self.requests.append((operation, place))
        await yield_to_others()
        return self.fault(operation, place)
