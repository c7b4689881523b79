"""Files that are too large for one PutObject: sent in parts, and completed on condition that there is no such object.

Parts have no effect until the upload is completed, so each is repeated by itself. An upload that is given up is aborted
where the account may do that; else its parts stay until a lifecycle rule of the bucket ends it.
"""

from __future__ import annotations

import hashlib
from binascii import b2a_base64
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import anyio
from anyio import to_thread

from asyncfilter.aws.clients.error_response import ErrorResponseError, Operation
from asyncfilter.aws.clients.protocols import SLOWEST_UPLOAD_BYTES_S
from asyncfilter.aws.deadline import fail_after
from asyncfilter.aws.preflight import Retry
from asyncfilter.aws.transport_errors import vendor_translated
from asyncfilter.errors import AsyncFilterError
from asyncfilter.model import S3Location

PART_BYTES = 32 << 20
"""Bytes of a part, held in memory; more where the file has too many."""

MOST_PARTS = 10_000
"""Most parts of an upload (S3 user guide, *Multipart upload limits*)."""

_ABORT_S = 5.0

_Attempt = Callable[[], Awaitable[Any]]


class MultipartUpload:
    """One upload of a file.

    Args:
        client: aiobotocore's, for S3.
        place: Where.
        path: The file; nobody changes it meanwhile.
        size_bytes: Its size.
        timeout_s: Time for an attempt, beside that of its bytes.
        retry: Repeats attempts that had no effect.
        part_bytes: Bytes of a part.
    """

    def __init__(
        self,
        client: Any,  # noqa: ANN401  aiobotocore has no types
        place: S3Location,
        path: Path,
        size_bytes: int,
        *,
        timeout_s: float,
        retry: Retry,
        part_bytes: int = PART_BYTES,
    ) -> None:
        self._client, self._place, self._path = client, place, path
        self._size_bytes, self._timeout_s, self._retry = size_bytes, timeout_s, retry
        self._part_bytes = max(part_bytes, -(-size_bytes // MOST_PARTS))
        self._where: dict[str, str] = {"Bucket": place.bucket, "Key": place.key}

    async def send(self, content_type: str) -> str:
        """Send the file; its ETag with quotes.

        Raises:
            ErrorResponseError: 412 or 409 where there is an object, or another one is being made.
            AsyncFilterError: It cannot be sent; whether it is there is not known when the last answer was lost.
        """
        begin = partial(self._client.create_multipart_upload, **self._where, ContentType=content_type)
        upload_id = (await self._retry(lambda: self._attempt(begin)))["UploadId"]
        try:
            parts = [await self._part(upload_id, number) for number in range(-(-self._size_bytes // self._part_bytes))]
            complete = partial(
                self._client.complete_multipart_upload,
                **self._where,
                UploadId=upload_id,
                MultipartUpload={"Parts": parts},
                IfNoneMatch="*",
            )
            etag: str = (await self._attempt(complete)).get("ETag", "")
        except BaseException:
            with anyio.move_on_after(_ABORT_S, shield=True), suppress(AsyncFilterError, ErrorResponseError):
                await self._attempt(partial(self._client.abort_multipart_upload, **self._where, UploadId=upload_id))
            raise
        return etag

    async def _part(self, upload_id: str, index: int) -> dict[str, object]:
        body = await to_thread.run_sync(self._read, index * self._part_bytes)
        md5 = b2a_base64(hashlib.md5(body, usedforsecurity=False).digest(), newline=False).decode()
        number = index + 1
        send = partial(
            self._client.upload_part, **self._where, UploadId=upload_id, PartNumber=number, Body=body, ContentMD5=md5
        )
        sent = await self._retry(lambda: self._attempt(send, size_bytes=len(body)))
        return {"PartNumber": number, "ETag": sent["ETag"]}

    def _read(self, start: int) -> bytes:
        with self._path.open("rb") as file:
            file.seek(start)
            return file.read(self._part_bytes)

    async def _attempt(self, call: _Attempt, *, size_bytes: int = 0) -> Any:  # noqa: ANN401  likewise
        deadline_s = self._timeout_s + size_bytes / SLOWEST_UPLOAD_BYTES_S
        with vendor_translated(Operation.PUT_OBJECT, self._place.uri), fail_after(deadline_s):
            return await call()
