"""Reads examined images where they are: in the source, or where they were copied or moved to."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from typing import BinaryIO, NamedTuple

import anyio
import anyio.to_thread

from asyncfilter.aws import Retry, S3Objects, with_retries
from asyncfilter.folders import FolderContents
from asyncfilter.folders.files import etag_of
from asyncfilter.job.spec import Job
from asyncfilter.model import ObjectRef, S3Location, StoreKind, folder_of, location
from asyncfilter.records.images import StoredImage
from asyncfilter.wiring.account import LEAST_IN_FLIGHT, Account


class WantedImage(NamedTuple):
    """An examined image of which something is wanted.

    Attributes:
        image: As it was examined.
        is_gone: Whether it left the source.
        copy: The address of its copy; None when it has none.
    """

    image: ObjectRef
    is_gone: bool
    copy: str | None


def wanted(image: StoredImage, bucket: str) -> WantedImage:
    """An image of a checkpoint, of a source with this bucket."""
    examined = ObjectRef(bucket=bucket, key=image.key, size_bytes=image.size_bytes, etag=image.etag, seq=image.seq or 0)
    return WantedImage(image=examined, is_gone=image.removal is not None, copy=image.copied_to)


class ImageReaders:
    """Reads images in any store; the account is opened when an object in S3 is read.

    Args:
        job: Has the AWS settings.
        stack: Closes the account.
        retry: Repeats attempts.
    """

    def __init__(self, job: Job, stack: AsyncExitStack, *, retry: Retry = with_retries) -> None:
        self._account = Account(job, stack, connections=LEAST_IN_FLIGHT)
        self._retry = retry
        self._opening = anyio.Lock()
        self._objects: S3Objects | None = None
        self._files = FolderFiles(retry)

    async def of(self, place: S3Location) -> S3Objects | FolderFiles | None:
        """What reads the object at a place; None where nothing can."""
        if place.store is StoreKind.S3:
            return await self.objects()
        return self._files if place.store is StoreKind.FOLDER else None

    async def objects(self) -> S3Objects:
        """Objects in S3."""
        async with self._opening:
            if self._objects is None:
                self._objects = S3Objects((await self._account.clients()).s3, retry=self._retry)
            return self._objects

    async def found(self, uri: str) -> ObjectRef | None:
        """The object or file at an address, as it is now; None when there is none."""
        place = location(uri)
        if place.store is StoreKind.FOLDER:
            try:
                status = await anyio.to_thread.run_sync(os.stat, folder_of(place.bucket) / place.key)
            except OSError:
                return None
            return _ref(place, status.st_size, etag_of(status))
        if place.store is not StoreKind.S3:
            return None
        head = await (await self.objects()).head(place)
        return None if head is None else _ref(place, head.size_bytes, head.etag)


class FolderFiles:
    """Reads files as ``S3Objects`` reads objects.

    Args:
        retry: Repeats reads of whole files.
    """

    def __init__(self, retry: Retry) -> None:
        self._contents, self._retry = FolderContents(), retry

    async def first_bytes(self, image: ObjectRef, size_bytes: int) -> bytes:
        """At most ``size_bytes`` from the start of a file, on condition that it is the one that is meant."""
        return await self._contents.read(image, first_bytes=size_bytes)

    async def download(self, image: ObjectRef, out: BinaryIO) -> None:
        """Write all bytes of a file to ``out``, on the same condition."""
        out.write(await self._retry(lambda: self._contents.read(image)))


def _ref(place: S3Location, size_bytes: int, etag: str) -> ObjectRef:
    return ObjectRef(bucket=place.bucket, key=place.key, size_bytes=size_bytes, etag=etag, seq=0)
