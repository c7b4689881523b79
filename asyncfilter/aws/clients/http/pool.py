"""Direct connections, kept alive and reused.

The connection used last is reused first, so that as few as possible stay in use and the others reach their idle limit
and are closed. Their number has no limit here: the engine bounds the calls in flight. Invariants:

- A deadline covers a whole exchange: connecting, sending and reading to the end. A response that has arrived is read
  before its deadline expires, however long the process stood still.
- A cancelled exchange closes its connection.
- A request is sent again only when it certainly did not arrive, or once when it is repeatable.
"""

from __future__ import annotations

import asyncio
import math
import ssl
from collections import defaultdict, deque
from urllib.parse import urlsplit

import anyio
import anyio.lowlevel

from asyncfilter.aws.clients.http.connecting import connected
from asyncfilter.aws.clients.http.connection import BUFFER_BYTES, Connection
from asyncfilter.aws.clients.http.errors import (
    AddressError,
    BrokenError,
    NoConnectionError,
    UnsentError,
    UntrustedError,
)
from asyncfilter.aws.clients.http.message import HttpResponse, ResponseLimit
from asyncfilter.aws.deadline import Deadline, fail_after

KEEPALIVE_S = 12.0
"""Idle connections are closed before AWS closes them, so that a request seldom gets a closed one; as in aiobotocore."""

_CLOSING_S = 1.0
"""Longest wait for the loop to close aborted connections, seconds; it takes two or three iterations."""


class Pool:
    """Makes exchanges; belongs to one event loop.

    Args:
        tls: The trusted certificates.
        timeout_s: Seconds one exchange may take.
        keepalive_s: Seconds a connection may be idle.
    """

    def __init__(self, tls: ssl.SSLContext, *, timeout_s: float, keepalive_s: float = KEEPALIVE_S) -> None:
        self._tls = tls
        self._timeout_s = timeout_s
        self._keepalive_s = keepalive_s
        self._loop = asyncio.get_running_loop()
        self._open: set[Connection] = set()
        self._buffer = memoryview(bytearray(BUFFER_BYTES))
        self._idle: defaultdict[str, deque[Connection]] = defaultdict(deque)
        self._sweep: asyncio.TimerHandle | None = None
        self._deadlines_s: dict[Connection, float] = {}
        self._next_deadline_s = math.inf
        self._watching: Deadline | None = None

    async def exchange(
        self,
        origin: str,
        request: bytes,
        limit: ResponseLimit,
        *,
        is_repeatable: bool,
        is_head: bool = False,
        extra_s: float = 0.0,
    ) -> HttpResponse:
        """Send a request and read its response to the end.

        Args:
            origin: Scheme, host and port, without a path.
            request: Head and body.
            limit: The bound on the response.
            is_repeatable: The request may be sent again when a reused connection breaks before any byte of a response.
            is_head: The method is HEAD.
            extra_s: Time beyond the deadline of other exchanges, seconds.

        Raises:
            ExchangeError: No complete response was received.
            TimeoutError: There was a connection, but no complete response in time.
        """
        deadline_s = self._loop.time() + self._timeout_s + extra_s
        while (connection := self._kept(origin)) is not None:
            try:
                return await self._over(connection, origin, request, limit, deadline_s, is_head=is_head)
            except UnsentError:
                # Nothing arrived, so any request may go over the next kept connection.
                continue
            except BrokenError as exc:
                # The request may have arrived: it is sent again only if repeating it is harmless, and then over a new
                # connection, because the server may have closed every idle one.
                if not (is_repeatable and exc.is_silent):
                    raise
                break
        connection = await self._connect(origin, deadline_s)
        return await self._over(connection, origin, request, limit, deadline_s, is_head=is_head)

    @property
    def connections(self) -> int:
        """Open connections, busy and idle."""
        return len(self._open)

    async def aclose(self) -> None:
        """Close every connection."""
        if self._sweep is not None:
            self._sweep.cancel()
        if self._watching is not None:
            self._watching.cancel()
        for connection in list(self._open):
            connection.abort()
        with anyio.move_on_after(_CLOSING_S, shield=True):
            while self._open:
                await anyio.lowlevel.checkpoint()

    async def _over(
        self,
        connection: Connection,
        origin: str,
        request: bytes,
        limit: ResponseLimit,
        deadline_s: float,
        *,
        is_head: bool,
    ) -> HttpResponse:
        try:
            response = connection.send(request, limit, is_head=is_head)
            self._deadlines_s[connection] = deadline_s
            if deadline_s < self._next_deadline_s:
                self._watch(deadline_s)
            try:
                outcome = await response
            finally:
                del self._deadlines_s[connection]
        except BaseException:
            # A response that arrives later would be taken for that of the next request.
            connection.abort()
            raise
        if isinstance(outcome, Exception):
            raise outcome
        if connection.is_reusable:
            self._keep(origin, connection)
        else:
            connection.abort()
        return outcome

    # deadlines: one timer for all exchanges, since most have the same length and hardly any expires

    def _watch(self, next_deadline_s: float) -> None:
        if self._watching is not None:
            self._watching.cancel()
        self._next_deadline_s = next_deadline_s
        self._watching = Deadline(next_deadline_s, self._timeout_s, self._expire)

    def _expire(self, now_s: float) -> None:
        """End the exchanges whose deadline had passed at ``now_s``, and wait for the next deadline."""
        self._watching, self._next_deadline_s = None, math.inf
        for connection, deadline_s in list(self._deadlines_s.items()):
            if deadline_s <= now_s:
                connection.expire()
        left_s = [deadline_s for deadline_s in self._deadlines_s.values() if deadline_s > now_s]
        if left_s:
            self._watch(min(left_s))

    # idle connections

    def _keep(self, origin: str, connection: Connection) -> None:
        connection.idle_since_s = self._loop.time()
        self._idle[origin].append(connection)
        if self._sweep is None:
            self._sweep = self._loop.call_later(self._keepalive_s, self._drop_old)

    def _kept(self, origin: str) -> Connection | None:
        idle = self._idle[origin]
        while idle:
            connection = idle.pop()
            if connection.is_reusable and self._loop.time() - connection.idle_since_s < self._keepalive_s:
                return connection
            connection.abort()
        return None

    def _drop_old(self) -> None:
        """Close connections that were idle for too long; the oldest are on the left."""
        oldest_s = self._loop.time() - self._keepalive_s
        for idle in self._idle.values():
            while idle and (idle[0].idle_since_s <= oldest_s or not idle[0].is_reusable):
                idle.popleft().abort()
        any_left = any(self._idle.values())
        self._sweep = self._loop.call_later(self._keepalive_s / 2, self._drop_old) if any_left else None

    # new connections

    async def _connect(self, origin: str, deadline_s: float) -> Connection:
        host, port, is_tls = _address(origin)
        try:
            with fail_after(deadline_s - self._loop.time()):
                _, connection = await self._loop.create_connection(
                    lambda: Connection(self._loop, self._open.discard, self._buffer),
                    sock=await connected(host, port),
                    ssl=self._tls if is_tls else None,
                    # Certificates have names without the dot that makes a name absolute.
                    server_hostname=host.rstrip(".") if is_tls else None,
                )
        except ssl.SSLCertVerificationError as exc:
            raise UntrustedError(origin, exc) from exc
        except TimeoutError as exc:
            raise NoConnectionError(f"{origin}: not in time") from exc
        except OSError as exc:
            raise NoConnectionError(f"{origin}: {exc}") from exc
        except UnicodeError as exc:  # the name is not valid in the DNS
            raise AddressError(f"{origin}: {exc}") from exc
        # A connection may be lost by now: `on_lost` was called before it was in the set, and would never remove it.
        if connection.is_open:
            self._open.add(connection)
        return connection


def _address(origin: str) -> tuple[str, int, bool]:
    parts = urlsplit(origin)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise AddressError(f"{origin!r} is not http:// or https:// and a host")
    is_tls = parts.scheme == "https"
    return parts.hostname, parts.port or (443 if is_tls else 80), is_tls
