"""Tags of objects: read, merged and written, on the version that was examined where a bucket keeps versions.

S3 has no condition for tags. In a versioned bucket the request names the version instead. In other buckets HeadObject
precedes and follows the write, and an object that was replaced in between is reported.
"""

from __future__ import annotations

from asyncfilter.aws.clients.error_response import ErrorResponseError
from asyncfilter.aws.clients.protocols import S3Api
from asyncfilter.aws.errors import classify
from asyncfilter.aws.s3.heads import examined_head
from asyncfilter.errors import ImageError, PermissionDeniedError, StoreError
from asyncfilter.model import Effect, ObjectRef
from asyncfilter.records.removal import NULL_VERSION

MAX_TAGS = 10
"""Most tags of one object (S3 user guide, *Categorizing your storage using tags*)."""


async def tag_object(calls: S3Api, effect: Effect) -> None:
    """Add ``effect.tags`` to the object's tags; tags of the same names get the new values.

    Raises:
        ImageError: ``too_many_tags``, ``changed``, ``vanished``, or a cause of its own.
        PermissionDeniedError: Tags cannot be read or written.
        StoreError: The store has no tags; nothing was written.
    """
    image = effect.source
    try:
        version = await _version(calls, image)
        present = await calls.get_tags(image.bucket, image.key, version)
        if present is None:
            raise _without_tags(image)
        merged = {**present, **effect.tags}
        if len(merged) > MAX_TAGS:
            raise ImageError(
                f"{image.uri}: has {len(present)} tags, {len(merged)} with those of the job; S3 takes {MAX_TAGS}",
                code="too_many_tags",
                remedy="Remove tags from the objects, or from the job.",
            )
        if merged != present:
            await calls.put_tags(image.bucket, image.key, merged, version)
            if version in {"", NULL_VERSION}:
                await _version(calls, image)
    except ErrorResponseError as exc:
        raise classify(exc.response) from exc


def _without_tags(image: ObjectRef) -> StoreError:
    """The error of a store that ignores ``?tagging``: there a write of tags replaces the object by their XML."""
    return StoreError(
        f"{image.uri}: the store has no tags (its answer to GetObjectTagging is none); nothing was written",
        hint="Use copy in place of tag under actions.",
    )


async def _version(calls: S3Api, image: ObjectRef) -> str:
    """The version that was examined; empty in a bucket that keeps none.

    Raises:
        ImageError: It is not what was examined, or may not be read.
    """
    try:
        return (await examined_head(calls, image)).version
    except PermissionDeniedError as error:
        raise ImageError.access_denied(f"{image.uri}: {error.message}", remedy=error.hint) from error
