"""The bytes of objects in S3, for whoever looks at a picture before it is paid for."""

from __future__ import annotations

from asyncfilter.aws.answers import AnsweredError
from asyncfilter.aws.calls import S3Calls
from asyncfilter.aws.diagnosis import unreadable
from asyncfilter.aws.errors import classify
from asyncfilter.errors import ImageError, PermissionDeniedError
from asyncfilter.model import ObjectRef


class S3Contents:
    """``Contents`` of a bucket.

    Args:
        calls: Either client.
    """

    def __init__(self, calls: S3Calls) -> None:
        self._calls = calls

    async def read(self, image: ObjectRef, *, first_bytes: int | None = None) -> bytes:
        """One attempt; see ``Contents``."""
        try:
            return await self._calls.read_object(image, first_bytes=first_bytes)
        except AnsweredError as exc:
            error = classify(exc.answer)
            if isinstance(error, PermissionDeniedError):
                raise unreadable(image, exc.answer) from exc
            if exc.answer.status == 412:
                raise ImageError(f"{image.uri}: replaced since it was listed", code="changed") from exc
            raise error from exc
