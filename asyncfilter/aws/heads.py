"""What stands at a place in S3, and whether it still is what was examined."""

from __future__ import annotations

from asyncfilter.aws.answers import AnsweredError
from asyncfilter.aws.calls import ObjectHead, S3Calls
from asyncfilter.aws.errors import classify
from asyncfilter.errors import ImageError
from asyncfilter.model import ObjectRef, S3Location


async def head(calls: S3Calls, place: S3Location) -> ObjectHead | None:
    """The object at a place; None when there is none.

    Raises:
        PermissionDeniedError: It may not be read, or is missing from a bucket that may not be listed.
        AsyncFilterError: Another answer, in the terms of ``classify``.
    """
    try:
        return await calls.head_object(place.bucket, place.key)
    except AnsweredError as exc:
        if exc.answer.status == 404 and exc.answer.code != "NoSuchBucket":
            return None
        raise classify(exc.answer) from exc


async def examined_head(calls: S3Calls, image: ObjectRef) -> ObjectHead:
    """The object that was examined, as long as it stands.

    Raises:
        ImageError: ``changed`` or ``vanished``.
        AsyncFilterError: As for ``head``.
    """
    found = await head(calls, S3Location(image.bucket, image.key))
    if found is None:
        raise ImageError(f"{image.uri}: deleted since it was examined", code="vanished")
    if found.etag != image.etag:
        raise ImageError(
            f"{image.uri}: replaced since it was examined (ETag {image.etag}, now {found.etag})", code="changed"
        )
    return found
