"""Writes and reads S3's XML.

Keys are escaped so that a parser restores them: carriage returns and other control characters become character
references, as in S3. References to control characters other than tab, line feed and carriage return are not valid XML
1.0. S3 sends them nevertheless; clients therefore use ``encoding-type=url``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import quote_plus
from xml.etree import ElementTree as ET

from asyncfilter.sandbox.message import ServiceError

HEAD: Final = '<?xml version="1.0" encoding="UTF-8"?>\n'
NAMESPACE: Final = "http://s3.amazonaws.com/doc/2006-03-01/"
_SPECIAL: Final = re.compile('[&<>"\x00-\x1f\x7f\ufffe\uffff]')
_NAMED: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"}
_PLAIN: Final = re.compile(r"[A-Za-z0-9/._*~-]*")


def escape(text: str) -> str:
    """Text as element content."""
    if _SPECIAL.search(text) is None:
        return text
    return _SPECIAL.sub(lambda found: _NAMED.get(found[0]) or f"&#x{ord(found[0]):x};", text)


def url_encode(text: str) -> str:
    """Text under ``encoding-type=url``: percent-encoded UTF-8, with ``+`` for a blank; slashes are not encoded."""
    return text if _PLAIN.fullmatch(text) else quote_plus(text, safe="/*")


def key_writer(encoding_type: str) -> Callable[[str], str]:
    """The function that writes keys for a request's ``encoding-type``."""
    return url_encode if encoding_type == "url" else escape


def element(name: str, text: str) -> str:
    """One element with text."""
    return f"<{name}>{escape(text)}</{name}>"


def document(root: str, content: str) -> bytes:
    """A whole document in S3's namespace; ``content`` is XML and is not escaped."""
    return f'{HEAD}<{root} xmlns="{NAMESPACE}">{content}</{root}>'.encode("utf-8", "surrogateescape")


def error_body(code: str, message: str, fields: Mapping[str, str], request_id: str) -> bytes:
    """The body of an error response."""
    parts = {"Code": code, "Message": message, **fields, "RequestId": request_id, "HostId": "sandbox"}
    content = "".join(element(name, text) for name, text in parts.items())
    return f"{HEAD}<Error>{content}</Error>".encode("utf-8", "surrogateescape")


def parse(body: bytes) -> ET.Element:
    """Parse a request's document and remove the namespaces.

    Raises:
        ServiceError: ``MalformedXML``.
    """
    try:
        root = ET.fromstring(body)  # noqa: S314 - expat since 2.4.1 bounds entity expansion by itself  # nosec B314
    except (ET.ParseError, ValueError) as exc:
        raise malformed() from exc
    for node in root.iter():
        node.tag = node.tag.rpartition("}")[2]
    return root


def malformed() -> ServiceError:
    """The error response to invalid XML."""
    return ServiceError(
        "MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema"
    )
