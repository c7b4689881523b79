"""CopyObject: conditions on source and destination, and which attributes are copied."""

from __future__ import annotations

import time
from urllib.parse import unquote

import msgspec

from asyncfilter.sandbox.message import Reply, ServiceError
from asyncfilter.sandbox.quirks import Quirk
from asyncfilter.sandbox.s3.call import S3Call, xml_reply
from asyncfilter.sandbox.s3.conditions import check_put, etag_matches, precondition_failed, unmodified_since
from asyncfilter.sandbox.s3.deleting import Allowed
from asyncfilter.sandbox.s3.objects import (
    access_denied,
    attributes_of,
    kms_denied,
    not_authorized,
    read_tags,
    version_header,
)
from asyncfilter.sandbox.store import Attributes, Bucket, Stored, iso_time


def copy_object(call: S3Call) -> Reply:
    """Copy under conditions. Metadata and tags are copied unless replaced; the storage class is not copied."""
    target = call.found_bucket()
    source_bucket, source_key, version_id = read_copy_source(call.header(b"x-amz-copy-source"))
    origin = call.found_bucket(source_bucket)
    source = call.found_object(origin, source_key, version_id)
    _check_readable(source)
    _check_source(call, source)
    check_put(call, target.get(call.key))
    attributes = _attributes(call, source.attributes)
    if (source_bucket, source_key, version_id) == (call.bucket, call.key, None):
        _check_changed(call, source, attributes)
    copy = Stored(call.key, source.body, source.etag, time.time(), attributes, _tags(call, source))
    target.put(copy)
    return _reply(copy, source, origin)


def check_allowed(call: S3Call, allowed: Allowed) -> None:
    """Check the permissions on the source and those to copy its tags.

    Raises:
        ServiceError: ``AccessDenied``; it names the action, as AWS does within one account.
    """
    bucket, key, version_id = read_copy_source(call.header(b"x-amz-copy-source"))
    versioned = version_id is not None
    if not allowed("GetObject", f"{bucket}/{key}", versioned=versioned):
        raise access_denied()
    source = call.found_object(call.found_bucket(bucket), key, version_id)
    if not source.tags or call.header(b"x-amz-tagging-directive") == "REPLACE":
        return
    for operation, uri, of_version in (
        ("GetObjectTagging", f"{bucket}/{key}", versioned),
        ("PutObjectTagging", call.uri, False),
    ):
        if not allowed(operation, uri, versioned=of_version):
            raise access_denied() if Quirk.TERSE_DENIALS in call.quirks else not_authorized(f"s3:{operation}", uri)


def read_copy_source(header: str) -> tuple[str, str, str | None]:
    """Bucket, key and version of ``x-amz-copy-source``: URL-encoded, with or without a leading slash.

    Raises:
        ServiceError: ``InvalidArgument``.
    """
    path, marker, version_id = header.partition("?versionId=")
    bucket, slash, key = unquote(path, errors="surrogateescape").removeprefix("/").partition("/")
    if not (bucket and slash and key):
        fields = {"ArgumentName": "x-amz-copy-source", "ArgumentValue": header}
        raise ServiceError("InvalidArgument", "Copy Source must mention the source bucket and key", fields=fields)
    return bucket, key, unquote(version_id) if marker else None


def _check_readable(source: Stored) -> None:
    if source.attributes.archived:
        message = (
            "The source object of the COPY operation is not in the active tier and is only stored in Amazon S3 Glacier."
        )
        raise ServiceError("ObjectNotInActiveTierError", message, 403, fields={"Key": source.key})
    if source.attributes.denied:
        raise access_denied()
    if source.attributes.kms_denied:
        raise kms_denied()


def _check_source(call: S3Call, source: Stored) -> None:
    """Check the conditions on the source (S3 API reference, *CopyObject*)."""
    if_match = call.header(b"x-amz-copy-source-if-match")
    if if_match and not etag_matches(if_match, source):
        raise precondition_failed("x-amz-copy-source-If-Match")
    if_none_match = call.header(b"x-amz-copy-source-if-none-match")
    if if_none_match and etag_matches(if_none_match, source):
        raise precondition_failed("x-amz-copy-source-If-None-Match")
    since = call.header(b"x-amz-copy-source-if-unmodified-since")
    if since and not if_match and not unmodified_since(since, source):
        raise precondition_failed("x-amz-copy-source-If-Unmodified-Since")
    since = call.header(b"x-amz-copy-source-if-modified-since")
    if since and not if_none_match and unmodified_since(since, source):
        raise precondition_failed("x-amz-copy-source-If-Modified-Since")


def _attributes(call: S3Call, source: Attributes) -> Attributes:
    asked = attributes_of(call, source.checksums)
    if call.header(b"x-amz-metadata-directive") == "REPLACE":
        return asked
    return msgspec.structs.replace(
        asked, content_type=source.content_type, metadata=source.metadata, headers=source.headers
    )


def _tags(call: S3Call, source: Stored) -> dict[str, str] | None:
    replace = call.header(b"x-amz-tagging-directive") == "REPLACE"
    return read_tags(call.header(b"x-amz-tagging")) if replace else source.tags


def _check_changed(call: S3Call, source: Stored, attributes: Attributes) -> None:
    replaces = call.header(b"x-amz-metadata-directive") == "REPLACE"
    if replaces or attributes.sse or attributes.storage_class != source.attributes.storage_class:
        return
    message = (
        "This copy request is illegal because it is trying to copy an object to itself without changing the object's"
        " metadata, storage class, website redirect location or encryption attributes."
    )
    raise ServiceError("InvalidRequest", message)


def _reply(copy: Stored, source: Stored, origin: Bucket) -> Reply:
    headers = {**version_header(copy), **copy.attributes.sse}
    if origin.versioning is not None:
        headers["x-amz-copy-source-version-id"] = source.version_id
    content = f"<LastModified>{iso_time(copy.modified_s)}</LastModified><ETag>&quot;{copy.etag}&quot;</ETag>"
    return xml_reply("CopyObjectResult", content, headers)
