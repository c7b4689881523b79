"""One connection: one request and its response at a time.

This is an asyncio Protocol and not an anyio stream, because a stream costs two task switches and several objects per
response, as much as everything else together. httptools (llhttp) parses the response. Invariants:

- An outcome is set exactly once for every request; bytes received after it close the connection.
- A connection is reusable only when its last response was complete, allowed reuse, and left no bytes unread.
- The size of a response is bounded, with a separate bound for its head.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeAlias, cast

import httptools

from asyncfilter.aws.clients.http.errors import BrokenError, UnsentError
from asyncfilter.aws.clients.http.gate import check_may_send
from asyncfilter.aws.clients.http.message import HttpResponse, ResponseLimit

HEAD_LIMIT_BYTES = 64 * 1024
"""Most bytes of status line and headers, interim responses included; AWS's are under 2 KB."""

ERROR_LIMIT_BYTES = 64 * 1024
"""Bytes of the body of an error that are kept; AWS's are under 2 KB."""

BUFFER_BYTES = 64 * 1024
"""Most bytes read at a time, into a buffer that a pool's connections share.

A plain Protocol receives bytes objects that were allocated with 256 KB and then shrunk. That fragments the heap, and
the process grows as long as it runs.
"""

HttpOutcome: TypeAlias = HttpResponse | Exception
"""A response, or the failure as a value: asyncio would log a future's exception after its waiter was cancelled."""

_LENGTHS = frozenset({b"content-length", b"transfer-encoding"})


class Connection(asyncio.BufferedProtocol):
    """A connection of a ``Pool``.

    Args:
        loop: The loop it belongs to.
        on_lost: Called with the connection once it is closed, by either side.
        buffer: The buffer to read into, shared by the connections of one loop; its content is consumed in
            ``buffer_updated``.

    Attributes:
        idle_since_s: Loop time of the end of the last response; set by the pool.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, on_lost: Callable[[Connection], None], buffer: memoryview
    ) -> None:
        self.idle_since_s = 0.0
        self._loop = loop
        self._on_lost = on_lost
        self._buffer = buffer
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._outcome: asyncio.Future[HttpOutcome] | None = None
        self._is_head = False
        self._received_bytes = 0
        self._limit = ResponseLimit(0)
        self._status = 0
        self._fields: list[tuple[bytes, bytes]] = []
        self._lines: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []
        self._is_reusable = False

    @property
    def is_open(self) -> bool:
        """Whether the connection is not lost yet; it may be closing."""
        return self._transport is not None

    @property
    def is_reusable(self) -> bool:
        """Whether another request can be sent."""
        return self._is_reusable and self._transport is not None and not self._transport.is_closing()

    def send(self, request: bytes, limit: ResponseLimit, *, is_head: bool) -> asyncio.Future[HttpOutcome]:
        """Send a request; the future receives its outcome.

        Args:
            request: Head and body.
            limit: The bound on the response.
            is_head: The method is HEAD: the response has no body, regardless of its headers.

        Raises:
            UnsentError: The connection was closed already, or the first write failed.
            NotSentError: The condition of ``sent_only_if`` does not hold.
        """
        transport = self._transport
        if transport is None or transport.is_closing():
            raise UnsentError
        self._outcome = outcome = self._loop.create_future()
        self._is_head = is_head
        self._limit = limit
        self._is_reusable = False
        self._received_bytes = self._status = 0
        self._lines = []
        self._body = []
        if self._parser is None:
            self._parser = httptools.HttpResponseParser(self)
        check_may_send()
        transport.write(request)
        # The transport tries the first write at once: if that fails, no byte has left and the request is not billed.
        if transport.is_closing():
            raise UnsentError
        return outcome

    def expire(self) -> None:
        """End the exchange because its deadline has passed."""
        self._end(TimeoutError())

    def abort(self) -> None:
        """Close at once, even during an exchange."""
        self._is_reusable = False
        if self._transport is not None:
            self._transport.abort()

    # asyncio.BufferedProtocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is open."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one by interface, not by inheritance

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  the protocol's signature
        """The buffer for the next bytes."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Process the bytes received."""
        self.data_received(self._buffer[:nbytes])

    def data_received(self, data: bytes | memoryview) -> None:
        """Parse the bytes received; bytes without a request close the connection."""
        if self._parser is None:
            self.abort()
            return
        self._received_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as exc:
            self._end(BrokenError(f"not an HTTP response: {exc}"))
        if self._received_bytes > HEAD_LIMIT_BYTES and self._outcome is not None:
            self._check_limit()

    def eof_received(self) -> None:
        """Complete a response without a length, which ends with its connection; any other response is truncated."""
        if self._status and not any(name.lower() in _LENGTHS for name, _ in self._fields):
            self._completed(keep_alive=False)

    def connection_lost(self, exc: Exception | None) -> None:
        """End the exchange, if there is one, without a response."""
        self._transport = self._parser = None
        cause = str(exc or "") or ("closed in the middle of the response" if self._received_bytes else "closed")
        self._end(BrokenError(cause, is_silent=not self._received_bytes))
        self._on_lost(self)

    # httptools callbacks

    def on_message_begin(self) -> None:
        """A response begins; one without a request closes the connection."""
        if self._outcome is None:
            self.abort()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header, or a trailer, which is never read."""
        self._lines.append((name, value))

    def on_headers_complete(self) -> None:
        """Keep the head, unless it is that of an interim response."""
        parser = self._parser
        lines, self._lines = self._lines, []
        if parser is None or (status := parser.get_status_code()) < 200 or self._status:
            return
        self._status, self._fields = status, lines
        if self._is_head:
            # The next `send` makes a new one, whose state has nothing of this response.
            self._parser = None  # this parser expects a body, and a response to HEAD has none
            self._completed(keep_alive=parser.should_keep_alive())

    def on_body(self, body: bytes) -> None:
        """Keep a piece of the body; after HEAD there is none."""
        self._body.append(body)
        if self._is_head:
            self.abort()

    def on_message_complete(self) -> None:
        """The response is complete, unless it was an interim one or was completed before."""
        if self._status and self._parser is not None:
            self._completed(keep_alive=self._parser.should_keep_alive())

    # the end of an exchange

    def _check_limit(self) -> None:
        """End a response that is larger than the request allows: without its rest, or as broken."""
        limit = self._limit
        if self._status >= 300:
            limit = ResponseLimit(ERROR_LIMIT_BYTES, is_cut=True)
        most_bytes = HEAD_LIMIT_BYTES + (limit.body_bytes if self._status else 0)
        if self._received_bytes <= most_bytes:
            return
        if self._status and limit.is_cut:
            self._body = [b"".join(self._body)[: limit.body_bytes]]
            self._completed(keep_alive=False)
            self.abort()
        else:
            self._end(BrokenError(f"a response of more than {most_bytes} bytes"))

    def _completed(self, *, keep_alive: bool) -> None:
        body, self._body = self._body, []
        fields, self._fields = self._fields, []
        if self._outcome is not None:
            self._is_reusable = keep_alive
            self._resolve(HttpResponse(self._status, fields, body[0] if len(body) == 1 else b"".join(body)))

    def _end(self, failure: Exception) -> None:
        # Resolved first: `connection_lost`, which follows the abort, would set a less precise cause.
        self._resolve(failure)
        self.abort()

    def _resolve(self, what: HttpOutcome) -> None:
        """Set the outcome of the request in flight, if there is one; an idle connection holds nothing of it."""
        outcome, self._outcome = self._outcome, None
        if outcome is not None and not outcome.done():
            outcome.set_result(what)
