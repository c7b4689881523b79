"""Objects anywhere in S3, by their addresses: heads, first bytes, and whole ones written to a file; with retries."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import BinaryIO

from asyncfilter.aws.clients.protocols import ObjectHead, S3Api
from asyncfilter.aws.preflight import Retry, with_retries
from asyncfilter.aws.s3.contents import S3Contents
from asyncfilter.aws.s3.heads import head
from asyncfilter.aws.s3.listing import list_page
from asyncfilter.errors import ImageError
from asyncfilter.model import ListedObject, ObjectRef, S3Location

PART_BYTES = 8 * 1024 * 1024
"""Bytes of one request for a part of an object."""


class S3Objects:
    """Reads objects; throttled and transient failures are retried.

    Args:
        calls: Either client.
        retry: Repeats attempts; by default a few times.
    """

    def __init__(self, calls: S3Api, *, retry: Retry = with_retries) -> None:
        self._calls, self._retry = calls, retry
        self._contents = S3Contents(calls)

    async def head(self, place: S3Location) -> ObjectHead | None:
        """The head of an object; None when there is none.

        Raises:
            AccessError: It may not be read, or S3 cannot be reached.
        """
        return await self._retry(lambda: head(self._calls, place))

    async def listed(self, place: S3Location) -> AsyncIterator[ListedObject]:
        """All objects whose keys begin with that of ``place``, in the order of the UTF-8 bytes of their keys.

        Raises:
            AccessError: They cannot be listed.
        """
        bucket, prefix = place
        after: str | None = None
        while True:
            page = await self._retry(lambda after=after: list_page(self._calls, bucket, prefix, after=after))  # type: ignore[misc]
            for one in page.objects:
                yield one
            if page.token is None or not page.objects:
                return
            after = page.objects[-1].key

    async def first_bytes(self, image: ObjectRef, size_bytes: int) -> bytes:
        """At most ``size_bytes`` from the start of an object, on condition of its ETag.

        Raises:
            ImageError: It was replaced or deleted meanwhile, or this object may not be read.
            AccessError: Nothing can be read.
        """
        return await self._retry(lambda: self._contents.read(image, first_bytes=size_bytes))

    async def download(self, image: ObjectRef, out: BinaryIO) -> None:
        """Write all bytes of an object to ``out``; raises as ``first_bytes``."""
        at = 0
        while at < image.size_bytes:
            size_bytes = min(PART_BYTES, image.size_bytes - at)
            part = await self._part(image, at, size_bytes)
            out.write(part)
            at += len(part)

    async def _part(self, image: ObjectRef, at: int, size_bytes: int) -> bytes:
        if size_bytes == image.size_bytes:
            part: bytes | None = await self._retry(lambda: self._contents.read(image))
        else:
            part = await self._retry(lambda: self._contents.read_part(image, at, size_bytes))
        if part is None or len(part) != size_bytes:
            raise ImageError(
                f"{image.uri}: the store does not send the parts that are asked for", code="content_unknown"
            )
        return part
