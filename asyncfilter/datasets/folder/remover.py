"""Files as a ``Remover``: hard links where the file system has them, copies elsewhere, and nothing keeps versions."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from pathlib import Path

import anyio
import anyio.to_thread
from msgspec import structs

from asyncfilter.datasets.folder.files import etag_of, reading, source_path
from asyncfilter.datasets.folder.sink import WRITES_AT_ONCE, FolderSink, UnlinkableError, delete
from asyncfilter.errors import CallError, ImageError, PermissionDeniedError, UsageError
from asyncfilter.model import FOLDER, Effect, IfExists, ObjectRef, S3Location, folder_of
from asyncfilter.policy.removal import BucketState, Versioning
from asyncfilter.ports import Condemned, Copied, Found, Gone, Version


class FolderRemover:
    """``Remover`` of a folder.

    Args:
        source: The folder that the images are in.
    """

    def __init__(self, source: Path) -> None:
        self._source = source
        self._threads = anyio.CapacityLimiter(WRITES_AT_ONCE)

    async def state(self) -> BucketState:
        """See ``Remover``."""
        return BucketState(versioning=Versioning.OFF)

    async def look(self, place: S3Location) -> Found | None:
        """See ``Remover``."""
        return await anyio.to_thread.run_sync(_look, place, limiter=self._threads)

    async def copy(self, effect: Effect) -> Copied:
        """See ``Remover``; a hard link is the same file, with the same time and inode."""
        return await anyio.to_thread.run_sync(self._copy, effect, limiter=self._threads)

    async def standing(self, effect: Effect) -> Copied | None:
        """See ``Remover``; contents are compared byte by byte."""
        etag = await anyio.to_thread.run_sync(FolderSink(self._source).standing, effect, limiter=self._threads)
        return None if etag is None else Copied(etag=etag, is_new=False)

    async def delete(self, bucket: str, condemned: Sequence[Condemned]) -> Sequence[Gone | CallError]:
        """See ``Remover``."""
        return [await anyio.to_thread.run_sync(_delete, bucket, one, limiter=self._threads) for one in condemned]

    async def versions(self, place: S3Location) -> Sequence[Version]:
        """See ``Remover``: a folder keeps none."""
        del place
        return []

    async def remove_marker(self, place: S3Location, marker: str) -> None:
        """See ``Remover``.

        Raises:
            UsageError: A folder has no markers.
        """
        raise UsageError(f"{place.uri}: a folder has no delete marker {marker!r}")

    def _copy(self, effect: Effect) -> Copied:
        is_back = effect.source.bucket == FOLDER
        # Nothing is written into the place that is read: the source, or on the way back the very file.
        sink = FolderSink(_path(effect.source) if is_back else self._source)
        may_stand = effect.if_exists is not IfExists.OVERWRITE
        stood = may_stand and effect.target is not None and _look(effect.target) is not None
        try:
            etag = sink.copy(structs.replace(effect, is_link=True))
        except UnlinkableError:
            etag = sink.copy(effect)
        return Copied(etag=etag, is_new=not stood)


def _path(image: ObjectRef) -> Path:
    return folder_of(image.bucket) / image.key


def _look(place: S3Location) -> Found | None:
    image = ObjectRef(bucket=place.bucket, key=place.key, size_bytes=0, etag="", seq=0)
    try:
        with reading(image):
            status = source_path(image).stat()
    except ImageError as error:
        if error.code == "vanished":
            return None
        raise
    return Found(etag=etag_of(status), size_bytes=status.st_size) if stat.S_ISREG(status.st_mode) else None


def _delete(bucket: str, one: Condemned) -> Gone | CallError:
    image = ObjectRef(bucket=bucket, key=one.key, size_bytes=one.size_bytes, etag=one.etag, seq=0)
    try:
        delete(image)
    except PermissionDeniedError as error:
        return ImageError.access_denied(error.message, remedy=error.hint)
    except CallError as error:
        return error
    return Gone()
