"""Exchanges through a proxy, with aiohttp, which supports CONNECT, TLS to the proxy and proxy passwords."""

from __future__ import annotations

import ssl

import aiohttp
from yarl import URL

from asyncfilter.aws.clients.http.connection import ERROR_LIMIT_BYTES
from asyncfilter.aws.clients.http.gate import check_may_send
from asyncfilter.aws.clients.http.message import USER_AGENT, HttpRequest, HttpResponse, ResponseLimit
from asyncfilter.aws.clients.http.pool import KEEPALIVE_S
from asyncfilter.aws.deadline import fail_after

_CONNECT_SHARE = 0.95
"""Fraction of the deadline that connecting may take, so that a missing connection differs from a missing response."""

_HEADERS = {"User-Agent": USER_AGENT, "Accept": "*/*", "Accept-Encoding": "identity"}
"""Unsigned headers of every request; sending aiohttp's default headers costs less than suppressing them."""

_NO_CONTENT_TYPE = ("Content-Type",)
"""Header that aiohttp adds to a PUT without a body; it is suppressed, since it would have to be signed."""


class Proxied:
    """Makes exchanges through proxies; opens no connection before the first.

    Args:
        tls: The trusted certificates.
        timeout_s: Seconds one exchange may take.
    """

    def __init__(self, tls: ssl.SSLContext, *, timeout_s: float) -> None:
        self._tls = tls
        self._timeout_s = timeout_s
        self._opened: aiohttp.ClientSession | None = None

    async def exchange(
        self, origin: str, proxy: str, request: HttpRequest, limit: ResponseLimit, *, extra_s: float = 0.0
    ) -> HttpResponse:
        """Send a request and read its response to the end.

        Args:
            origin: Scheme, host and port, without a path.
            proxy: URL of the proxy.
            request: The request.
            limit: The bound on the response.
            extra_s: Time beyond the deadline of other exchanges, seconds.

        Raises:
            aiohttp.ClientError: No complete response was received.
            TimeoutError: No complete response was received in time.
        """
        if self._opened is None:
            self._opened = self._session()
        with fail_after(self._timeout_s + extra_s):
            return await self._send(self._opened, origin, proxy, request, limit)

    @staticmethod
    async def _send(
        session: aiohttp.ClientSession, origin: str, proxy: str, request: HttpRequest, limit: ResponseLimit
    ) -> HttpResponse:
        check_may_send()
        async with session.request(
            request.method,
            # Encoded already: the target must be sent as it was signed.
            URL(origin + request.target, encoded=True),
            headers=request.headers,
            data=request.body or None,
            skip_auto_headers=None if request.body else _NO_CONTENT_TYPE,
            proxy=proxy,
            # A redirect goes to another host, for which the signature is not valid.
            allow_redirects=False,
        ) as response:
            return HttpResponse(response.status, response.raw_headers, await bounded_body(response, limit))

    async def aclose(self) -> None:
        """Close every connection."""
        if self._opened is not None:
            await self._opened.close()

    def _session(self) -> aiohttp.ClientSession:
        timeout = aiohttp.ClientTimeout(
            total=None,  # ``exchange`` has the deadline: aiohttp's would expire before what has arrived is read
            sock_connect=self._timeout_s * _CONNECT_SHARE,
            # aiohttp's default threshold rounds timeouts of more than 5 s up to whole seconds.
            ceil_threshold=float("inf"),
        )
        return aiohttp.ClientSession(
            # No limit: the engine bounds the calls in flight, and a call with a permit must not wait here.
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_S, ssl=self._tls),
            timeout=timeout,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            headers=_HEADERS,
        )


async def bounded_body(response: aiohttp.ClientResponse, limit: ResponseLimit) -> bytes:
    """The body within its bound.

    Raises:
        aiohttp.ClientPayloadError: It is longer, and may not be cut.
    """
    if response.status >= 300:
        limit = ResponseLimit(ERROR_LIMIT_BYTES, is_cut=True)
    pieces, received_bytes = [], 0
    async for piece in response.content.iter_any():
        pieces.append(piece)
        received_bytes += len(piece)
        if received_bytes > limit.body_bytes:
            response.close()  # the rest is not read, and the connection not used again
            if not limit.is_cut:
                raise aiohttp.ClientPayloadError(f"a response of more than {limit.body_bytes} bytes")
            break
    return b"".join(pieces)[: limit.body_bytes]
