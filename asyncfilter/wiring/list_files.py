"""The files of lists: fetched from where they are, checked, and read piece by piece on another thread."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import tempfile
from collections.abc import Awaitable, Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from anyio import to_thread

from asyncfilter.aws import S3Objects
from asyncfilter.datasets.lists import InventoryFile
from asyncfilter.errors import (
    AccessError,
    BucketNotFoundError,
    ImageError,
    ObjectMissingError,
    PermissionDeniedError,
    UsageError,
)
from asyncfilter.folders.files import etag_of
from asyncfilter.model import ListedObject, ObjectRef, S3Location

_CHUNK_BYTES = 1024 * 1024

Fetch = Callable[[], Awaitable[BinaryIO]]
"""Opens a file at its start, and checks that it is the one that it should be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedFile:
    """``ListFile``.

    Attributes:
        fetch: Opens the file.
        read: The objects that it names, as they are taken.
    """

    fetch: Fetch
    read: Callable[[BinaryIO], Iterator[ListedObject]]

    async def objects(self) -> Iterator[ListedObject]:
        """See ``ListFile``; the file is closed when all are taken."""
        return _closing(await self.fetch(), self.read)


def _closing(stream: BinaryIO, read: Callable[[BinaryIO], Iterator[ListedObject]]) -> Generator[ListedObject]:
    with stream:
        try:
            yield from read(stream)
        except OSError as error:
            raise UsageError(f"a list cannot be read: {error.strerror or error}") from error


# -- On this machine ---------------------------------------------------------------------------------------------------


def file_version(path: str) -> str:
    """The version of a list on this machine, which any change of it changes.

    Raises:
        UsageError: There is no such file.
    """
    try:
        status = Path(path).stat()
    except OSError as error:
        raise _unusable(path, error) from error
    if not stat.S_ISREG(status.st_mode):
        raise UsageError(f"{path}: expected a file, since a list is read again when a run is continued")
    return f"{etag_of(status)}-{status.st_size}"


def opened_file(path: str) -> BinaryIO:
    """A list on this machine, open for reading.

    Raises:
        UsageError: It cannot be read.
    """
    try:
        return os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    except OSError as error:
        raise _unusable(path, error) from error


def check_version(path: str, version: str) -> None:
    """Check that a list is the same at its end.

    Raises:
        UsageError: It is not.
    """
    if file_version(path) != version:
        raise UsageError(f"{path}: changed while it was read", hint="Run again when it is written.")


def _unusable(path: str, error: OSError) -> UsageError:
    return UsageError(f"{path}: {error.strerror or error}", hint="Correct source.list in the job file.")


# -- In S3 -------------------------------------------------------------------------------------------------------------


async def found_object(objects: S3Objects, place: S3Location) -> ObjectRef:
    """An object that is there.

    Raises:
        ObjectMissingError: It is not.
        AccessError: It may not be read.
    """
    try:
        head = await objects.head(place) if place.key else None
    except BucketNotFoundError as error:
        raise ObjectMissingError(error.message, hint=error.hint) from error
    if head is None:
        hint = "Correct source.list or source.inventory in the job file."
        raise ObjectMissingError(f"{place.uri}: there is no such object", hint=hint)
    return ObjectRef(bucket=place.bucket, key=place.key, size_bytes=head.size_bytes, etag=head.etag, seq=0)


async def fetched(objects: S3Objects, found: ObjectRef) -> BinaryIO:
    """An object as a file without a name, at its start; raises as ``content_of``."""
    stream = tempfile.TemporaryFile()  # noqa: SIM115  closed when its entries are taken
    try:
        await _download(objects, found, stream)
        stream.seek(0)
    except OSError as error:
        stream.close()
        hint = "Free space there, or set TMPDIR to a folder that has room for the list."
        raise AccessError(f"{tempfile.gettempdir()}: {error.strerror or error}", hint=hint) from error
    except BaseException:
        stream.close()
        raise
    return stream


async def content_of(objects: S3Objects, found: ObjectRef) -> bytes:
    """The bytes of a small object.

    Raises:
        UsageError: It was replaced meanwhile.
        PermissionDeniedError: It may not be read.
    """
    content = io.BytesIO()
    await _download(objects, found, content)
    return content.getvalue()


async def fetched_data(objects: S3Objects, place: S3Location, file: InventoryFile) -> BinaryIO:
    """A data file of an inventory, which has the size and the MD5 of the manifest.

    Raises:
        UsageError: It has not, or is not there.
        AccessError: It may not be read.
    """
    try:
        found = await found_object(objects, place)
    except ObjectMissingError as error:
        message = f"{error.message}, and the manifest of the inventory names it"
        hint = (
            "Name a newer manifest.json. Where the inventory's prefix ends in a slash, S3 writes wrong names into it."
        )
        raise ObjectMissingError(message, hint=hint) from error
    stream = await fetched(objects, found)
    try:
        await to_thread.run_sync(_check_data, place, file, stream)
    except BaseException:
        stream.close()
        raise
    return stream


def md5_hex(content: bytes) -> str:
    """The MD5 of ``content``, in hex digits."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


async def _download(objects: S3Objects, found: ObjectRef, out: BinaryIO) -> None:
    try:
        await objects.download(found, out)
    except ImageError as error:
        if error.access:
            raise PermissionDeniedError(error.message, hint=f"Allow s3:GetObject on {found.uri}.") from error
        raise UsageError(error.message, hint="Run again when the list is written.") from error


def _check_data(place: S3Location, file: InventoryFile, stream: BinaryIO) -> None:
    digest, size_bytes = hashlib.md5(usedforsecurity=False), 0
    stream.seek(0)
    while chunk := stream.read(_CHUNK_BYTES):
        digest.update(chunk)
        size_bytes += len(chunk)
    stream.seek(0)
    if size_bytes != file.size or digest.hexdigest() != file.md5_hex.lower():
        raise UsageError(
            f"{place.uri}: {size_bytes:,} bytes with the MD5 {digest.hexdigest()}, where the manifest has "
            f"{file.size:,} with {file.md5_hex}: the file is damaged or was replaced",
            hint="Name the manifest.json of another date.",
        )
