"""The signed HTTP client of the frequent operations: one attempt, one deadline, no retries.

Connections are direct (``http.pool``) unless a proxy is configured (``http.proxied``). ``transport_errors`` translates
every failure to get a complete response; a response with an error status is raised as ``ErrorResponseError``.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

from asyncfilter.aws.clients.error_response import ErrorResponseError, Operation, read_error_response
from asyncfilter.aws.clients.http import HttpRequest, HttpResponse, Pool, Proxied
from asyncfilter.aws.clients.http.message import COMMON, SMALL, ResponseLimit, head_lines
from asyncfilter.aws.clients.signing import EMPTY_SHA256, Keys, PreparedRequest, ServiceClock, Signer
from asyncfilter.aws.errors import CLOCK_CODES
from asyncfilter.aws.session import AwsSession, Endpoint
from asyncfilter.aws.transport_errors import TRANSPORT_FAILURES, transport_failure
from asyncfilter.errors import TransientError

_REACHED = ResponseLimit(SMALL.body_bytes, is_cut=True)
"""Any response shows that an endpoint responds."""


class PresignedPosts:
    """POSTs of one operation to one endpoint, which differ only in their body; made by ``SignedClient.posts``.

    Everything before the body is signed and encoded once a second, and again when the keys change.

    Args:
        operation: The operation.
        endpoint: The endpoint.
        headers: Further headers, by lower-case name; all are signed.
        signer: The signer for the endpoint's service and region.
        clock: The clock of the signer.
    """

    def __init__(
        self, operation: Operation, endpoint: Endpoint, headers: Mapping[str, str], signer: Signer, clock: ServiceClock
    ) -> None:
        self.operation = operation
        self.endpoint = endpoint
        self.headers = headers
        self._signer = signer
        self._clock = clock
        self._moment: tuple[tuple[str, str], Keys] | None = None
        self._prepared: PreparedRequest | None = None
        self._head = b""

    @property
    def signed(self) -> str:
        """The time that the last request was signed with."""
        return "" if self._moment is None else self._moment[0][0]

    def encode(self, keys: Keys, body: bytes) -> bytes:
        """The bytes to send for a body."""
        moment = self._clock.stamps(), keys
        if moment != self._moment or self._prepared is None:
            path = self.endpoint.base_path + "/"
            given = {"host": self.endpoint.host, **self.headers}
            self._prepared = self._signer.prepare(keys, method="POST", path=path, query="", headers=given)
            lines = head_lines("POST", path, self._prepared.headers)
            self._head = f"{lines}{COMMON}authorization: {self._prepared.authorization}".encode()
            self._moment = moment
        signature = self._prepared.signature(hashlib.sha256(body).hexdigest())
        return b"%b%b\r\ncontent-length: %d\r\n\r\n%b" % (self._head, signature.encode(), len(body), body)


class SignedClient:
    """Sends signed requests; made by ``open_signed_client``.

    Args:
        session: Provides the keys.
        pool: Sends the requests that go to a host directly.
        proxied: Sends the requests that go through a proxy.
        clock: Time for signatures.
    """

    def __init__(self, session: AwsSession, pool: Pool, proxied: Proxied, clock: ServiceClock) -> None:
        self._session = session
        self._pool = pool
        self._proxied = proxied
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
        limit: ResponseLimit = SMALL,
        extra_s: float = 0.0,
    ) -> HttpResponse:
        """Make one attempt and read its response to the end.

        Args:
            operation: The operation.
            where: The object of the request, for messages.
            endpoint: The endpoint.
            method: HTTP method.
            path: Percent-encoded path below the endpoint's own, sent as it is.
            query: From ``encode_query``.
            headers: Further headers, by lower-case name; all are signed.
            body: The body.
            limit: The bound on the response.
            extra_s: Time that the attempt may take beyond that of others, seconds.

        Raises:
            ErrorResponseError: The status of the response is 300 or higher.
            TransientError: No complete response was received.
            AccessError: No response is possible.
        """
        keys = await self._session.keys()
        full_path = endpoint.base_path + path
        sha256 = hashlib.sha256(body).hexdigest() if body else EMPTY_SHA256
        given = {"host": endpoint.host, **(headers or {})}
        if endpoint.service == "s3":
            given["x-amz-content-sha256"] = sha256
        signer = self._signer(endpoint)
        signed = signer.sign(keys, method=method, path=full_path, query=query, headers=given, payload_sha256=sha256)
        request = HttpRequest(method, f"{full_path}?{query}" if query else full_path, signed, body)
        try:
            reply = await self._exchange(endpoint, request, limit, extra_s)
        except TRANSPORT_FAILURES as exc:
            raise transport_failure(exc, f"{operation} on {where}") from exc
        return self._checked(reply, operation, where, signed["x-amz-date"])

    def posts(self, operation: Operation, endpoint: Endpoint, headers: Mapping[str, str]) -> PresignedPosts:
        """Prepare POSTs that differ only in their body; arguments are those of ``send``."""
        return PresignedPosts(operation, endpoint, headers, self._signer(endpoint), self._clock)

    async def post(self, posts: PresignedPosts, where: str, body: bytes) -> HttpResponse:
        """Make one attempt of a prepared POST; otherwise as ``send``.

        Args:
            posts: From ``posts`` of this client.
            where: The object of the request, for messages.
            body: The body.

        Raises:
            ErrorResponseError: As ``send``.
            TransientError: As ``send``.
            AccessError: As ``send``.
        """
        endpoint = posts.endpoint
        if endpoint.proxy is not None:
            return await self.send(posts.operation, where, endpoint, method="POST", headers=posts.headers, body=body)
        request = posts.encode(await self._session.keys(), body)
        signed = posts.signed  # read now: while this request is on its way, others are signed
        try:
            # Each of these POSTs is billed: only the engine, which reserves money for it, may repeat one.
            reply = await self._pool.exchange(endpoint.origin, request, SMALL, is_repeatable=False)
        except TRANSPORT_FAILURES as exc:
            raise transport_failure(exc, f"{posts.operation} on {where}") from exc
        return self._checked(reply, posts.operation, where, signed)

    async def reach(self, endpoint: Endpoint) -> HttpResponse:
        """The response of an endpoint; any shows that it responds, and no operation of the service is called.

        Raises:
            TransientError: No response; ``UnreachableError`` when there was no connection.
            EndpointError: No response is possible.
        """
        request = HttpRequest("GET", endpoint.base_path or "/", {"host": endpoint.host})
        try:
            return await self._exchange(endpoint, request, _REACHED)
        except TRANSPORT_FAILURES as exc:
            raise transport_failure(exc, f"{endpoint.service} at {endpoint.origin}") from exc

    def _exchange(
        self, endpoint: Endpoint, request: HttpRequest, limit: ResponseLimit, extra_s: float = 0.0
    ) -> Awaitable[HttpResponse]:
        if endpoint.proxy is not None:
            return self._proxied.exchange(endpoint.origin, endpoint.proxy, request, limit, extra_s=extra_s)
        return self._pool.exchange(
            endpoint.origin,
            request.encode(),
            limit,
            is_repeatable=request.is_repeatable,
            is_head=request.method == "HEAD",
            extra_s=extra_s,
        )

    def _checked(self, reply: HttpResponse, operation: Operation, where: str, signed: str) -> HttpResponse:
        if reply.status >= 300:
            raise self._error_of(operation, where, reply, signed)
        return reply

    def _signer(self, endpoint: Endpoint) -> Signer:
        scope = (endpoint.service, endpoint.region)
        if scope not in self._signers:
            self._signers[scope] = Signer(endpoint.service, endpoint.region, self._clock)
        return self._signers[scope]

    def _error_of(
        self, operation: Operation, where: str, reply: HttpResponse, signed: str
    ) -> ErrorResponseError | TransientError:
        """The error response; or a transient error, when this machine's clock was wrong and is corrected now."""
        response = read_error_response(operation, where, status=reply.status, headers=reply.headers, body=reply.body)
        # A response to HEAD has no body and so no error code: then any 403 may be due to the clock.
        suspicious = response.code in CLOCK_CODES or (reply.status == 403 and not response.code)
        if suspicious and self._clock.correct(reply.headers.get("date"), signed=signed):
            return TransientError(f"{response}: the clock is now corrected by AWS's time", may_be_billed=False)
        return ErrorResponseError(response)


@asynccontextmanager
async def open_signed_client(session: AwsSession, clock: ServiceClock | None = None) -> AsyncIterator[SignedClient]:
    """Open the signed client of a session.

    Args:
        session: Provides keys, deadline and certificates.
        clock: Time for signatures; default this machine's.
    """
    async with AsyncExitStack() as stack:
        pool = Pool(session.tls, timeout_s=session.timeout_s)
        stack.push_async_callback(pool.aclose)
        proxied = Proxied(session.tls, timeout_s=session.timeout_s)
        stack.push_async_callback(proxied.aclose)
        yield SignedClient(session, pool, proxied, clock or ServiceClock())
