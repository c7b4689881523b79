"""Pictures as open files, which decoding processes read: those of a folder as they are, others in memory or on disk."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import BinaryIO

import anyio.to_thread

from asyncfilter.errors import AccessError, ImageError
from asyncfilter.model import ObjectRef
from asyncfilter.pictures.decoder_pool import DecoderPool
from asyncfilter.ports.examine import Contents, Files

SPOOLED_BYTES = 16 * 1024 * 1024
"""Larger files wait for their decoding on disk, where there is one."""

_QUICK_BYTES = 1024 * 1024
"""A copy of so many bytes takes less time than a change of threads."""


@asynccontextmanager
async def opened_picture(
    image: ObjectRef, body: bytes | None, contents: Contents, decoders: DecoderPool
) -> AsyncIterator[BinaryIO]:
    """An image as an open file.

    Args:
        image: The image.
        body: Its bytes, if they were read.
        contents: Reads them otherwise.
        decoders: Bounds the memory for files that are read whole.
    """
    if body is None and isinstance(contents, Files):
        async with contents.opened(image) as file:
            yield file
        return
    if body is not None and len(body) <= _QUICK_BYTES:
        file = _stored(body)
    elif body is not None:
        file = await anyio.to_thread.run_sync(_stored, body)
    else:
        async with decoders.reading(image.size_bytes):
            file = await anyio.to_thread.run_sync(_stored, await contents.read(image))
    with file:
        yield file


def named(image: ObjectRef, error: ImageError) -> ImageError:
    """The same error, with the image in its message."""
    message = error.message if error.message.startswith(image.uri) else f"{image.uri}: {error.message}"
    return ImageError(message, code=error.code, remedy=error.hint)


def _stored(body: bytes) -> BinaryIO:
    """A file without a name that holds ``body``: in memory, or on disk if it is large.

    Raises:
        AccessError: It cannot be written; nothing is wrong with the picture.
    """
    try:
        return _written(body)
    except OSError as exc:
        raise AccessError(
            f"a picture of {len(body):,} bytes cannot be stored to be decoded ({exc.strerror or exc})",
            hint="Free space in the folder of temporary files, or set TMPDIR to another folder.",
        ) from exc


def _written(body: bytes) -> BinaryIO:
    file: BinaryIO
    if len(body) <= SPOOLED_BYTES and hasattr(os, "memfd_create"):
        file = os.fdopen(os.memfd_create("picture"), "w+b")
    else:
        file = tempfile.TemporaryFile()  # noqa: SIM115  closed by the caller
    try:
        file.write(body)
        file.flush()
    except BaseException:
        file.close()
        raise
    return file
