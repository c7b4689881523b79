"""Why Rekognition could not read an object.

``InvalidS3ObjectException`` stands for a missing key, another region, a denied permission, a KMS key and an archived
object alike (Rekognition guide, *Error handling*). One or two requests to S3 distinguish these causes.
"""

from __future__ import annotations

from asyncfilter.aws.clients.error_response import ErrorResponse, ErrorResponseError
from asyncfilter.aws.clients.protocols import S3Api
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
"""The error code that is diagnosed."""

_REMEDY = (
    "Allow s3:GetObject, and kms:Decrypt for encrypted objects, to the credentials in use, and check the bucket's "
    "policy and whether it is Requester Pays."
)


class Diagnosis:
    """Finds out why Rekognition could not read an object.

    Args:
        session: Gives the regions of buckets.
        calls: Either client.
        region: The detector's region.
    """

    def __init__(self, session: AwsSession, calls: S3Api, region: str) -> None:
        self._session = session
        self._calls = calls
        self._region = region

    async def cause(self, image: ObjectRef, response: ErrorResponse) -> AsyncFilterError:
        """The cause as the error to raise.

        Returns:
            ``ImageError`` with code ``vanished``, ``changed``, ``archived``, ``access_denied``, ``kms_denied`` or, when
            S3 returns the object without an error, ``invalid_s3_object``; ``RegionMismatchError``; or
            ``TransientError`` when S3 gave no usable response.
        """
        try:
            home = await self._session.bucket_region(image.bucket)
            if home != self._region:
                return region_mismatch(image.bucket, home, self._region)
            return await self._head(image, response)
        except ErrorResponseError as exc:
            return _without_diagnosis(classify(exc.response))
        except CallError as exc:
            return _without_diagnosis(exc)

    async def _head(self, image: ObjectRef, response: ErrorResponse) -> AsyncFilterError:
        try:
            head = await self._calls.head_object(image.bucket, image.key)
        except ErrorResponseError as exc:
            if exc.response.status not in {400, 403}:  # these come without a body, which the next request has
                raise
        else:
            if head.etag != image.etag:
                seen = f"ETag {image.etag} was listed, {head.etag} is there"
                return ImageError(f"{image.uri}: replaced since it was listed ({seen})", code="changed")
            if head.archived:
                return classify(_as(response, "InvalidObjectState", "its storage class must be restored first"))
        try:
            await self._calls.first_byte(image.bucket, image.key)
        except ErrorResponseError as exc:
            denied = classify(exc.response)
            if isinstance(denied, PermissionDeniedError):
                return unreadable(image, exc.response)
            return _without_diagnosis(denied)
        return ImageError(
            f"{image.uri}: S3 returns the object, but Rekognition cannot read it ({response.message})",
            code="invalid_s3_object",
            remedy=_REMEDY,
        )


def region_mismatch(bucket: str, home: str, region: str) -> RegionMismatchError:
    """The error for a bucket outside the detector's region."""
    return RegionMismatchError(
        f"Bucket {bucket!r} is in {home}, the detector in {region}: Rekognition reads only buckets of its own region",
        hint=f"Leave detector.region out, set it to {home}, or set convert: true to send the images' bytes.",
    )


def unreadable(image: ObjectRef, response: ErrorResponse) -> ImageError:
    """The error for an object that may not be read."""
    return ImageError.access_denied(
        f"{image.uri}: may not be read, or is missing from a bucket that may not be listed ({response})",
        remedy="Allow s3:GetObject on the source bucket for the credentials in use.",
    )


def _as(response: ErrorResponse, code: str, message: str) -> ErrorResponse:
    return ErrorResponse(
        operation=response.operation, where=response.where, status=response.status, code=code, message=message
    )


def _without_diagnosis(cause: AsyncFilterError) -> AsyncFilterError:
    """A throttle or failure of S3 must neither lower the detector's rate nor count as a paid attempt."""
    if isinstance(cause, ThrottledError | TransientError):
        return TransientError(f"{cause.message} (during the diagnosis)", may_be_billed=False)
    return cause
