"""Answers to requests: JSON, errors and bytes, each with the strict headers that every answer of the server has."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from aiohttp import web

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)

STRICT_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Server": "asyncfilter",
}

FORBIDDEN = 403

PRIVATE = "private, no-cache"
"""Of the page's own files: a new version of the program has other ones."""
NEVER = "private, no-store"
"""Of everything below ``/api/``, and of errors."""
FOREVER = "private, max-age=31536000, immutable"
"""Of pictures: another picture has another address."""


ERRORS_HEADER = "X-Asyncfilter-Errors"
"""With the value ``as-200``, a request of the page asks for errors with the status 200."""
STATUS_HEADER = "X-Asyncfilter-Status"
"""The status of an error that is sent with 200."""


class Refusal(Exception):  # noqa: N818  it is an answer and no defect
    """A request that is not served.

    Args:
        status: Of HTTP.
        code: Its name for programs.
        message: For people; without paths, keys and tokens.
        headers: More headers.
    """

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.headers = status, code, message, dict(headers or {})


def refused(refusal: Refusal) -> web.Response:
    """The answer to a request that is not served."""
    body = msgspec.json.encode({"error": refusal.code, "message": refusal.message})
    return replied(body, kind="application/json", status=refusal.status, cache=NEVER, headers=refusal.headers)


def as_asked(request: web.BaseRequest, reply: web.StreamResponse) -> web.StreamResponse:
    """An error in the form that the page can take.

    Browsers write each error status to the console, also where the page expects it. So the page asks for 200 and reads
    the status in a header. What is forbidden is so in every form: the page itself never gets a 403.
    """
    is_told = 400 <= reply.status != FORBIDDEN and request.headers.get(ERRORS_HEADER) == "as-200"
    if is_told and not reply.prepared:
        reply.headers[STATUS_HEADER] = str(reply.status)
        reply.set_status(200)
    return reply


def json_reply(value: object, *, status: int = 200) -> web.Response:
    """An answer in JSON."""
    return replied(msgspec.json.encode(value), kind="application/json", status=status, cache=NEVER)


def replied(
    body: bytes, *, kind: str, cache: str, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """An answer.

    Args:
        body: What is sent.
        kind: Its media type.
        cache: Of ``Cache-Control``.
        status: Of HTTP.
        headers: More headers.
    """
    whole = {**STRICT_HEADERS, "Cache-Control": cache, "Content-Type": kind, **(headers or {})}
    return web.Response(body=body, status=status, headers=whole)
