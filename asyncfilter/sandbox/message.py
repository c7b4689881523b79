"""What passes between the HTTP protocol and the services: requests, replies, refusals.

A request keeps its path and query as they were sent: an S3 key is what stands there, and nothing here normalises it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final

import msgspec

JSON_TYPE: Final = "application/x-amz-json-1.1"
XML_TYPE: Final = "application/xml"


class Request(msgspec.Struct, gc=False):
    """One HTTP request as it came.

    Attributes:
        method: Upper case.
        target: Path and query, undecoded.
        headers: By lower-case name; a repeated header keeps its values, joined by commas.
        body: As sent, ``aws-chunked`` framing included.
    """

    method: str
    target: bytes
    headers: dict[bytes, bytes]
    body: bytes

    def header(self, name: bytes, default: str = "") -> str:
        """A header as text; bytes that are not UTF-8 survive a round trip through ``Reply``."""
        value = self.headers.get(name)
        return default if value is None else value.decode("utf-8", "surrogateescape")

    @property
    def path(self) -> bytes:
        """The path, undecoded."""
        return self.target.partition(b"?")[0]

    @property
    def query(self) -> bytes:
        """What follows the first question mark, undecoded."""
        return self.target.partition(b"?")[2]


class Delivery(Enum):
    """How the connection carries an answer."""

    WHOLE = "whole"
    CUT = "cut"
    """Half of the body arrives, then the connection closes."""
    RESET = "reset"
    """Nothing arrives: the connection is reset."""
    SILENCE = "silence"
    """Nothing arrives and the connection stays open."""


class Reply(msgspec.Struct, gc=False):
    """One HTTP answer.

    Attributes:
        headers: Ready header lines, each ended by CRLF; Date, Content-Length and Connection are added by the protocol.
        length_bytes: Content-Length where it differs from the body's, as for HEAD.
    """

    status: int
    headers: bytes
    body: bytes = b""
    delivery: Delivery = Delivery.WHOLE
    length_bytes: int | None = None


def header_lines(headers: Mapping[str, str]) -> bytes:
    """Encode headers as lines; undecodable bytes from ``Request.header`` come out as they went in."""
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode("utf-8", "surrogateescape")


class ServiceError(Exception):
    """A service's error answer, raised from wherever the cause is found.

    Args:
        code: AWS's name of the error.
        message: What the service writes beside it.
        status: HTTP status.
        fields: Further elements of an S3 error body, such as ``Key`` or ``Region``.
        headers: Further response headers.
    """

    def __init__(
        self,
        code: str,
        message: str,
        status: int = 400,
        *,
        fields: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.fields = fields or {}
        self.headers = headers or {}
