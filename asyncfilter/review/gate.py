"""The checks that every request passes, in one order: host, site, route, method, token, origin, body.

A request that is refused has had no effect. There is no ambient authority: no cookie, no address that is trusted. Names
that lead to this machine (DNS rebinding) fail at the host, pages of other sites at the site, the token or the origin.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from ipaddress import IPv6Address, ip_address
from typing import NamedTuple
from urllib.parse import parse_qsl

from aiohttp import web
from aiohttp.client_exceptions import ClientPayloadError
from aiohttp.http_exceptions import HttpProcessingError

from asyncfilter.review.replies import Refusal

TOKEN_HEADER = "X-Asyncfilter-Token"  # noqa: S105  the name of a header  # nosec B105
MAX_BODY_BYTES = 65_536
BODY_S = 30.0
"""A body arrives in so long, or it is not waited for."""
_MOST_FIELDS = 16
_HTTP_PORT = 80
"""Browsers leave this one out."""
ANY_ADDRESS = ("0.0.0.0", "[::]")  # noqa: S104  they are compared  # nosec B104
_LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")


def as_host(address: str) -> str:
    """An address, or a name, as browsers write it."""
    with suppress(ValueError):
        known = ip_address(address)
        mapped = known.ipv4_mapped if isinstance(known, IPv6Address) else None
        address = (mapped or known).compressed
    return f"[{address}]" if ":" in address else address.lower()


def bad_host() -> Refusal:
    """The refusal of a request to another host."""
    return Refusal(403, "bad_host", "This server answers only under its own address.")


class Call(NamedTuple):
    """A request that passed the gate.

    Attributes:
        request: As it came.
        path: Its route, without the query.
        query: The fields of its query.
        reviewer: Whose token it has; empty where none is needed.
        body: Of a POST.
    """

    request: web.BaseRequest
    path: str
    query: Mapping[str, str]
    reviewer: str
    body: bytes


Endpoint = Callable[[Call], Awaitable[web.StreamResponse]]
"""What serves a call."""


class Route(NamedTuple):
    """A route: its only method, and what serves it."""

    method: str
    serve: Endpoint


class Gate:
    """Checks requests.

    Args:
        find: The route at a path; None where there is none.
        tokens: The reviewers by their tokens.
        port: That the server listens on.
        address: That it listens on; one that names this machine alone, unless other machines may reach it.
    """

    def __init__(
        self,
        find: Callable[[str], Route | None],
        tokens: Mapping[str, str],
        port: int,
        address: str = _LOOPBACK_NAMES[0],
    ) -> None:
        self._find = find
        self._tokens = [(token.encode(), name) for token, name in tokens.items()]
        names = {*_LOOPBACK_NAMES, address}
        self._hosts = {f"{name}:{port}" for name in names} | (names if port == _HTTP_PORT else set())
        self._is_any = address in ANY_ADDRESS

    async def admit(self, request: web.BaseRequest) -> tuple[Call, Route]:
        """The call that a request makes, and the route that serves it.

        Raises:
            Refusal: It is not served.
        """
        host = self._host(request)
        path, _, query = request.raw_path.partition("?")
        _check_site(request, path)
        route = self._find(path)
        if route is None:
            raise Refusal(404, "not_found", "There is nothing here.")
        if request.method != route.method:
            raise Refusal(405, "method_not_allowed", "This method is not served here.", {"Allow": route.method})
        reviewer, body = "", b""
        if path.startswith("/api/"):
            reviewer = self._reviewer(request)
            _check_origin(request, host)
            if request.method == "POST":
                body = await _read_body(request)
        return Call(request, path, _fields(query), reviewer, body), route

    def _host(self, request: web.BaseRequest) -> str:
        """The host that a request names, which must be this server."""
        named = request.headers.getall("Host", [])
        if len(named) != 1 or named[0].lower() not in self._hosts | self._reached(request):
            raise bad_host()
        return named[0].lower()

    def _reached(self, request: web.BaseRequest) -> set[str]:
        """Where all addresses are listened on, the one that a connection came to, in numbers: no name leads to it."""
        if not self._is_any or request.transport is None:
            return set()
        address, port, *_ = request.transport.get_extra_info("sockname")
        name = as_host(address)
        return {f"{name}:{port}", *([name] if port == _HTTP_PORT else [])}

    def _reviewer(self, request: web.BaseRequest) -> str:
        """Whose token a request has; all of them are compared, each in constant time."""
        given = request.headers.get(TOKEN_HEADER, "").encode("utf-8", "surrogateescape")
        found = ""
        for token, name in self._tokens:
            if hmac.compare_digest(given, token):
                found = name
        if not found:
            raise Refusal(401, "bad_token", "The token is missing or not valid. Open the link that the program prints.")
        return found


def _check_site(request: web.BaseRequest, path: str) -> None:
    """Refuse what a page of another site sends; a link to the page itself may be followed from anywhere."""
    if request.headers.get("Sec-Fetch-Site", "none").lower() not in {"cross-site", "same-site"}:
        return
    mode, to = (request.headers.get(name, "").lower() for name in ("Sec-Fetch-Mode", "Sec-Fetch-Dest"))
    if request.method == "GET" and path == "/" and mode == "navigate" and to == "document":
        return
    raise Refusal(403, "cross_site", "Pages of other sites are not served.")


def _check_origin(request: web.BaseRequest, host: str) -> None:
    origins = request.headers.getall("Origin", [])
    if not origins and request.method != "POST":
        return
    if len(origins) != 1 or origins[0].lower() != f"http://{host}":
        raise Refusal(403, "bad_origin", "Only the page of this server may call it.")


def _fields(query: str) -> dict[str, str]:
    try:
        return dict(parse_qsl(query, keep_blank_values=True, max_num_fields=_MOST_FIELDS))
    except ValueError:
        raise Refusal(400, "bad_request", "The query has too many fields.") from None


async def _read_body(request: web.BaseRequest) -> bytes:
    """The body of a request; one that is too long is not read."""
    if request.content_type != "application/json" or "Content-Encoding" in request.headers:
        raise Refusal(415, "unsupported_media_type", "Only application/json is taken, not compressed.")
    if (request.content_length or 0) > MAX_BODY_BYTES:
        raise _too_long()
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the answer itself has not begun
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    raise _too_long()
    except TimeoutError as error:
        raise Refusal(408, "too_slow", f"A body arrives within {BODY_S:g} s.") from error
    except (ClientPayloadError, HttpProcessingError, ConnectionError) as error:
        raise Refusal(400, "bad_request", "The body did not arrive whole.") from error
    return bytes(body)


def _too_long() -> Refusal:
    return Refusal(413, "too_long", f"A body has at most {MAX_BODY_BYTES:,} bytes.")
