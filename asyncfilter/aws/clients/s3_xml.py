"""The XML of deletes, versions and tags, written and read without an XML tree.

DeleteObjects cannot contain a key with a character that XML 1.0 cannot express; such a key is deleted singly.
"""

from __future__ import annotations

import hashlib
import re
from binascii import b2a_base64
from collections.abc import Mapping, Sequence
from urllib.parse import unquote_to_bytes
from xml.sax.saxutils import escape

from asyncfilter.aws.clients.error_response import ErrorResponse, Operation
from asyncfilter.aws.clients.protocols import Deleted, ObjectVersion, uri
from asyncfilter.aws.clients.xml_text import elements, unescape
from asyncfilter.records.removal import NULL_VERSION

_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
_INEXPRESSIBLE = re.compile("[\x00-\x1f\x7f\ufffe\uffff]")
_FIELD = re.compile(rb"<(\w+)>([^<]*)</\1>")
_URL_ENCODED = re.compile(rb"<EncodingType>\s*url\s*</EncodingType>")
_TAGGING = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]{0,200}\?>\s*)?<Tagging\b[^>]*>\s*<TagSet\b")


def is_expressible(key: str) -> bool:
    """Whether XML preserves ``key``; tabs and line ends could be written, but parsers normalise them."""
    return _INEXPRESSIBLE.search(key) is None


def delete_request(requests: Sequence[tuple[str, str]]) -> bytes:
    """The body of DeleteObjects for keys with their ETags, which are given without quotes."""
    rows = [
        f"<Object><Key>{escape(key)}</Key><ETag>&quot;{escape(etag)}&quot;</ETag></Object>" for key, etag in requests
    ]
    return f'<Delete xmlns="{_NAMESPACE}">{"".join(rows)}<Quiet>false</Quiet></Delete>'.encode()


def md5_digest(body: bytes) -> str:
    """The value of Content-MD5 for a request body."""
    return b2a_base64(hashlib.md5(body, usedforsecurity=False).digest(), newline=False).decode()


def read_outcomes(body: bytes, bucket: str) -> dict[str, Deleted | ErrorResponse]:
    """The outcome of each key in a response to DeleteObjects."""
    outcomes: dict[str, Deleted | ErrorResponse] = {}
    for kind, content in elements(body, b"Deleted", b"Error"):
        fields = _fields(content)
        key = fields.get("Key", "")
        if kind == b"Error":
            outcomes[key] = refused(bucket, key, fields.get("Code", ""), fields.get("Message", ""))
        else:
            outcomes[key] = deleted(fields.get("DeleteMarker") == "true", fields.get("DeleteMarkerVersionId", ""))
    return outcomes


def deleted(is_marker: bool, version: str) -> Deleted:  # noqa: FBT001  the two fields of every response
    """The result of a delete without a version id; where versioning is suspended, the marker has no id."""
    return Deleted((version or NULL_VERSION) if is_marker else "")


def refused(bucket: str, key: str, code: str, message: str) -> ErrorResponse:
    """The error of one key, as DeleteObject would return it; DeleteObjects gives no status for it."""
    return ErrorResponse(
        operation=Operation.DELETE_OBJECT, where=uri(bucket, key), status=400, code=code, message=message
    )


VERSIONS_DOCUMENT = b"<ListVersionsResult"
"""With which a response to ListObjectVersions begins, after a declaration."""


def check_document(body: bytes, document: bytes) -> None:
    """Refuse another document in place of a list: a page of a proxy, or nothing, would be a list without entries.

    Raises:
        ValueError: ``body`` has no such element.
    """
    if document not in body:
        raise ValueError(f"not a {document[1:].decode()}: {body[:100]!r}")


def read_versions(body: bytes, key: str) -> list[ObjectVersion]:
    """The versions of ``key`` in a response to ListObjectVersions, newest first.

    S3 lists them in this order; stores that list versions and markers apart at least mark the latest one. Keys are
    URL-encoded only where the response says so: some stores ignore the request for it.

    Raises:
        ValueError: It is another document, or has a size that is none.
    """
    check_document(body, VERSIONS_DOCUMENT)
    found = []
    is_encoded = _URL_ENCODED.search(body) is not None
    for kind, content in elements(body, b"Version", b"DeleteMarker"):
        fields = _fields(content)
        listed = fields.get("Key", "")
        if (url_decoded(listed) if is_encoded else listed) == key:
            etag, size = fields.get("ETag", "").strip('"'), int(fields.get("Size", 0))
            version = ObjectVersion(fields.get("VersionId", ""), etag, size, kind == b"DeleteMarker")
            found.append((fields.get("IsLatest") != "true", version))
    return [version for _, version in sorted(found, key=lambda pair: pair[0])]


def url_decoded(key: str) -> str:
    """A key of a response with ``encoding-type=url``, in which ``+`` is a blank."""
    return unquote_to_bytes(key.replace("+", " ")).decode(errors="replace") if "%" in key or "+" in key else key


def tag_request(tags: Mapping[str, str]) -> bytes:
    """The body of PutObjectTagging."""
    rows = [f"<Tag><Key>{escape(key)}</Key><Value>{escape(value)}</Value></Tag>" for key, value in tags.items()]
    return f'<Tagging xmlns="{_NAMESPACE}"><TagSet>{"".join(rows)}</TagSet></Tagging>'.encode()


def read_tags(body: bytes) -> dict[str, str] | None:
    """The tags in a response to GetObjectTagging; None when it is another document, or not XML.

    A store without tags ignores ``?tagging`` and sends the object: only the first element of the document tells, since
    an image may contain any text.
    """
    if not _TAGGING.match(body):
        return None
    return {tag["Key"]: tag.get("Value", "") for tag in (_fields(content) for _, content in elements(body, b"Tag"))}


def _fields(content: bytes) -> dict[str, str]:
    return {name.decode(): unescape(text.decode(errors="replace")) for name, text in _FIELD.findall(content)}
