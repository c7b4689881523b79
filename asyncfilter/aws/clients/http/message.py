"""An HTTP request and an HTTP response."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

USER_AGENT = "asyncfilter"


class ResponseLimit(NamedTuple):
    """The bound on the body of a response.

    Attributes:
        body_bytes: Most bytes of it.
        is_cut: A longer body is cut to that; otherwise the exchange fails. Bodies of errors are always cut.
    """

    body_bytes: int
    is_cut: bool = False


SMALL = ResponseLimit(4 * 1024 * 1024)
"""Of responses to all operations but listings and objects; a detection with 1,000 labels has under 1 MB."""

PAGE = ResponseLimit(16 * 1024 * 1024)
"""Of listings; a page of 1,000 keys of 1,024 bytes, each byte percent-encoded, has under 4 MB."""


class HttpRequest(NamedTuple):
    """One request.

    Attributes:
        method: Upper case.
        target: Percent-encoded path and query, sent as they are.
        headers: By lower-case name; ``host`` is among them.
        body: Empty for none.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def is_repeatable(self) -> bool:
        """Whether the transport may repeat the request without notice to its caller; True for reads only.

        Each POST is paid for. A caller that repeats a conditional PUT or DELETE must allow for a first attempt that
        took effect and makes the second one fail.
        """
        return self.method in {"GET", "HEAD"}

    def encode(self) -> bytes:
        """The bytes to send.

        Each run of white space in a value is sent as one space, as it is signed; so no value can begin another line.
        """
        lines = head_lines(self.method, self.target, self.headers)
        length = f"content-length: {len(self.body)}\r\n" if self.body or self.method in {"POST", "PUT"} else ""
        return f"{lines}{length}{COMMON}\r\n".encode() + self.body


COMMON = f"user-agent: {USER_AGENT}\r\naccept-encoding: identity\r\n"
"""Unsigned headers of every request."""


def head_lines(method: str, target: str, headers: Mapping[str, str]) -> str:
    """The beginning of a request: its first line and the lines of some headers."""
    lines = "".join([f"{name}: {' '.join(value.split())}\r\n" for name, value in headers.items()])
    return f"{method} {target} HTTP/1.1\r\n{lines}"


class HttpResponse(NamedTuple):
    """A complete response.

    Attributes:
        status: HTTP status.
        fields: The header lines as received.
        body: Without transfer encoding.
    """

    status: int
    fields: Sequence[tuple[bytes, bytes]]
    body: bytes

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers by lower-case name; the first of a repeated one.

        Built on each access: the responses to the frequent operations are read without their headers.
        """
        return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in reversed(self.fields)}
