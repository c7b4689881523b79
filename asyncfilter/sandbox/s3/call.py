"""One parsed S3 request: operation, bucket, key, query."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl, unquote_to_bytes

import msgspec

from asyncfilter.sandbox import s3_xml
from asyncfilter.sandbox.message import XML_TYPE, Reply, Request, ServiceError, header_lines
from asyncfilter.sandbox.quirks import ConditionalWrites, Quirk
from asyncfilter.sandbox.store import Bucket, Store, Stored

MAX_KEY_BYTES: Final = 1024

_SERVICE_OPERATIONS: Final = {("GET", ""): "ListBuckets"}
_BUCKET_OPERATIONS: Final = {
    ("PUT", ""): "CreateBucket",
    ("HEAD", ""): "HeadBucket",
    ("DELETE", ""): "DeleteBucket",
    ("GET", ""): "ListObjects",
    ("GET", "list-type"): "ListObjectsV2",
    ("GET", "location"): "GetBucketLocation",
    ("GET", "versioning"): "GetBucketVersioning",
    ("PUT", "versioning"): "PutBucketVersioning",
    ("GET", "versions"): "ListObjectVersions",
    ("POST", "delete"): "DeleteObjects",
}
_OBJECT_OPERATIONS: Final = {
    ("GET", ""): "GetObject",
    ("HEAD", ""): "HeadObject",
    ("PUT", ""): "PutObject",
    ("DELETE", ""): "DeleteObject",
    ("GET", "tagging"): "GetObjectTagging",
    ("PUT", "tagging"): "PutObjectTagging",
    ("DELETE", "tagging"): "DeleteObjectTagging",
}
_SUBRESOURCES: Final = frozenset(
    (
        *("accelerate", "acl", "analytics", "attributes", "cors", "delete", "encryption", "intelligent-tiering"),
        *("inventory", "legal-hold", "lifecycle", "list-type", "location", "logging", "metrics", "notification"),
        *("object-lock", "ownershipControls", "policy", "policyStatus", "publicAccessBlock", "replication"),
        *("requestPayment", "restore", "retention", "select", "session", "tagging", "torrent", "uploadId", "uploads"),
        *("versioning", "versions", "website"),
    )
)
_AWS_HOST: Final = re.compile(r"(?:(?P<bucket>.+)\.)?s3[.-](?:[a-z0-9.-]+\.)?amazonaws\.com(?:\.cn)?")

_CONDITIONS: Final = frozenset(
    prefix + name
    for prefix in (b"", b"x-amz-copy-source-")
    for name in (b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since")
)
_IGNORED: Final[Mapping[Quirk, str]] = {
    Quirk.IGNORE_START_AFTER: "start-after",
    Quirk.IGNORE_PREFIX: "prefix",
    Quirk.NO_ENCODING: "encoding-type",
    Quirk.NO_TAGGING: "tagging",
}
"""The parameter that a quirk ignores."""


class S3Call(msgspec.Struct):
    """One request to S3.

    Attributes:
        operation: AWS's name of the operation.
        key: Empty for an operation on a bucket.
        caller_region: The region the request was signed for; empty when it was not signed.
    """

    request: Request
    operation: str
    bucket: str
    key: str
    query: dict[str, str]
    caller_region: str
    store: Store
    account: str
    quirks: frozenset[Quirk] = frozenset()
    conditional_writes: ConditionalWrites = ConditionalWrites.YES

    @property
    def uri(self) -> str:
        """``bucket/key``; globs of faults and denials are compared with it."""
        return f"{self.bucket}/{self.key}"

    def header(self, name: bytes) -> str:
        """A request header; empty if absent."""
        if Quirk.IGNORE_CONDITIONS in self.quirks and name in _CONDITIONS:
            return ""
        return self.request.header(name)

    def found_bucket(self, name: str | None = None) -> Bucket:
        """The bucket of the request, or the one named.

        Raises:
            ServiceError: ``NoSuchBucket``.
        """
        name = self.bucket if name is None else name
        bucket = self.store.buckets.get(name)
        if bucket is None:
            raise ServiceError("NoSuchBucket", "The specified bucket does not exist", 404, fields={"BucketName": name})
        return bucket

    def found_object(self, bucket: Bucket, key: str, version_id: str | None) -> Stored:
        """The current object of a key, or one version of it.

        Raises:
            ServiceError: ``NoSuchKey``, ``NoSuchVersion``, or ``MethodNotAllowed`` for a delete marker.
        """
        stored = bucket.get(key) if version_id is None else bucket.version(key, version_id)
        if stored is None and version_id is None:
            raise ServiceError("NoSuchKey", "The specified key does not exist.", 404, fields={"Key": key})
        if stored is None:
            fields = {"Key": key, "VersionId": version_id or ""}
            raise ServiceError("NoSuchVersion", "The specified version does not exist.", 404, fields=fields)
        if stored.delete_marker:
            message = "The specified method is not allowed against this resource."
            raise ServiceError("MethodNotAllowed", message, 405, headers={"x-amz-delete-marker": "true"})
        return stored


def parse_call(
    request: Request, store: Store, *, caller_region: str, account: str, quirks: frozenset[Quirk] = frozenset()
) -> S3Call:
    """Parse bucket, key and operation from host, path and query.

    Raises:
        ServiceError: ``InvalidURI``, ``KeyTooLongError``, ``NotImplemented`` or ``MethodNotAllowed``.
    """
    path = request.path
    bucket = host_bucket(request.headers.get(b"host", b""))
    if bucket:
        raw_key = path[1:]
    else:
        raw_bucket, _, raw_key = path[1:].partition(b"/")
        bucket = _decode(raw_bucket)
    key = _decode(raw_key)
    if len(raw_key) > MAX_KEY_BYTES and len(key.encode()) > MAX_KEY_BYTES:
        fields = {"Size": str(len(key.encode())), "MaxSizeAllowed": str(MAX_KEY_BYTES)}
        raise ServiceError("KeyTooLongError", "Your key is too long", fields=fields)
    query = dict(parse_qsl(request.query.decode("ascii", "replace"), keep_blank_values=True))
    for quirk in quirks:
        query.pop(_IGNORED.get(quirk, ""), None)
    if Quirk.NO_VERSIONING in quirks and "versioning" in query:
        raise not_implemented("versioning")
    operation = _operation(request, bucket, key, query)
    return S3Call(request, operation, bucket, key, query, caller_region, store, account, quirks)


@functools.lru_cache(maxsize=256)
def host_bucket(host: bytes) -> str:
    """The bucket of a virtual-hosted request, ``bucket.localhost`` or ``bucket.s3…amazonaws.com``; empty otherwise."""
    name = host.decode("ascii", "replace").lower()
    name = name if name.endswith("]") else re.sub(r":\d+$", "", name)
    found = _AWS_HOST.fullmatch(name)
    if found is not None:
        return found["bucket"] or ""
    return name.removesuffix(".localhost").removesuffix(".s3") if name.endswith(".localhost") else ""


def _decode(raw: bytes) -> str:
    try:
        return unquote_to_bytes(raw).decode("utf-8")
    except UnicodeDecodeError as exc:
        raise ServiceError("InvalidURI", "Couldn't parse the specified URI.") from exc


def _operation(request: Request, bucket: str, key: str, query: Mapping[str, str]) -> str:
    table = _OBJECT_OPERATIONS if key else _BUCKET_OPERATIONS if bucket else _SERVICE_OPERATIONS
    subresource = next((name for name in query if name in _SUBRESOURCES), "")
    operation = table.get((request.method, subresource))
    if operation == "PutObject" and b"x-amz-copy-source" in request.headers:
        return "CopyObject"
    if operation is None and subresource:
        raise not_implemented(subresource)
    if operation is None:
        message = "The specified method is not allowed against this resource."
        raise ServiceError("MethodNotAllowed", message, 405, fields={"Method": request.method})
    return operation


def not_implemented(name: str) -> ServiceError:
    """501 with the name of the header or parameter that this S3 does not have."""
    message = "A header you provided implies functionality that is not implemented"
    return ServiceError("NotImplemented", message, 501, fields={"Header": name})


def xml_reply(root: str, content: str, headers: Mapping[str, str] | None = None) -> Reply:
    """A response with status 200 and an XML document."""
    return Reply(200, header_lines({"Content-Type": XML_TYPE, **(headers or {})}), s3_xml.document(root, content))
