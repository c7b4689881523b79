"""``ObjectFiles`` over S3: manifests are put, and what a training writes is fetched."""

from __future__ import annotations

import base64
import hashlib
from typing import BinaryIO

from asyncfilter.aws.clients.error_response import ErrorResponseError, Operation
from asyncfilter.aws.deadline import fail_after
from asyncfilter.aws.errors import classify
from asyncfilter.aws.preflight import with_retries
from asyncfilter.aws.s3.objects import S3Objects
from asyncfilter.aws.session import AwsSession
from asyncfilter.aws.transport_errors import vendor_translated
from asyncfilter.errors import ImageError, PermissionDeniedError
from asyncfilter.model import ObjectRef, S3Location

_LEAST_BYTES_A_SECOND = 50_000
_PIECE_BYTES = 1024 * 1024


class S3Files:
    """See ``ObjectFiles``.

    Args:
        session: The account.
        objects: Reads with the client that the settings choose.
    """

    def __init__(self, session: AwsSession, objects: S3Objects) -> None:
        self._session = session
        self._objects = objects

    async def size_bytes(self, place: S3Location) -> int | None:
        """See ``ObjectFiles``."""
        found = await self._objects.head(place)
        return None if found is None else found.size_bytes

    async def read(self, place: S3Location, out: BinaryIO) -> bool:
        """See ``ObjectFiles``."""
        found = await self._objects.head(place)
        if found is None:
            return False
        whole = ObjectRef(bucket=place.bucket, key=place.key, size_bytes=found.size_bytes, etag=found.etag, seq=0)
        try:
            await self._objects.download(whole, out)
        except ImageError as error:
            if error.access:
                raise PermissionDeniedError(error.message, hint=error.hint) from error
            raise
        return True

    async def write(self, place: S3Location, content: BinaryIO, size_bytes: int) -> None:
        """See ``ObjectFiles``; S3 checks the content by its SHA-256."""
        digest = _sha256(content)
        await with_retries(lambda: self._put(place, content, size_bytes, digest))

    async def _put(self, place: S3Location, content: BinaryIO, size_bytes: int, digest: str) -> None:
        content.seek(0)
        client = await self._session.s3(place.bucket)
        timeout_s = self._session.timeout_s + size_bytes / _LEAST_BYTES_A_SECOND
        try:
            with vendor_translated(Operation.PUT_OBJECT, place.uri), fail_after(timeout_s):
                # With the digest given, botocore makes none of its own, for which it would wrap the stream.
                await client.put_object(
                    Bucket=place.bucket, Key=place.key, Body=content, ContentLength=size_bytes, ChecksumSHA256=digest
                )
        except ErrorResponseError as exc:
            raise classify(exc.response) from exc


def _sha256(content: BinaryIO) -> str:
    content.seek(0)
    digest = hashlib.sha256()
    while piece := content.read(_PIECE_BYTES):
        digest.update(piece)
    return base64.b64encode(digest.digest()).decode()
