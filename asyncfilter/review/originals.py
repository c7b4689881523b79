"""The bytes of pictures: in the source, or where they were copied or moved to."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import BinaryIO, Protocol

from asyncfilter.errors import AsyncFilterError, ImageError, PermissionDeniedError
from asyncfilter.model import ObjectRef, S3Location, StoreKind, store_of
from asyncfilter.records.answers import Subject
from asyncfilter.review.rows import CardRow


class Reader(Protocol):
    """Reads whole objects."""

    async def download(self, image: ObjectRef, out: BinaryIO) -> None:
        """Write all bytes of an object to ``out``, on condition that it is the version that is meant."""
        ...


class StoredOriginals:
    """``Originals`` in any kind of store.

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

    @asynccontextmanager
    async def opened(self, row: CardRow) -> AsyncIterator[BinaryIO]:
        """See ``Originals``."""
        with tempfile.TemporaryFile() as file:
            await self._fetch(row, file)
            file.seek(0)  # which also writes what is in the buffer
            yield file

    async def is_changed(self, row: CardRow) -> bool:
        """See ``Originals``."""
        if row.is_gone:
            return False
        image = _object(row.subject)
        try:
            now = await self._found(image.uri)
        except AsyncFilterError:
            return False
        return now is not None and (now.etag, now.size_bytes) != (image.etag, image.size_bytes)

    async def is_changed_file(self, row: CardRow) -> bool:
        """See ``Originals``."""
        return store_of(row.subject.bucket) is StoreKind.FOLDER and await self.is_changed(row)

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
        reader = await self._reader_of(S3Location(image.bucket, image.key))
        if reader is None:
            raise ImageError("it is in a store of your own", code="content_unknown")
        await reader.download(image, out)


def _object(subject: Subject) -> ObjectRef:
    return ObjectRef(bucket=subject.bucket, key=subject.key, size_bytes=subject.size_bytes, etag=subject.etag, seq=0)
