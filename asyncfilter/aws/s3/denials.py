"""Why a copy was denied: CopyObject answers 403 for the source, the target and the tags alike.

A copy carries the tags of its source, which needs ``s3:GetObjectTagging`` there and ``s3:PutObjectTagging`` at the
target, for objects with tags alone. So a denial may concern one image, although all others can be copied.
"""

from __future__ import annotations

from asyncfilter.aws.clients.error_response import ErrorResponse, ErrorResponseError
from asyncfilter.aws.clients.protocols import S3Api
from asyncfilter.aws.errors import classify, denied_action
from asyncfilter.aws.s3.diagnosis import unreadable
from asyncfilter.errors import CallError, ImageError, PermissionDeniedError
from asyncfilter.model import ObjectRef, S3Location

_READ = frozenset({"s3:GetObject", "s3:GetObjectVersion"})
_TAGS = frozenset({"s3:GetObjectTagging", "s3:GetObjectVersionTagging", "s3:PutObjectTagging"})
_TAG_ACTIONS = "s3:GetObjectTagging on the source and s3:PutObjectTagging on the target"


class Denials:
    """Finds out what was denied; requests are made only after a denial.

    Args:
        calls: Either client.
    """

    def __init__(self, calls: S3Api) -> None:
        self._calls = calls
        self._written: set[str] = set()

    def note_copy(self, bucket: str) -> None:
        """Remember that a copy to ``bucket`` was allowed."""
        self._written.add(bucket)

    async def cause(self, source: ObjectRef, target: S3Location, response: ErrorResponse) -> Exception:
        """The error for a copy that was answered with 403.

        Returns:
            ``ImageError`` when it concerns this image: it may not be read, or its tags may not be copied.
            ``PermissionDeniedError`` when nothing can be written to the target. Any other meaning of the response.
        """
        denied = classify(response)
        if not isinstance(denied, PermissionDeniedError):
            return denied
        action = denied_action(response)
        if action in _TAGS:
            return _tags_denied(source, response, action)
        if action in _READ:
            return unreadable(source, response)
        try:
            await self._calls.head_object(source.bucket, source.key)
        except ErrorResponseError as exc:
            return unreadable(source, response) if exc.response.status == 403 else classify(exc.response)
        if action is None and await self._may_be_tags(source):
            # The response does not tell: where copies to the bucket were allowed before, it is this image's tags.
            if target.bucket in self._written:
                return _tags_denied(source, response, _TAG_ACTIONS)
            hint = f"{(denied.hint or '').removesuffix('.')}; for an object with tags also {_TAG_ACTIONS}."
            return PermissionDeniedError(denied.message, hint=hint)
        return denied

    async def _may_be_tags(self, source: ObjectRef) -> bool:
        """Whether the image has tags, or has tags that may not be read."""
        try:
            return bool(await self._calls.get_tags(source.bucket, source.key, ""))
        except ErrorResponseError as exc:
            return exc.response.status == 403
        except CallError:
            return False


def _tags_denied(source: ObjectRef, response: ErrorResponse, action: str) -> ImageError:
    return ImageError.access_denied(
        f"{source.uri}: the object has tags, and copying them needs {action} ({response})",
        remedy=f"Allow {action} for the credentials in use.",
    )
