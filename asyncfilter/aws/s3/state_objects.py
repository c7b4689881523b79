"""S3 as a ``StateStore``."""

from __future__ import annotations

import hashlib
from binascii import b2a_base64
from collections.abc import AsyncGenerator, Awaitable, Callable
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

import anyio
from anyio import to_thread

from asyncfilter.aws.clients.error_response import ErrorResponse, ErrorResponseError, Operation
from asyncfilter.aws.clients.protocols import SLOWEST_UPLOAD_BYTES_S, ObjectHead, S3Api
from asyncfilter.aws.deadline import fail_after
from asyncfilter.aws.errors import classify
from asyncfilter.aws.preflight import Retry, with_retries
from asyncfilter.aws.s3 import multipart
from asyncfilter.aws.s3.heads import head
from asyncfilter.aws.s3.listing import list_page
from asyncfilter.aws.s3.multipart import MultipartUpload
from asyncfilter.aws.session import AwsSession
from asyncfilter.aws.transport_errors import vendor_translated
from asyncfilter.errors import (
    AccessError,
    AsyncFilterError,
    ImageError,
    ObjectChangedError,
    PermissionDeniedError,
    StoreError,
    TransientError,
)
from asyncfilter.model import ListedObject, ObjectRef, S3Location
from asyncfilter.ports.state_store import Put, Refusal, StoredBytes, StoredInfo

PART_BYTES = 8 * 1024 * 1024
"""Bytes of one request for a part of an object."""

MAX_PUT_BYTES = 5 * 1024**3
"""Largest object of one PutObject (S3 user guide, *Uploading objects*)."""

_CONTENT_TYPE = "application/octet-stream"

_UNKNOWN_CONDITION = frozenset({"InvalidArgument", "InvalidRequest", "NotImplemented"})
"""Codes with HTTP 400 of stores that do not know a condition."""

T = TypeVar("T")


class S3StateStore:
    """``StateStore`` over S3.

    Args:
        session: Gives the client that sends files.
        calls: Either client.
        retry: Repeats attempts that had no effect; by default a few times.
        most_put_bytes: Size above which a file is sent in parts.
        part_bytes: Size of a part.
    """

    def __init__(
        self,
        session: AwsSession,
        calls: S3Api,
        *,
        retry: Retry = with_retries,
        most_put_bytes: int = MAX_PUT_BYTES,
        part_bytes: int = multipart.PART_BYTES,
    ) -> None:
        self._session, self._calls, self._retry = session, calls, retry
        self._most_put_bytes, self._part_bytes = most_put_bytes, part_bytes

    async def get(self, place: S3Location, *, most_bytes: int) -> StoredBytes | None:
        """See ``StateStore``."""
        return await self._translated(lambda: self._get(place, most_bytes))

    async def _get(self, place: S3Location, most_bytes: int) -> StoredBytes | None:
        try:
            body, etag = await self._calls.read_start(place.bucket, place.key, most_bytes)
        except ErrorResponseError as exc:
            if _is_missing(exc.response) or await self._is_missing_unseen(place, exc.response):
                return None
            raise
        _check_etag(place, etag)
        return StoredBytes(body, etag)

    async def head(self, place: S3Location) -> StoredInfo | None:
        """See ``StateStore``."""
        found = await self._translated(lambda: self._head(place))
        if found is None:
            return None
        _check_etag(place, found.etag)
        return StoredInfo(place, found.size_bytes, found.etag, _age_s(found))

    async def _head(self, place: S3Location) -> ObjectHead | None:
        try:
            return await head(self._calls, place)
        except PermissionDeniedError as error:
            refused = error.__cause__
            if isinstance(refused, ErrorResponseError) and await self._is_missing_unseen(place, refused.response):
                return None
            raise

    async def _is_missing_unseen(self, place: S3Location, response: ErrorResponse) -> bool:
        """Whether an object that is said to be forbidden is missing.

        To a caller that may not list the whole bucket, S3 says "forbidden" for both. A listing of the prefix of the
        state, which may be allowed, tells them apart.

        Raises:
            PermissionDeniedError: The account may not list it, either.
        """
        if response.status != 403 or response.code not in {"", "AccessDenied"}:
            return False
        try:
            page = await list_page(self._calls, place.bucket, place.key, limit=1)
        except PermissionDeniedError:
            raise  # what is lacking first: "allow s3:GetObject" would help nobody who has that
        except (ErrorResponseError, AsyncFilterError):
            return False
        return not any(one.key == place.key for one in page.objects)

    async def pieces(self, info: StoredInfo) -> AsyncGenerator[bytes, None]:
        """See ``StateStore``."""
        bucket, key = info.place
        there = ObjectRef(bucket=bucket, key=key, size_bytes=info.size_bytes, etag=info.etag, seq=0)
        for start in range(0, info.size_bytes, PART_BYTES):
            size_bytes = min(PART_BYTES, info.size_bytes - start)
            part = await self._translated(partial(self._part, there, start, size_bytes))
            if part is None or len(part) != size_bytes:
                raise ObjectChangedError(f"{info.place.uri}: other bytes came than were asked for")
            yield part

    async def _part(self, there: ObjectRef, start: int, size_bytes: int) -> bytes | None:
        try:
            if size_bytes == there.size_bytes:
                return await self._calls.read_object(there)
            return await self._calls.read_part(there, start, size_bytes)
        except ErrorResponseError as exc:
            if exc.response.status == 412 or _is_missing(exc.response):
                raise ObjectChangedError(f"{there.uri}: replaced or deleted while it was read") from exc
            raise

    async def put(
        self,
        place: S3Location,
        body: bytes,
        *,
        only_new: bool = False,
        if_match: str | None = None,
        sha256: bytes | None = None,
    ) -> Put:
        """See ``StateStore``."""
        digest = sha256 or hashlib.sha256(body).digest()
        try:
            written = await self._calls.put_object(
                place, body, content_type=_CONTENT_TYPE, sha256=digest, only_new=only_new, if_match=if_match
            )
        except ErrorResponseError as exc:
            return Put("", _refusal(exc, is_conditional=only_new or if_match is not None))
        return Put(written.etag)

    async def put_file(self, place: S3Location, path: Path, *, sha256: bytes) -> Put:
        """See ``StateStore``: through aiobotocore with either client, which sends a file piece by piece.

        What is too large for one request is sent in parts; then S3 compares the bytes of each part.
        """
        size_bytes = (await anyio.Path(path).stat()).st_size
        in_parts = size_bytes > self._most_put_bytes
        # After a lost answer the whole file would be sent again before S3 says that it is there.
        if in_parts and await self.head(place) is not None:
            return Put("", Refusal.CHANGED)
        try:
            if in_parts:
                etag = await self._send_parts(place, path, size_bytes)
            else:
                etag = await self._send_file(place, path, sha256, size_bytes)
        except ImageError as error:
            raise AccessError(error.message, hint=error.hint) from error
        except ErrorResponseError as exc:
            return Put("", _refusal(exc, is_conditional=True))
        if not etag:
            what = f"{Operation.PUT_OBJECT} on {place.uri}"
            raise TransientError(f"{what}: the response has no ETag", may_be_billed=False)
        return Put(etag)

    async def _send_parts(self, place: S3Location, path: Path, size_bytes: int) -> str:
        upload = MultipartUpload(
            await self._session.s3(place.bucket),
            place,
            path,
            size_bytes,
            timeout_s=self._session.timeout_s,
            retry=self._retry,
            part_bytes=self._part_bytes,
        )
        return (await upload.send(_CONTENT_TYPE)).strip('"')

    async def _send_file(self, place: S3Location, path: Path, sha256: bytes, size_bytes: int) -> str:
        client = await self._session.s3(place.bucket)
        # With it botocore does not read the whole file once more in the event loop, to sign it (over TLS).
        md5 = await to_thread.run_sync(_md5, path)
        deadline_s = self._session.timeout_s + size_bytes / SLOWEST_UPLOAD_BYTES_S
        with (
            path.open("rb") as file,
            vendor_translated(Operation.PUT_OBJECT, place.uri),
            fail_after(deadline_s),
        ):
            written = await client.put_object(
                Bucket=place.bucket,
                Key=place.key,
                Body=file,
                ContentLength=size_bytes,
                ContentType=_CONTENT_TYPE,
                ContentMD5=b2a_base64(md5, newline=False).decode(),
                ChecksumSHA256=b2a_base64(sha256, newline=False).decode(),
                IfNoneMatch="*",
            )
        etag: str = written.get("ETag", "")
        return etag.strip('"')

    async def listed(self, bucket: str, prefix: str) -> AsyncGenerator[ListedObject, None]:
        """See ``StateStore``."""
        after: str | None = None
        while True:
            page = await self._translated(partial(list_page, self._calls, bucket, prefix, after=after))
            for one in page.objects:
                yield one
            if page.token is None or not page.objects:
                return
            after = page.objects[-1].key

    async def delete(self, place: S3Location, etag: str) -> bool:
        """See ``StateStore``: on condition of the ETag, which stores that do not know it ignore."""
        return await self._translated(lambda: self._delete(place, etag))

    async def _delete(self, place: S3Location, etag: str) -> bool:
        try:
            await self._calls.delete_object(place.bucket, place.key, etag)
        except ErrorResponseError as exc:
            if exc.response.status == 412:
                return False
            if not _is_missing(exc.response):
                raise
        return True

    async def _translated(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """The result of an attempt, repeated; no error is about an image here.

        Raises:
            AsyncFilterError: As for ``StateStore``.
        """
        try:
            return await self._retry(attempt)
        except ErrorResponseError as exc:
            raise _error(exc.response) from exc
        except ImageError as error:
            raise AccessError(error.message, hint=error.hint) from error


def _refusal(exc: ErrorResponseError, *, is_conditional: bool) -> Refusal:
    """What an error response to a write means.

    Raises:
        AsyncFilterError: It is not about the condition.
    """
    response = exc.response
    if is_conditional:
        if response.status == 412:
            return Refusal.CHANGED
        if _is_missing(response):
            return Refusal.GONE
        if response.status == 409:
            return Refusal.CONFLICT
        if response.status == 501 or (response.status == 400 and response.code in _UNKNOWN_CONDITION):
            return Refusal.UNSUPPORTED
    raise _error(response) from exc


def _md5(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, partial(hashlib.md5, usedforsecurity=False)).digest()


def _error(response: ErrorResponse) -> AsyncFilterError:
    error = classify(response)
    return AccessError(error.message, hint=error.hint) if isinstance(error, ImageError) else error


def _is_missing(response: ErrorResponse) -> bool:
    return response.status == 404 and response.code != "NoSuchBucket"


def _check_etag(place: S3Location, etag: str) -> None:
    """Check that the store gives ETags, on which every condition depends.

    Raises:
        StoreError: It does not.
    """
    if not etag:
        raise StoreError(
            f"{place.uri}: the store gives no ETag for it", hint="Keep state in a store that gives ETags, as S3 does."
        )


def _age_s(found: ObjectHead) -> float | None:
    """Seconds since the object was written, by the store's clock alone."""
    try:
        return (parsedate_to_datetime(found.date) - parsedate_to_datetime(found.modified)).total_seconds()
    except (ValueError, TypeError, OverflowError):  # no date, or dates with and without a zone
        return None
