"""The bytes of files."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import BinaryIO

import anyio
import anyio.to_thread

from asyncfilter.folders.files import check_listable, check_same, open_file, reading
from asyncfilter.model import UNREADABLE, ObjectRef

READS_AT_ONCE = 16


class FolderContents:
    """``Contents`` and ``Files`` of a folder."""

    def __init__(self) -> None:
        self._threads = anyio.CapacityLimiter(READS_AT_ONCE)

    async def read(self, image: ObjectRef, *, first_bytes: int | None = None) -> bytes:
        """One attempt; see ``Contents``."""
        return await anyio.to_thread.run_sync(read_file, image, first_bytes, limiter=self._threads)

    @asynccontextmanager
    async def opened(self, image: ObjectRef) -> AsyncIterator[BinaryIO]:
        """See ``Files``."""
        file = await anyio.to_thread.run_sync(_open_same, image, limiter=self._threads)
        with file:
            yield file
            check_same(image, os.fstat(file.fileno()))


def _open_same(image: ObjectRef) -> BinaryIO:
    with reading(image):
        file = open_file(image)
        try:
            check_same(image, os.fstat(file.fileno()))
        except BaseException:
            file.close()
            raise
        return file


def read_file(image: ObjectRef, first_bytes: int | None = None) -> bytes:
    """The bytes of the file that was listed, all or the first ones; the file is checked before and after the read.

    Raises:
        ImageError: ``changed``, ``vanished``, or a cause of its own.
        TransientError: It cannot be read now.
    """
    with reading(image):
        if image.etag == UNREADABLE and image.key.endswith("/"):
            check_listable(image)
    with reading(image), open_file(image) as stream:
        check_same(image, os.fstat(stream.fileno()))
        content = stream.read() if first_bytes is None else stream.read(first_bytes)
        check_same(image, os.fstat(stream.fileno()))
        return content
