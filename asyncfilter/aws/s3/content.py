"""Whether two objects in S3 have the same bytes: by SHA-256 where both have it, else by reading both.

Equal ETags do not show it: an ETag is the MD5 of the bytes at best, and two pictures can be made that have one MD5. Nor
do CRC checksums, for which collisions are easy to make.
"""

from __future__ import annotations

from asyncfilter.aws.clients.error_response import ErrorResponseError
from asyncfilter.aws.clients.protocols import ObjectHead, S3Api
from asyncfilter.aws.errors import classify
from asyncfilter.aws.s3.heads import examined_head, head
from asyncfilter.errors import ImageError, TransientError
from asyncfilter.model import ObjectRef, S3Location

PART_BYTES = 4 * 1024 * 1024
"""Bytes of each object that are held at a time; most images fit into one part."""

COMPARED_AT_ONCE = 4
"""Most pairs of objects that are compared at the same time, so that 32 MB are held at most."""

_SHA256 = "x-amz-checksum-sha256"


async def same_content(calls: S3Api, image: ObjectRef, original: ObjectRef) -> bool:
    """See ``Remover.same_content``."""
    one = await examined_head(calls, image)
    other = await _original_head(calls, original)
    if one.size_bytes != other.size_bytes:
        return False
    sums = _whole_sha256(one), _whole_sha256(other)
    if all(sums):
        return sums[0] == sums[1]
    for start in range(0, one.size_bytes, PART_BYTES):
        size_bytes = min(PART_BYTES, one.size_bytes - start)
        if await _part(calls, image, start, size_bytes) != await _part(calls, original, start, size_bytes):
            return False
    return True


async def _original_head(calls: S3Api, original: ObjectRef) -> ObjectHead:
    found = await head(calls, S3Location(original.bucket, original.key))
    if found is None or found.etag != original.etag:
        raise ImageError(f"{original.uri}: not there any more as it was examined", code="original_gone")
    return found


def _whole_sha256(found: ObjectHead) -> str:
    """The SHA-256 of the whole object; empty where there is none: that of an upload in parts is of their sums."""
    value = found.checksums.get(_SHA256, "")
    return "" if "-" in value else value


async def _part(calls: S3Api, image: ObjectRef, start: int, size_bytes: int) -> bytes:
    try:
        # Most images are one part, which needs no range.
        whole = size_bytes == image.size_bytes
        part = await calls.read_object(image) if whole else await calls.read_part(image, start, size_bytes)
    except ErrorResponseError as exc:
        raise classify(exc.response) from exc
    if part is None:
        raise ImageError(f"{image.uri}: the store does not send parts of objects", code="content_unknown")
    if len(part) != size_bytes:
        message = f"{image.uri}: {len(part)} bytes came where {size_bytes} were asked for"
        raise TransientError(message, may_be_billed=False)
    return part
