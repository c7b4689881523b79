"""The object at a location in S3, and the check that it is still the one that was examined."""

from __future__ import annotations

from asyncfilter.aws.clients.error_response import ErrorResponseError
from asyncfilter.aws.clients.protocols import ObjectHead, S3Api
from asyncfilter.aws.errors import classify
from asyncfilter.errors import ImageError
from asyncfilter.model import ObjectRef, S3Location


async def head(calls: S3Api, place: S3Location) -> ObjectHead | None:
    """The object at a location; None when there is none.

    Raises:
        PermissionDeniedError: It may not be read, or is missing from a bucket that may not be listed.
        AsyncFilterError: Another error response, translated by ``classify``.
    """
    try:
        return await calls.head_object(place.bucket, place.key)
    except ErrorResponseError as exc:
        if exc.response.status == 404 and exc.response.code != "NoSuchBucket":
            return None
        raise classify(exc.response) from exc


async def examined_head(calls: S3Api, image: ObjectRef) -> ObjectHead:
    """The object that was examined, if it is still there unchanged.

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
