"""DeleteObjects: up to 1,000 keys, each with its own result."""

from __future__ import annotations

from typing import Final, Protocol
from xml.etree.ElementTree import Element

from asyncfilter.sandbox.message import Reply, ServiceError
from asyncfilter.sandbox.quirks import Quirk
from asyncfilter.sandbox.s3.call import S3Call, xml_reply
from asyncfilter.sandbox.s3.conditions import check_write
from asyncfilter.sandbox.s3.objects import access_denied, delete_one
from asyncfilter.sandbox.s3_xml import element, malformed, parse
from asyncfilter.sandbox.store import Bucket

MAX_DELETES: Final = 1000


class Allowed(Protocol):
    """Whether the caller may execute an operation, given by name, on ``bucket/key`` or on a version of it."""

    def __call__(self, operation: str, uri: str, *, versioned: bool = False) -> bool:
        """True when it is allowed."""
        ...


def delete_objects(call: S3Call, allowed: Allowed) -> Reply:
    """Delete each key under its own ETag condition; a denied key and a failed condition are errors of that key only.

    Raises:
        ServiceError: ``MalformedXML`` for more than 1,000 keys, ``InvalidRequest`` without a digest of the body.
    """
    bucket = call.found_bucket()
    headers = call.request.headers
    has_checksum = any(name.startswith(b"x-amz-checksum-") for name in headers) and Quirk.ONLY_MD5 not in call.quirks
    if b"content-md5" not in headers and not has_checksum:
        raise ServiceError(
            "InvalidRequest", "Missing required header for this request: Content-MD5 OR x-amz-checksum-*"
        )
    root = parse(call.request.body)
    wanted = root.findall("Object")
    if root.tag != "Delete" or not 1 <= len(wanted) <= MAX_DELETES or any(not _text(row, "Key") for row in wanted):
        raise malformed()
    quiet = (root.findtext("Quiet") or "").lower() == "true"
    for row in wanted:
        if Quirk.IGNORE_CONDITIONS in call.quirks and (condition := row.find("ETag")) is not None:
            row.remove(condition)
    rows = [_delete(bucket, row, allowed, quiet=quiet) for row in wanted]
    return xml_reply("DeleteResult", "".join(rows))


def _delete(bucket: Bucket, row: Element, allowed: Allowed, *, quiet: bool) -> str:
    key, version_id = _text(row, "Key"), row.findtext("VersionId")
    try:
        uri = f"{bucket.name}/{key}"
        if not allowed("DeleteObject", uri, versioned=version_id is not None):
            raise access_denied()
        if _text(row, "ETag") and not allowed("GetObject", uri):
            raise access_denied()
        check_write(_text(row, "ETag"), "", bucket.get(key), key)
    except ServiceError as service_error:
        parts = {"Key": key, "VersionId": version_id, "Code": service_error.code, "Message": service_error.message}
        return f"<Error>{''.join(element(name, text) for name, text in parts.items() if text)}</Error>"
    removed = delete_one(bucket, key, version_id)
    if quiet:
        return ""
    content = element("Key", key) + (element("VersionId", version_id) if version_id else "")
    if removed is not None and removed.delete_marker:
        content += "<DeleteMarker>true</DeleteMarker>" + element("DeleteMarkerVersionId", removed.version_id)
    return f"<Deleted>{content}</Deleted>"


def _text(row: Element, name: str) -> str:
    return row.findtext(name) or ""
