"""Why Rekognition could not read an object.

``InvalidS3ObjectException`` is one word for a missing key, another region, a denied permission, a KMS key and an
archived object alike (Rekognition guide, *Error handling*). S3 itself is asked once, by a request or two.
"""

from __future__ import annotations

from asyncfilter.aws.answers import Answer, AnsweredError
from asyncfilter.aws.calls import S3Calls
from asyncfilter.aws.errors import classify
from asyncfilter.aws.session import AwsSession
from asyncfilter.errors import (
    AsyncFilterError,
    CallError,
    ImageError,
    PermissionDeniedError,
    RegionMismatchError,
    ThrottledError,
    TransientError,
)
from asyncfilter.model import ObjectRef

OPAQUE = "InvalidS3ObjectException"
"""The code that is looked into."""

_REMEDY = (
    "Allow s3:GetObject, and kms:Decrypt for encrypted objects, to the credentials in use, and check the bucket's "
    "policy and whether it is Requester Pays."
)


class Diagnosis:
    """Looks into objects that Rekognition could not read.

    Args:
        session: Knows the buckets' regions.
        calls: Either client.
        region: The detector's region.
    """

    def __init__(self, session: AwsSession, calls: S3Calls, region: str) -> None:
        self._session = session
        self._calls = calls
        self._region = region

    async def cause(self, image: ObjectRef, answer: Answer) -> AsyncFilterError:
        """The cause as the error to raise.

        Returns:
            ``ImageError`` with code ``vanished``, ``changed``, ``archived``, ``access_denied``, ``kms_denied`` or, when
            S3 gives the object without a word, ``invalid_s3_object``; ``RegionMismatchError``; or ``TransientError``
            when S3 could not be asked.
        """
        try:
            home = await self._session.bucket_region(image.bucket)
            if home != self._region:
                return region_mismatch(image.bucket, home, self._region)
            return await self._look(image, answer)
        except AnsweredError as exc:
            return _not_asked(classify(exc.answer))
        except CallError as exc:
            return _not_asked(exc)

    async def _look(self, image: ObjectRef, answer: Answer) -> AsyncFilterError:
        try:
            head = await self._calls.head_object(image.bucket, image.key)
        except AnsweredError as exc:
            if exc.answer.status not in {400, 403}:  # these come without a body, which the next request has
                raise
        else:
            if head.etag != image.etag:
                seen = f"ETag {image.etag} was listed, {head.etag} is there"
                return ImageError(f"{image.uri}: replaced since it was listed ({seen})", code="changed")
            if head.archived:
                return classify(_as(answer, "InvalidObjectState", "its storage class must be restored first"))
        try:
            await self._calls.first_byte(image.bucket, image.key)
        except AnsweredError as exc:
            denied = classify(exc.answer)
            return unreadable(image, exc.answer) if isinstance(denied, PermissionDeniedError) else _not_asked(denied)
        return ImageError(
            f"{image.uri}: S3 gives the object, Rekognition does not get it ({answer.message})",
            code="invalid_s3_object",
            remedy=_REMEDY,
        )


def region_mismatch(bucket: str, home: str, region: str) -> RegionMismatchError:
    """The error for a bucket outside the detector's region."""
    return RegionMismatchError(
        f"Bucket {bucket!r} is in {home}, the detector in {region}: Rekognition reads only buckets of its own region",
        hint=f"Leave detector.region out, set it to {home}, or set convert: true to send the images' bytes.",
    )


def unreadable(image: ObjectRef, answer: Answer) -> ImageError:
    """The error for an object that may not be read."""
    return ImageError.access_denied(
        f"{image.uri}: may not be read, or is missing from a bucket that may not be listed ({answer})",
        remedy="Allow s3:GetObject on the source bucket for the credentials in use.",
    )


def _as(answer: Answer, code: str, message: str) -> Answer:
    return Answer(operation=answer.operation, where=answer.where, status=answer.status, code=code, message=message)


def _not_asked(cause: AsyncFilterError) -> AsyncFilterError:
    """S3's own slowness or failure must neither lower the detector's rate nor count as a paid attempt."""
    if isinstance(cause, ThrottledError | TransientError):
        return TransientError(f"{cause.message} (while the cause was looked for)", may_be_billed=False)
    return cause
