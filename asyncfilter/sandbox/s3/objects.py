"""GetObject, HeadObject, PutObject, DeleteObject."""

from __future__ import annotations

import base64
import hashlib
import re
import time
import zlib
from collections.abc import Callable, Sequence
from email.utils import formatdate
from typing import Final
from urllib.parse import parse_qsl

from asyncfilter.sandbox.chunked import is_chunked, read_chunks
from asyncfilter.sandbox.message import Reply, ServiceError, header_lines
from asyncfilter.sandbox.s3.call import S3Call
from asyncfilter.sandbox.s3.conditions import (
    check_put,
    check_write,
    etag_matches,
    precondition_failed,
    unmodified_since,
)
from asyncfilter.sandbox.store import NO_VERSION, Attributes, Bucket, Stored, md5_hex

_RANGE: Final = re.compile(r"bytes=(\d*)-(\d*)")
MAX_TAGS: Final = 10
RESTORED_S: Final = 7 * 86400
"""Time for which an object is restored, seconds."""
_TAG_TEXT: Final = re.compile(r"[\w\s+\-=.:/@]*")
_META: Final = b"x-amz-meta-"
_CHECKSUM: Final = b"x-amz-checksum-"
_SSE: Final = b"x-amz-server-side-encryption"
_STORAGE_CLASSES: Final = frozenset(
    {"STANDARD", "REDUCED_REDUNDANCY", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER", "GLACIER_IR"}
    | {"DEEP_ARCHIVE"}
)
_KEPT_HEADERS: Final = (b"cache-control", b"content-disposition", b"content-language", b"expires")


def get_object(call: S3Call) -> Reply:
    """The object's bytes, all or one range of them."""
    stored = _readable(call)
    check_kept(call, stored)
    size_bytes = stored.size_bytes
    span = _range(call.header(b"range"), size_bytes)
    if span is None:
        checksums = stored.attributes.checksums if call.header(b"x-amz-checksum-mode") == "ENABLED" else {}
        return Reply(200, header_lines({**describe(stored), **checksums}), stored.body)
    first, last = span
    headers = {**describe(stored), "Content-Range": f"bytes {first}-{last}/{size_bytes}"}
    return Reply(206, header_lines(headers), stored.body[first : last + 1])


def head_object(call: S3Call) -> Reply:
    """The headers of ``get_object`` without the bytes; also for archived and KMS-encrypted objects."""
    stored = call.found_object(call.found_bucket(), call.key, call.query.get("versionId"))
    if stored.attributes.denied:
        raise access_denied()
    check_kept(call, stored)
    checksums = stored.attributes.checksums if call.header(b"x-amz-checksum-mode") == "ENABLED" else {}
    return Reply(200, header_lines({**describe(stored), **checksums}), length_bytes=stored.size_bytes)


def put_object(call: S3Call) -> Reply:
    """Store an object, subject to ``If-Match`` and ``If-None-Match`` if given."""
    bucket = call.found_bucket()
    body, trailers = _body(call)
    check_put(call, bucket.get(call.key))
    attributes = attributes_of(call, {**_checksums(call), **trailers})
    _verify(call, body, attributes.checksums)
    stored = Stored(call.key, body, md5_hex(body), time.time(), attributes, read_tags(call.header(b"x-amz-tagging")))
    bucket.put(stored)
    headers = {"ETag": f'"{stored.etag}"', **stored.attributes.sse, **attributes.checksums, **version_header(stored)}
    return Reply(200, header_lines(headers))


def delete_object(call: S3Call) -> Reply:
    """Delete an object or one version; succeeds if there is no object, unless a condition requires one."""
    bucket = call.found_bucket()
    version_id = call.query.get("versionId")
    check_write(call.header(b"if-match"), "", bucket.get(call.key), call.key)
    removed = delete_one(bucket, call.key, version_id)
    headers = version_header(removed) if removed else {}
    if removed is not None and removed.delete_marker:
        headers["x-amz-delete-marker"] = "true"
    return Reply(204, header_lines(headers))


def delete_one(bucket: Bucket, key: str, version_id: str | None) -> Stored | None:
    """Delete; returns the version that was removed or the delete marker that was created, None if neither was."""
    if version_id is not None:
        return bucket.delete_version(key, version_id)
    return bucket.delete(key)


def describe(stored: Stored) -> dict[str, str]:
    """Response headers of an object."""
    attributes = stored.attributes
    headers = {
        "Last-Modified": formatdate(stored.modified_s, usegmt=True),
        "ETag": f'"{stored.etag}"',
        "Accept-Ranges": "bytes",
        "Content-Type": attributes.content_type,
        **attributes.headers,
        **attributes.sse,
        **{f"x-amz-meta-{name}": value for name, value in attributes.metadata.items()},
        **version_header(stored),
    }
    if attributes.storage_class != "STANDARD":
        headers["x-amz-storage-class"] = attributes.storage_class
    if attributes.restored:
        expiry = formatdate(stored.modified_s + RESTORED_S, usegmt=True)
        headers["x-amz-restore"] = f'ongoing-request="false", expiry-date="{expiry}"'
    if stored.tags:
        headers["x-amz-tagging-count"] = str(len(stored.tags))
    return headers


def version_header(stored: Stored) -> dict[str, str]:
    """The version header; none for an object of an unversioned bucket."""
    return {} if stored.version_id == NO_VERSION else {"x-amz-version-id": stored.version_id}


def attributes_of(call: S3Call, checksums: dict[str, str]) -> Attributes:
    """The attributes of the object to be stored, from the request's headers."""
    headers = call.request.headers
    kept = {name.decode().title(): call.header(name) for name in _KEPT_HEADERS if name in headers}
    encoding = [part.strip() for part in call.header(b"content-encoding").split(",")]
    if encoding := [part for part in encoding if part not in {"", "aws-chunked"}]:
        kept["Content-Encoding"] = ", ".join(encoding)
    return Attributes(
        content_type=call.header(b"content-type") or "binary/octet-stream",
        metadata={name[len(_META) :].decode(): call.header(name) for name in headers if name.startswith(_META)},
        headers=kept,
        storage_class=_storage_class(call),
        sse={name.decode(): call.header(name) for name in headers if name.startswith(_SSE)},
        checksums=checksums,
    )


def _storage_class(call: S3Call) -> str:
    name = call.header(b"x-amz-storage-class") or "STANDARD"
    if name not in _STORAGE_CLASSES:
        raise ServiceError("InvalidStorageClass", "The storage class you specified is not valid")
    return name


def read_tags(header: str) -> dict[str, str] | None:
    """The tags in the header ``x-amz-tagging``; None if there are none.

    Raises:
        ServiceError: See ``check_tags``.
    """
    pairs = parse_qsl(header, keep_blank_values=True)
    check_tags(pairs)
    return dict(pairs) or None


def check_tags(pairs: Sequence[tuple[str, str]]) -> None:
    """Check tags against S3's limits (S3 guide, *Categorizing your storage using tags*).

    Raises:
        ServiceError: ``BadRequest`` for more than ten tags; ``InvalidTag`` for a duplicate key, a forbidden character,
            or a key or value that is too long.
    """
    if len(pairs) > MAX_TAGS:
        raise ServiceError("BadRequest", f"Object tags cannot be greater than {MAX_TAGS}")
    if len({name for name, _ in pairs}) < len(pairs):
        raise ServiceError("InvalidTag", "Cannot provide multiple Tags with the same key")
    for name, value in pairs:
        if not 1 <= len(name) <= 128 or not _TAG_TEXT.fullmatch(name):
            raise ServiceError("InvalidTag", "The TagKey you have provided is invalid")
        if len(value) > 256 or not _TAG_TEXT.fullmatch(value):
            raise ServiceError("InvalidTag", "The TagValue you have provided is invalid")


def access_denied(message: str = "Access Denied") -> ServiceError:
    """S3's response with status 403."""
    return ServiceError("AccessDenied", message, 403)


def not_authorized(action: str, uri: str) -> ServiceError:
    """S3's response with status 403 where caller and bucket are of one account: it names the action."""
    return access_denied(
        f"User: arn:aws:iam::123456789012:user/sandbox is not authorized to perform: {action} on resource:"
        f' "arn:aws:s3:::{uri}" because no identity-based policy allows the {action} action'
    )


def check_kept(call: S3Call, stored: Stored) -> None:
    """Check the conditions of a read: 412 or 304 if one is not met.

    Raises:
        ServiceError: ``PreconditionFailed`` or, without a body, ``NotModified``.
    """
    if_match, if_none_match = call.header(b"if-match"), call.header(b"if-none-match")
    if if_match and not etag_matches(if_match, stored):
        raise precondition_failed("If-Match")
    since = call.header(b"if-unmodified-since")
    if since and not if_match and not unmodified_since(since, stored):
        raise precondition_failed("If-Unmodified-Since")
    if if_none_match and etag_matches(if_none_match, stored):
        raise ServiceError("NotModified", "Not Modified", 304, headers={"ETag": f'"{stored.etag}"'})


def _readable(call: S3Call) -> Stored:
    stored = call.found_object(call.found_bucket(), call.key, call.query.get("versionId"))
    if stored.attributes.denied:
        raise access_denied()
    if stored.attributes.archived:
        message = "The operation is not valid for the object's storage class"
        fields = {"StorageClass": stored.attributes.storage_class}
        raise ServiceError("InvalidObjectState", message, 403, fields=fields)
    if stored.attributes.kms_denied:
        raise kms_denied()
    return stored


def kms_denied() -> ServiceError:
    """403 for a KMS key that the caller may not use."""
    return access_denied(
        "User: arn:aws:iam::123456789012:user/sandbox is not authorized to perform: kms:Decrypt on the resource"
        " associated with this ciphertext because no identity-based policy allows the kms:Decrypt action"
    )


def _range(header: str, size_bytes: int) -> tuple[int, int] | None:
    """First and last byte of a single range; None for the whole object, also if the header is invalid, as in S3."""
    found = _RANGE.fullmatch(header.strip())
    if found is None or found[0] == "bytes=-":
        return None
    if found[1]:
        first, last = int(found[1]), min(int(found[2] or size_bytes), size_bytes - 1)
        if found[2] and int(found[2]) < first:
            return None
    else:
        first, last = max(size_bytes - int(found[2]), 0), size_bytes - 1
    if first >= size_bytes:
        fields = {"RangeRequested": header, "ActualObjectSize": str(size_bytes)}
        raise ServiceError("InvalidRange", "The requested range is not satisfiable", 416, fields=fields)
    return first, last


def _body(call: S3Call) -> tuple[bytes, dict[str, str]]:
    """The object's bytes, and the checksums that were sent as trailers."""
    if not is_chunked(call.request):
        return call.request.body, {}
    chunks = read_chunks(call.request.body)
    trailers = {name: value for name, value in chunks.trailers.items() if name.startswith("x-amz-checksum-")}
    return chunks.body, trailers


def _checksums(call: S3Call) -> dict[str, str]:
    known = [name for name in call.request.headers if name.startswith(_CHECKSUM)]
    return {name.decode(): call.header(name) for name in known if not name.startswith(_CHECKSUM + b"algorithm")}


def _verify(call: S3Call, body: bytes, checksums: dict[str, str]) -> None:
    """Compare the client's digests with the body; CRC-32C and CRC-64/NVME are stored unverified.

    Raises:
        ServiceError: ``BadDigest``.
    """
    sent = {**checksums, "content-md5": call.header(b"content-md5")}
    true: dict[str, Callable[[], bytes]] = {
        "content-md5": lambda: hashlib.md5(body, usedforsecurity=False).digest(),
        "x-amz-checksum-crc32": lambda: zlib.crc32(body).to_bytes(4, "big"),
        "x-amz-checksum-sha1": lambda: hashlib.sha1(body, usedforsecurity=False).digest(),
        "x-amz-checksum-sha256": lambda: hashlib.sha256(body).digest(),
    }
    for name, digest in true.items():
        if sent.get(name) and base64.b64encode(digest()).decode() != sent[name]:
            kind = "Content-MD5" if name == "content-md5" else name.rpartition("-")[2].upper()
            raise ServiceError("BadDigest", f"The {kind} you specified did not match the calculated checksum.")
