"""The bytes of pictures: in the source, or where they were copied or moved to."""

from __future__ import annotations

import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import BinaryIO, Protocol

from asyncfilter.errors import AccessError, AsyncFilterError, ImageError, PermissionDeniedError
from asyncfilter.model import ObjectRef, S3Location, StoreKind, store_of
from asyncfilter.records.answers import Subject
from asyncfilter.review.rows import CardRow
from asyncfilter.review.versions import OriginalState

FAILED_S = 5.0
"""To find out that there are no credentials, or no network, may take seconds: it is not done for each picture."""


class Reader(Protocol):
    """Reads whole objects."""

    async def download(self, image: ObjectRef, out: BinaryIO) -> None:
        """Write all bytes of an object to ``out``, on condition that it is the version that is meant."""
        ...


class StoredOriginals:
    """``Originals`` and ``Looks`` in any kind of store.

    Args:
        reader_of: What reads the object at a place; None where nothing can.
        found: The object at an address, as it is now; None when there is none.
    """

    def __init__(
        self,
        reader_of: Callable[[S3Location], Awaitable[Reader | None]],
        found: Callable[[str], Awaitable[ObjectRef | None]],
    ) -> None:
        self._reader_of, self._found = reader_of, found
        self._failure: AccessError | None = None
        self._failed_s = 0.0

    @asynccontextmanager
    async def opened(self, row: CardRow) -> AsyncIterator[BinaryIO]:
        """See ``Originals``."""
        with tempfile.TemporaryFile() as file:
            await self._fetch(row, file)
            file.seek(0)  # which also writes what is in the buffer
            yield file

    async def standing(self, row: CardRow) -> OriginalState | None:
        """See ``Looks``."""
        if row.is_gone:  # taken out by us: its copy is what is shown
            return None
        image = _object(row.subject)
        try:
            with self._account():
                now = await self._found(image.uri)
        except AsyncFilterError:
            return None
        if now is None:
            return OriginalState.GONE if row.copy is None else None
        is_same = (now.etag, now.size_bytes) == (image.etag, image.size_bytes)
        return OriginalState.SAME if is_same else OriginalState.REPLACED

    def is_free(self, row: CardRow) -> bool:
        """See ``Looks``."""
        return store_of(row.subject.bucket) is StoreKind.FOLDER

    async def _fetch(self, row: CardRow, out: BinaryIO) -> None:
        """Write the picture, or its copy, to ``out``.

        Raises:
            ImageError: Neither can be read.
        """
        failure = ImageError("it was removed, and there is no copy", code="vanished")
        if not row.is_gone:
            try:
                await self._whole(_object(row.subject), out)
            except ImageError as error:
                failure = error
            else:
                return
        copy = await self._copy(row)
        if copy is None or copy.size_bytes != row.subject.size_bytes or failure.code == "changed":
            raise failure
        out.seek(0)
        out.truncate()
        await self._whole(copy, out)

    async def _copy(self, row: CardRow) -> ObjectRef | None:
        try:
            return None if row.copy is None else await self._found(row.copy)
        except PermissionDeniedError:
            return None  # a missing key gives 403 to callers that may not list its bucket

    async def _whole(self, image: ObjectRef, out: BinaryIO) -> None:
        with self._account():
            reader = await self._reader_of(S3Location(image.bucket, image.key))
            if reader is None:
                raise ImageError("it is in a store of your own", code="content_unknown")
            await reader.download(image, out)

    @contextmanager
    def _account(self) -> Iterator[None]:
        """Use the account; where it cannot be used at all, nothing tries again for some seconds.

        Raises:
            AccessError: It could not be used just now.
        """
        if self._failure is not None and time.monotonic() - self._failed_s < FAILED_S:
            raise AccessError(self._failure.message, hint=self._failure.hint)
        try:
            yield
        except PermissionDeniedError:  # of one object or bucket
            raise
        except AccessError as error:
            self._failure, self._failed_s = error, time.monotonic()
            raise


def _object(subject: Subject) -> ObjectRef:
    return ObjectRef(bucket=subject.bucket, key=subject.key, size_bytes=subject.size_bytes, etag=subject.etag, seq=0)
