"""The bytes of objects in S3, for the checks and conversions before a paid call."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from asyncfilter.aws.clients.error_response import ErrorResponseError
from asyncfilter.aws.clients.protocols import S3Api
from asyncfilter.aws.errors import classify
from asyncfilter.aws.s3.diagnosis import unreadable
from asyncfilter.errors import ImageError, PermissionDeniedError
from asyncfilter.model import ObjectRef


class S3Contents:
    """``Contents`` of a bucket.

    Args:
        calls: Either client.
    """

    def __init__(self, calls: S3Api) -> None:
        self._calls = calls

    async def read(self, image: ObjectRef, *, first_bytes: int | None = None) -> bytes:
        """One attempt; see ``Contents``."""
        with self._translated(image):
            content = await self._calls.read_object(image, first_bytes=first_bytes)
        # A store that ignores the condition may send another object; what was listed would be paid for and acted on.
        if len(content) != min(image.size_bytes, first_bytes if first_bytes is not None else image.size_bytes):
            raise ImageError(f"{image.uri}: its size is not the one that was listed", code="changed")
        return content

    async def read_part(self, image: ObjectRef, start: int, size_bytes: int) -> bytes | None:
        """One attempt at some bytes of an object; None when the store sent others. Raises as ``read``."""
        with self._translated(image):
            return await self._calls.read_part(image, start, size_bytes)

    @staticmethod
    @contextmanager
    def _translated(image: ObjectRef) -> Iterator[None]:
        """Raise an error response as the error that it means for an image."""
        try:
            yield
        except ErrorResponseError as exc:
            error = classify(exc.response)
            if isinstance(error, PermissionDeniedError):
                raise unreadable(image, exc.response) from exc
            if exc.response.status == 412:
                raise ImageError(f"{image.uri}: replaced since it was listed", code="changed") from exc
            raise error from exc
