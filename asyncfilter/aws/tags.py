"""Tags of objects: read, merged and written, on the version that was examined where a bucket keeps versions.

S3 has no condition for tags. In a versioned bucket the version is named instead; elsewhere the object is looked at
before and after, and one that was replaced meanwhile is reported.
"""

from __future__ import annotations

from asyncfilter.aws.answers import AnsweredError
from asyncfilter.aws.calls import ObjectHead, S3Calls
from asyncfilter.aws.errors import classify
from asyncfilter.errors import ImageError, PermissionDeniedError
from asyncfilter.model import Effect, ObjectRef
from asyncfilter.policy.removal import NULL_VERSION

MAX_TAGS = 10
"""Tags of one object at the most (S3 user guide, *Categorizing your storage using tags*)."""


async def tag_object(calls: S3Calls, effect: Effect) -> None:
    """Add ``effect.tags`` to what the object has; tags of the same names get the new values.

    Raises:
        ImageError: ``too_many_tags``, ``changed``, ``vanished``, or a cause of its own.
        PermissionDeniedError: Tags cannot be read or written.
    """
    image = effect.source
    try:
        version = (await _examined(calls, image)).version
        present = await calls.get_tags(image.bucket, image.key, version)
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
                await _examined(calls, image)
    except AnsweredError as exc:
        raise classify(exc.answer) from exc


async def _examined(calls: S3Calls, image: ObjectRef) -> ObjectHead:
    """What stands at the object's place.

    Raises:
        ImageError: It is not what was examined, or may not be read.
    """
    try:
        head = await calls.head_object(image.bucket, image.key)
    except AnsweredError as exc:
        error = classify(exc.answer)
        if isinstance(error, PermissionDeniedError):
            raise ImageError(
                f"{image.uri}: may not be read ({exc.answer})",
                code="access_denied",
                remedy="Allow s3:GetObject on the source bucket.",
                access=True,
            ) from exc
        raise error from exc
    if head.etag != image.etag:
        raise ImageError(
            f"{image.uri}: replaced since it was examined (ETag {image.etag}, now {head.etag})", code="changed"
        )
    return head
