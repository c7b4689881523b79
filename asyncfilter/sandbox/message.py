"""The messages between the HTTP protocol and the services: requests, replies, error responses.

A request holds path and query as they were sent. They are not normalised, because an S3 key is taken from the path as
it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final

import msgspec

JSON_TYPE: Final = "application/x-amz-json-1.1"
XML_TYPE: Final = "application/xml"


class Request(msgspec.Struct, gc=False):
    """One HTTP request as it was received.

    Attributes:
        method: Upper case.
        target: Path and query, undecoded.
        headers: By lower-case name; the values of a repeated header are joined by commas.
        body: As sent, including ``aws-chunked`` framing.
    """

    method: str
    target: bytes
    headers: dict[bytes, bytes]
    body: bytes

    def header(self, name: bytes, default: str = "") -> str:
        """A header as text; ``header_lines`` restores bytes that are not UTF-8."""
        value = self.headers.get(name)
        return default if value is None else value.decode("utf-8", "surrogateescape")

    @property
    def path(self) -> bytes:
        """The path, undecoded."""
        return self.target.partition(b"?")[0]

    @property
    def query(self) -> bytes:
        """The part after the first question mark, undecoded."""
        return self.target.partition(b"?")[2]


class Delivery(Enum):
    """How a response is delivered to the client."""

    WHOLE = "whole"
    CUT = "cut"
    """Half of the body is sent, then the connection is closed."""
    RESET = "reset"
    """Nothing is sent and the connection is reset."""
    SILENCE = "silence"
    """Nothing is sent and the connection stays open."""


class Reply(msgspec.Struct, gc=False):
    """One HTTP response.

    Attributes:
        headers: Encoded header lines, each ending in CRLF; ``server`` adds Date, Content-Length and Connection.
        length_bytes: Content-Length if it differs from the length of the body, as for HEAD.
    """

    status: int
    headers: bytes
    body: bytes = b""
    delivery: Delivery = Delivery.WHOLE
    length_bytes: int | None = None


def header_lines(headers: Mapping[str, str]) -> bytes:
    """Encode headers as lines; bytes that ``Request.header`` could not decode are restored."""
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode("utf-8", "surrogateescape")


class ServiceError(Exception):
    """An error response of a service; raised where the cause is found.

    Args:
        code: AWS's name of the error.
        message: The service's message.
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
