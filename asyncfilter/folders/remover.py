"""``Remover`` for files: hard links where the file system supports them, otherwise copies; no versions are kept."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from pathlib import Path

import anyio
import anyio.to_thread
from msgspec import structs

from asyncfilter.errors import CallError, ImageError, PermissionDeniedError, UsageError
from asyncfilter.folders.files import etag_of, reading, source_path
from asyncfilter.folders.sink import WRITES_AT_ONCE, FolderSink, UnlinkableError, delete, same_content
from asyncfilter.model import FOLDER, Effect, IfExists, ObjectRef, S3Location, folder_of
from asyncfilter.ports.remover import CopyResult, DeleteRequest, DeleteResult, ObjectState, VersionState
from asyncfilter.records.removal import BucketState, Versioning


class FolderObjects:
    """``Objects`` of folders: files, wherever they are."""

    def __init__(self) -> None:
        self._threads = anyio.CapacityLimiter(WRITES_AT_ONCE)

    async def head(self, place: S3Location) -> ObjectState | None:
        """See ``Remover``."""
        return await anyio.to_thread.run_sync(_head, place, limiter=self._threads)

    async def delete(self, bucket: str, requests: Sequence[DeleteRequest]) -> Sequence[DeleteResult | CallError]:
        """See ``Remover``."""
        return [await anyio.to_thread.run_sync(_delete, bucket, one, limiter=self._threads) for one in requests]


class FolderRemover(FolderObjects):
    """``Remover`` of a folder.

    Args:
        source: The folder that the images are in.
    """

    def __init__(self, source: Path) -> None:
        super().__init__()
        self._source = source

    async def state(self) -> BucketState:
        """See ``Remover``."""
        return BucketState(versioning=Versioning.OFF)

    async def copy(self, effect: Effect) -> CopyResult:
        """See ``Remover``; a hard link is the same file, with the same time and inode."""
        return await anyio.to_thread.run_sync(self._copy, effect, limiter=self._threads)

    async def existing_copy(self, effect: Effect) -> CopyResult | None:
        """See ``Remover``; contents are compared byte by byte."""
        etag = await anyio.to_thread.run_sync(FolderSink(self._source).existing_copy, effect, limiter=self._threads)
        return None if etag is None else CopyResult(etag=etag, is_new=False)

    async def same_content(self, image: ObjectRef, original: ObjectRef) -> bool:
        """See ``Remover``; the bytes are compared."""
        return await anyio.to_thread.run_sync(same_content, image, original, limiter=self._threads)

    async def versions(self, place: S3Location) -> Sequence[VersionState]:
        """See ``Remover``: a folder keeps none."""
        del place
        return []

    async def remove_marker(self, place: S3Location, marker: str) -> None:
        """See ``Remover``.

        Raises:
            UsageError: A folder has no markers.
        """
        raise UsageError(f"{place.uri}: a folder has no delete marker {marker!r}")

    def _copy(self, effect: Effect) -> CopyResult:
        is_back = effect.source.bucket == FOLDER
        # Nothing is written into the folder that is read: the source, or, when a move is undone, the moved file.
        sink = FolderSink(_path(effect.source) if is_back else self._source)
        may_exist = effect.if_exists is not IfExists.OVERWRITE
        existed = may_exist and effect.target is not None and _head(effect.target) is not None
        try:
            etag = sink.copy(structs.replace(effect, is_link=True))
        except UnlinkableError:
            etag = sink.copy(effect)
        return CopyResult(etag=etag, is_new=not existed)


def _path(image: ObjectRef) -> Path:
    return folder_of(image.bucket) / image.key


def _head(place: S3Location) -> ObjectState | None:
    image = ObjectRef(bucket=place.bucket, key=place.key, size_bytes=0, etag="", seq=0)
    try:
        with reading(image):
            status = source_path(image).stat()
    except ImageError as error:
        if error.code == "vanished":
            return None
        raise
    return ObjectState(etag=etag_of(status), size_bytes=status.st_size) if stat.S_ISREG(status.st_mode) else None


def _delete(bucket: str, one: DeleteRequest) -> DeleteResult | CallError:
    image = ObjectRef(bucket=bucket, key=one.key, size_bytes=one.size_bytes, etag=one.etag, seq=0)
    try:
        delete(image)
    except PermissionDeniedError as error:
        return ImageError.access_denied(error.message, remedy=error.hint)
    except CallError as error:
        return error
    return DeleteResult()
