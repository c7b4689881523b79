"""The HTTP session of the clients of the rare calls, in place of aiobotocore's own.

aiobotocore (2.25.1) checks no certificate behind a proxy and no host name without one, follows redirects to any host
with all headers, and reads bodies without a bound. Invariants here:

- Every TLS connection, direct or through a proxy, is checked by the given context before a byte of a request is sent.
- No redirect is followed: an HTTP 3xx is a response like any other.
- A body that is read here is bounded: that of an error is cut, any other that is too long is a broken response. The
  body of an object is read by the caller, who knows the object's size.
- A response takes no longer than its timeouts together, however slowly it arrives.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import BinaryIO, Final, Self

import aiohttp
import aiohttp.http_exceptions
import anyio
import anyio.to_thread
from aiobotocore.awsrequest import AioAWSResponse
from botocore import exceptions as vendor
from botocore.awsrequest import AWSPreparedRequest
from botocore.httpsession import ProxyConfiguration, mask_proxy_url
from yarl import URL

from asyncfilter.aws.clients.http.message import PAGE, SMALL, ResponseLimit
from asyncfilter.aws.clients.http.pool import KEEPALIVE_S
from asyncfilter.aws.clients.http.proxied import bounded_body
from asyncfilter.aws.trust import untrusted

METADATA = ResponseLimit(64 * 1024)
"""Of responses of the metadata endpoints of containers and instances; keys and a token have under 8 KB."""

_OF_S3: Final = "X-Amz-Content-SHA256"
"""Header that botocore signs in requests to S3 alone."""

_LIMITS: Final[Mapping[str, ResponseLimit]] = {
    "RekognitionService.ListDatasetEntries": ResponseLimit(64 * 1024 * 1024),
}
"""Of responses that may be larger than others: 100 entries of 100,000 characters, each of which JSON may escape."""

_DEFAULT_TIMEOUT_S: Final = 60.0
_PIECE_BYTES: Final = 256 * 1024


class HttpSession:
    """An HTTP session as aiobotocore's clients use it (``AioConfig.http_session_cls``, with ``tls`` bound).

    Bodies of requests are bytes, or a file that is sent in pieces from where it stands. Settings of aiobotocore that
    asyncfilter never makes are ignored, and so is ``verify``: nothing switches the checks off.

    Args:
        tls: The trusted certificates.
        timeout: Seconds to connect, and seconds between two pieces of a response; or one number for both.
        proxies: URLs of proxies by the scheme of the request.
        max_pool_connections: Most connections at a time.
        limit: The bound on responses of services other than S3.
    """

    def __init__(
        self,
        tls: ssl.SSLContext,
        *,
        timeout: float | tuple[float, float] | None = None,
        proxies: Mapping[str, str] | None = None,
        max_pool_connections: int = 10,
        limit: ResponseLimit = SMALL,
        **_: object,
    ) -> None:
        self._tls = tls
        self._timeout = _timeout(timeout)
        self._proxies = proxies
        self._connections = max_pool_connections
        self._limit = limit
        self._opened: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection."""
        opened, self._opened = self._opened, None
        if opened is not None:
            await opened.close()

    async def send(self, request: AWSPreparedRequest) -> AioAWSResponse:
        """Send a request; its response is complete, except for the body of an object.

        Raises:
            EndpointError: The certificate is not trusted.
            BotoCoreError: No complete response was received, as botocore's own sessions raise it.
        """
        proxy = proxy_for(request.url, self._proxies)
        with _translated(request.url, proxy):
            response = await self._session().request(
                request.method,
                URL(request.url, encoded=True),  # as it was signed
                headers=_headers(request),
                data=_body(request),
                proxy=proxy,
                allow_redirects=False,
            )
            if request.stream_output and response.status < 300:
                return _response_of(response, response)
            limit = PAGE if _OF_S3 in request.headers else _LIMITS.get(_target(request), self._limit)
            async with response:
                return _response_of(response, _Received(await bounded_body(response, limit)))

    def _session(self) -> aiohttp.ClientSession:
        if self._opened is None:
            self._opened = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._connections, keepalive_timeout=KEEPALIVE_S, ssl=self._tls),
                timeout=self._timeout,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                skip_auto_headers=("Content-Type",),
            )
        return self._opened


class MetadataSession:
    """The HTTP session of aiobotocore's fetchers of container and instance metadata.

    These endpoints are plain HTTP on an address of this machine or its network, or HTTPS where the user says so.

    Args:
        tls: The trusted certificates.
        timeout_s: Seconds to connect, and seconds between two pieces of a response.
        proxies: URLs of proxies by the scheme of the request.
    """

    def __init__(self, tls: ssl.SSLContext, *, timeout_s: float, proxies: Mapping[str, str] | None = None) -> None:
        self._tls = tls
        self._timeout_s = timeout_s
        self._proxies = proxies

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[HttpSession]:
        """A session for some requests in a row."""
        async with HttpSession(self._tls, timeout=self._timeout_s, proxies=self._proxies, limit=METADATA) as session:
            yield session


class _Received:
    """A body that was read already, as ``AioAWSResponse`` reads one."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def read(self) -> bytes:
        return self._body


def proxy_for(url: str, proxies: Mapping[str, str] | None) -> str | None:
    """The URL of the proxy for a request; one that was set as ``host:port`` is spoken to in plain HTTP.

    Args:
        url: Of the request.
        proxies: URLs of proxies by the scheme of the request.
    """
    proxy: str | None = ProxyConfiguration(proxies=proxies).proxy_url_for(url)
    return proxy


def _timeout(timeout: float | tuple[float | None, float | None] | None) -> aiohttp.ClientTimeout:
    default_s = timeout if isinstance(timeout, int | float) and timeout else _DEFAULT_TIMEOUT_S
    connect_s, read_s = timeout if isinstance(timeout, tuple) else (default_s, default_s)
    connect_s = connect_s or _DEFAULT_TIMEOUT_S
    return aiohttp.ClientTimeout(
        # None for reading: the caller has a deadline, which reads what has arrived before it expires (``deadline``).
        total=None if read_s is None else connect_s + read_s,
        sock_connect=connect_s,
        sock_read=read_s,
        # aiohttp's default threshold rounds timeouts of more than 5 s up to whole seconds.
        ceil_threshold=float("inf"),
    )


def _body(request: AWSPreparedRequest) -> bytes | str | AsyncIterator[bytes] | None:
    body = request.body
    if hasattr(body, "read"):
        return _pieces(body)
    # In one piece aiohttp would hand it all to the socket at once, and warn of that from 1 MiB on.
    return _slices(body) if isinstance(body, bytes) and len(body) > _PIECE_BYTES else body


async def _slices(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), _PIECE_BYTES):
        yield body[start : start + _PIECE_BYTES]


async def _pieces(content: BinaryIO) -> AsyncIterator[bytes]:
    """A file in pieces: with the header of its length, which botocore sets, aiohttp sends them as one body."""
    while piece := await anyio.to_thread.run_sync(content.read, _PIECE_BYTES):
        yield piece


def _target(request: AWSPreparedRequest) -> str:
    """The operation of a request in JSON; empty for others."""
    target = request.headers.get("X-Amz-Target", "")
    return target.decode() if isinstance(target, bytes) else str(target)


def _headers(request: AWSPreparedRequest) -> dict[str, str]:
    headers = {name: value.decode() if isinstance(value, bytes) else value for name, value in request.headers.items()}
    headers.pop("Expect", None)  # botocore's for files: aiohttp would wait for a response that some servers never send
    # A compressed body has no bound, and botocore decodes none (botocore issue 1255).
    return headers | {"Accept-Encoding": "identity"}


def _response_of(response: aiohttp.ClientResponse, raw: aiohttp.ClientResponse | _Received) -> AioAWSResponse:
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.raw_headers}
    return AioAWSResponse(str(response.url), response.status, headers, raw)


@contextmanager
def _translated(url: str, proxy: str | None) -> Iterator[None]:
    """Raise aiohttp's exceptions as those of botocore, whose callers decide by them what is repeated."""
    try:
        yield
    except aiohttp.ClientSSLError as exc:
        if refusal := untrusted(exc):
            raise refusal from exc  # not botocore's SSLError, which its clients repeat
        raise vendor.SSLError(endpoint_url=url, error=exc) from exc
    except (aiohttp.ClientProxyConnectionError, aiohttp.ClientHttpProxyError) as exc:
        raise vendor.ProxyConnectionError(proxy_url=mask_proxy_url(proxy), error=exc) from exc
    except (aiohttp.ServerDisconnectedError, aiohttp.ClientPayloadError, aiohttp.http_exceptions.BadStatusLine) as exc:
        raise vendor.ConnectionClosedError(endpoint_url=url, error=exc) from exc
    except aiohttp.ConnectionTimeoutError as exc:
        raise vendor.ConnectTimeoutError(endpoint_url=url, error=exc) from exc
    except TimeoutError as exc:
        raise vendor.ReadTimeoutError(endpoint_url=url, error=exc) from exc
    except (aiohttp.ClientConnectionError, OSError) as exc:
        if refusal := untrusted(exc):
            raise refusal from exc
        raise vendor.EndpointConnectionError(endpoint_url=url, error=exc) from exc
    except (aiohttp.ClientError, ValueError) as exc:
        raise vendor.HTTPClientError(error=exc) from exc
