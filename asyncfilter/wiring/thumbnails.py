"""Thumbnails of images that a page shows: read where they are, decoded in processes of their own, upright.

An image that is not there, or that cannot be read or decoded, is counted and left out; the page is made without it.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import BinaryIO, Protocol

import anyio
import anyio.to_thread
from anyio.streams.memory import MemoryObjectReceiveStream

from asyncfilter.aws import S3Objects
from asyncfilter.errors import ImageError, PermissionDeniedError, TransientError
from asyncfilter.folders import FolderContents
from asyncfilter.folders.files import etag_of
from asyncfilter.job.spec import Aws
from asyncfilter.model import ObjectRef, S3Location, StoreKind, folder_of, location
from asyncfilter.pictures.decode_messages import DecodeRequest
from asyncfilter.pictures.decoder_pool import DecoderPool
from asyncfilter.pictures.decoding_cost import guessed_bytes
from asyncfilter.policy.header import read_header
from asyncfilter.policy.image_limits import MAX_CONVERTED_BYTES, ImageLimits
from asyncfilter.policy.upright import orientation_of
from asyncfilter.report.html.evaluation_cards import Thumbnail
from asyncfilter.wiring.manifests import open_objects
from asyncfilter.wiring.workers import workers

AT_ONCE = 8
"""Images that are read at the same time."""

_HEADER_BYTES = 64 * 1024
_MOST_PARTS = 32
"""Parts of a key that are tried as the end of an address, so that a hostile key cannot take long."""


@dataclass(slots=True)
class Thumbnails:
    """What became of the images that were asked for.

    Attributes:
        found: By the address of the image.
        missing: How many could not be shown, by the reason.
    """

    found: dict[str, Thumbnail] = field(default_factory=dict)
    missing: Counter[str] = field(default_factory=Counter)


async def fetch_thumbnails(
    refs: Sequence[str],
    *,
    source: S3Location | None,
    size_px: int,
    most_bytes: int,
    aws: Aws,
    on_fetched: Callable[[int], object] | None = None,
) -> Thumbnails:
    """Thumbnails of images.

    Args:
        refs: Their addresses in S3, each once.
        source: A folder or a prefix where the images are, under their keys or the ends of these; None for the
            addresses themselves.
        size_px: Longest side.
        most_bytes: Of one thumbnail.
        aws: The AWS settings.
        on_fetched: Called with the number of images so far.

    Raises:
        AccessError: No image can be read.
    """
    async with AsyncExitStack() as stack:
        is_folder = source is not None and source.store is StoreKind.FOLDER
        store: _Store = _Folder() if is_folder else _Bucket(await stack.enter_async_context(open_objects(aws)))
        limits = ImageLimits(
            max_inline_bytes=most_bytes, max_object_bytes=MAX_CONVERTED_BYTES, min_px=1, max_px=size_px
        )
        fetcher = _Fetcher(store, source, stack.enter_context(DecoderPool()), limits, on_fetched)
        async with workers(fetcher.work, AT_ONCE) as send:
            for ref in refs:
                await send.send(ref)
        return fetcher.finish()


def places(ref: str, source: S3Location | None) -> Iterator[S3Location]:
    """Where an image may be: at its address, or below ``source`` under its key or an end of it, the longest first."""
    own = location(ref)
    if source is None:
        yield own
        return
    if own.bucket == source.bucket and own.key.startswith(source.key):
        yield own
        return
    parts = PurePosixPath(own.key).parts
    if any(part in {"..", "/"} for part in parts):
        parts = parts[-1:]
    for at in range(max(0, len(parts) - _MOST_PARTS), len(parts)):
        if parts[at:] != ("..",):
            yield S3Location(source.bucket, source.key + "/".join(parts[at:]))


class _Store(Protocol):
    """Where images are read."""

    async def look(self, place: S3Location) -> ObjectRef | None:
        """The image at a place; None when there is none."""
        ...

    def opened(self, image: ObjectRef) -> AbstractAsyncContextManager[BinaryIO]:
        """An image as an open file."""
        ...


class _Fetcher:
    """The thumbnails of one page."""

    def __init__(
        self,
        store: _Store,
        source: S3Location | None,
        decoders: DecoderPool,
        limits: ImageLimits,
        on_fetched: Callable[[int], object] | None,
    ) -> None:
        self._store, self._source, self._decoders, self._limits = store, source, decoders, limits
        self._on_fetched = on_fetched
        self._result = Thumbnails()
        self._denied: PermissionDeniedError | None = None

    async def work(self, refs: MemoryObjectReceiveStream[str]) -> None:
        """Make thumbnails until there are no more images."""
        async with refs:
            async for ref in refs:
                try:
                    self._result.found[ref] = await self._thumbnail(ref)
                except PermissionDeniedError as error:
                    self._denied = self._denied or error
                    self._result.missing["may not be read"] += 1
                except ImageError as error:
                    if error.access:
                        self._denied = self._denied or PermissionDeniedError(error.message, hint=error.hint)
                    self._result.missing[_REASONS.get(error.code, "cannot be decoded")] += 1
                except TransientError:
                    self._result.missing["cannot be read now"] += 1
                if self._on_fetched is not None:
                    self._on_fetched(len(self._result.found) + self._result.missing.total())

    def finish(self) -> Thumbnails:
        """The result.

        Raises:
            PermissionDeniedError: No image could be read, and one of them was denied.
        """
        if self._denied is not None and not self._result.found:
            raise self._denied
        return self._result

    async def _thumbnail(self, ref: str) -> Thumbnail:
        image = await self._look(ref)
        request = DecodeRequest(limits=self._limits)
        async with self._store.opened(image) as file:
            head = await anyio.to_thread.run_sync(_head, file)
            guess_bytes = guessed_bytes(read_header(head), converts=True)
            decoded = await self._decoders.decode(request, file, guess_bytes=guess_bytes)
        return Thumbnail(decoded.jpeg, decoded.result.width, decoded.result.height, orientation_of(head))

    async def _look(self, ref: str) -> ObjectRef:
        """The image at the first place that has it.

        Raises:
            ImageError: ``vanished`` when none has, ``image_too_large`` for one that is not read.
        """
        for place in places(ref, self._source):
            image = await self._store.look(place)
            if image is None:
                continue
            if image.size_bytes > MAX_CONVERTED_BYTES:
                raise ImageError(f"{image.uri}: {image.size_bytes:,} bytes", code="image_too_large")
            return image
        raise ImageError(f"{ref}: it is not there", code="vanished")


_REASONS = {
    "vanished": "are not there",
    "changed": "changed while they were read",
    "image_too_large": "are too large",
    "access_denied": "may not be read",
}


class _Folder:
    """See ``_Store``; symbolic links that lead out of the folder are not followed."""

    def __init__(self) -> None:
        self._contents = FolderContents()

    async def look(self, place: S3Location) -> ObjectRef | None:
        """See ``_Store``."""
        try:
            status = await anyio.to_thread.run_sync(os.stat, folder_of(place.bucket) / place.key)
        except (OSError, ValueError):  # a name with a null byte cannot be one of a file
            return None
        return _ref(place, status.st_size, etag_of(status)) if stat.S_ISREG(status.st_mode) else None

    @asynccontextmanager
    async def opened(self, image: ObjectRef) -> AsyncIterator[BinaryIO]:
        """See ``_Store``."""
        async with self._contents.opened(image) as file:
            yield file


class _Bucket:
    """See ``_Store``."""

    def __init__(self, objects: S3Objects) -> None:
        self._objects = objects

    async def look(self, place: S3Location) -> ObjectRef | None:
        """See ``_Store``."""
        found = await self._objects.head(place) if place.key else None
        return None if found is None or found.archived else _ref(place, found.size_bytes, found.etag)

    @asynccontextmanager
    async def opened(self, image: ObjectRef) -> AsyncIterator[BinaryIO]:
        """See ``_Store``."""
        with tempfile.TemporaryFile() as file:
            await self._objects.download(image, file)
            file.flush()
            yield file


def _ref(place: S3Location, size_bytes: int, etag: str) -> ObjectRef:
    return ObjectRef(bucket=place.bucket, key=place.key, size_bytes=size_bytes, etag=etag, seq=0)


def _head(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read(_HEADER_BYTES)
