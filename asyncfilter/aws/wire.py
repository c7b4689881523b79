"""The small signed HTTP client behind the hot operations: one attempt, one deadline, no policy.

aiohttp carries the bytes; connections are kept alive and not limited in number, since the engine bounds what is in
flight. Every failure to get a whole answer is translated by ``failures``; an answer is returned whatever its status.
"""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import NamedTuple

import aiohttp
from yarl import URL

from asyncfilter.aws.answers import AnsweredError, Operation, read_answer
from asyncfilter.aws.errors import CLOCK_CODES
from asyncfilter.aws.failures import transport_failure
from asyncfilter.aws.session import AwsSession, Endpoint
from asyncfilter.aws.signing import EMPTY_SHA256, ServiceClock, Signer
from asyncfilter.errors import EndpointError, TransientError

_KEEPALIVE_S = 12.0
"""Idle connections are dropped before AWS drops them, so that a request seldom meets a closed one; as aiobotocore."""

_CONNECT_SHARE = 0.95
"""Part of the deadline that connecting may take, so that no connection is told from no answer."""

_HEADERS = {"User-Agent": "asyncfilter", "Accept": "*/*", "Accept-Encoding": "identity"}
"""Unsigned headers of every request; those that aiohttp would make up itself cost more to keep off than to send."""

_NO_CONTENT_TYPE = ("Content-Type",)
"""aiohttp makes one up for a PUT without a body; sent, it would have to be signed."""


class Reply(NamedTuple):
    """A whole answer; header names ignore case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Wire:
    """Sends signed requests; made by ``open_wire``.

    Args:
        session: Gives the keys.
        http: The transport.
        clock: Time for signatures.
    """

    def __init__(self, session: AwsSession, http: aiohttp.ClientSession, clock: ServiceClock) -> None:
        self._session = session
        self._http = http
        self._clock = clock
        self._signers: dict[tuple[str, str], Signer] = {}

    async def send(
        self,
        operation: Operation,
        where: str,
        endpoint: Endpoint,
        *,
        method: str,
        path: str = "/",
        query: str = "",
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Reply:
        """Make one attempt and read its answer to the end.

        Args:
            operation: What is asked.
            where: Of what, for messages.
            endpoint: Where to.
            method: HTTP method.
            path: Percent-encoded path below the endpoint's own, sent as it is.
            query: From ``encode_query``.
            headers: Further headers, by lower-case name; all are signed.
            body: The body.

        Raises:
            AnsweredError: The answer's status is 300 or higher.
            TransientError: No whole answer came.
            AccessError: No answer can come.
        """
        keys = await self._session.keys()
        full_path = endpoint.base_path + path
        sha256 = hashlib.sha256(body).hexdigest() if body else EMPTY_SHA256
        given = {"host": endpoint.host, **(headers or {})}
        if endpoint.service == "s3":
            given["x-amz-content-sha256"] = sha256
        signer = self._signer(endpoint)
        signed = signer.sign(keys, method=method, path=full_path, query=query, headers=given, payload_sha256=sha256)
        url = URL(f"{endpoint.origin}{full_path}?{query}" if query else endpoint.origin + full_path, encoded=True)
        try:
            async with self._http.request(
                method,
                url,
                headers=signed,
                data=body or None,
                skip_auto_headers=None if body else _NO_CONTENT_TYPE,
                proxy=endpoint.proxy,
                allow_redirects=False,
            ) as response:
                reply = Reply(response.status, response.headers, await response.read())
        except (aiohttp.ClientError, TimeoutError, OSError) as exc:
            raise transport_failure(exc, f"{operation} on {where}") from exc
        if reply.status >= 300:
            raise self._refusal(operation, where, reply)
        return reply

    async def reach(self, endpoint: Endpoint) -> None:
        """Find out whether anything answers at an endpoint; any answer will do, and nothing is asked of the service.

        Raises:
            TransientError: No answer; ``UnreachableError`` when there was no connection.
            EndpointError: No answer can come.
        """
        url = URL(endpoint.origin + (endpoint.base_path or "/"), encoded=True)
        try:
            async with self._http.get(url, proxy=endpoint.proxy, allow_redirects=False) as response:
                await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as exc:
            raise transport_failure(exc, f"{endpoint.service} at {endpoint.origin}") from exc

    def _signer(self, endpoint: Endpoint) -> Signer:
        scope = (endpoint.service, endpoint.region)
        if scope not in self._signers:
            self._signers[scope] = Signer(endpoint.service, endpoint.region, self._clock)
        return self._signers[scope]

    def _refusal(self, operation: Operation, where: str, reply: Reply) -> AnsweredError | TransientError:
        """The error answer; or, when only our clock was wrong and now is set, a reason to repeat."""
        answer = read_answer(operation, where, status=reply.status, headers=reply.headers, body=reply.body)
        suspicious = answer.code in CLOCK_CODES or (reply.status == 403 and not answer.code)
        if suspicious and self._clock.correct(reply.headers.get("date")):
            return TransientError(f"{answer}: the clock was corrected by AWS's own", may_be_billed=False)
        return AnsweredError(answer)


def _trust(ca_file: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as exc:
        raise EndpointError(
            f"The certificates in {ca_file} cannot be used: {exc}",
            hint="Set AWS_CA_BUNDLE, or ca_bundle in the AWS config file, to a readable PEM file.",
        ) from exc


@asynccontextmanager
async def open_wire(session: AwsSession, clock: ServiceClock | None = None) -> AsyncIterator[Wire]:
    """Open the signed client for a session.

    Args:
        session: Gives keys, deadline and certificates.
        clock: Time for signatures; default this machine's.

    Raises:
        EndpointError: The file of certificates cannot be used.
    """
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEPALIVE_S, ssl=_trust(session.ca_file))
    timeout = aiohttp.ClientTimeout(
        total=session.timeout_s, sock_connect=session.timeout_s * _CONNECT_SHARE, ceil_threshold=float("inf")
    )
    async with aiohttp.ClientSession(
        connector=connector,
        timeout=timeout,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        headers=_HEADERS,
    ) as http:
        yield Wire(session, http, clock or ServiceClock())
