"""One connection: a request out, an answer in, one at a time.

This is asyncio's Protocol and not an anyio stream, because a stream costs two task switches and several objects an
answer, as much as everything else together; httptools (llhttp) finds the answer's bounds. Invariants:

- An outcome is set exactly once for every request; what comes after it closes the connection.
- A connection is given back for use only when its last answer was whole, allowed it, and left nothing behind.
- What an answer may hold is bounded, its head apart.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeAlias, cast

import httptools

from asyncfilter.aws.clients.http.errors import BrokenError, UnsentError
from asyncfilter.aws.clients.http.message import HttpResponse

HEAD_LIMIT_BYTES = 64 * 1024
"""Status line and headers, interim answers included; AWS's are under 2 KB."""

RESPONSE_LIMIT_BYTES = 32 * 1024 * 1024
"""A whole answer; a page of 1,000 keys of 1,024 bytes, each byte percent-encoded, has under 4 MB."""

BUFFER_BYTES = 64 * 1024
"""What is read at a time, into memory that a pool's connections share.

A plain Protocol is handed bytes that were allocated for 256 KB and shrunk, which tears holes into the heap: the process
grows as long as it runs.
"""

Outcome: TypeAlias = HttpResponse | Exception
"""An answer, or why there is none: a future's own exception would be logged when its waiter was cancelled."""

_LENGTHS = frozenset({b"content-length", b"transfer-encoding"})


class Connection(asyncio.BufferedProtocol):
    """A connection of a ``Pool``.

    Args:
        loop: The loop it belongs to.
        on_lost: Called with itself once it is closed, whoever closed it.
        buffer: What is read into, shared by connections of one loop: nothing stays in it after ``buffer_updated``.

    Attributes:
        idle_since_s: Loop time of the last answer's end; for the pool.
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
        self._outcome: asyncio.Future[Outcome] | None = None
        self._is_head = False
        self._received_bytes = 0
        self._status = 0
        self._fields: list[tuple[bytes, bytes]] = []
        self._lines: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []
        self._is_reusable = False

    @property
    def is_open(self) -> bool:
        """Whether it was not lost yet; it may be closing."""
        return self._transport is not None

    @property
    def is_reusable(self) -> bool:
        """Whether another request can be sent."""
        return self._is_reusable and self._transport is not None and not self._transport.is_closing()

    def send(self, request: bytes, *, is_head: bool) -> asyncio.Future[Outcome]:
        """Send a request; the future is given what comes of it.

        Args:
            request: Head and body.
            is_head: The method is HEAD: the answer has no body, whatever its headers say.

        Raises:
            UnsentError: The connection was closed already, or the system refused the first byte.
        """
        transport = self._transport
        if transport is None or transport.is_closing():
            raise UnsentError
        self._outcome = outcome = self._loop.create_future()
        self._is_head = is_head
        self._is_reusable = False
        self._received_bytes = self._status = 0
        self._lines = []
        self._body = []
        if self._parser is None:
            self._parser = httptools.HttpResponseParser(self)
        transport.write(request)
        if transport.is_closing():
            raise UnsentError
        return outcome

    def expire(self) -> None:
        """End the exchange because its deadline has passed."""
        self._end(TimeoutError())

    def abort(self) -> None:
        """Close at once, whatever is under way."""
        self._is_reusable = False
        if self._transport is not None:
            self._transport.abort()

    # asyncio.BufferedProtocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is open."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but name

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  the protocol's signature
        """Where the next bytes go."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """So many bytes have come."""
        self.data_received(self._buffer[:nbytes])

    def data_received(self, data: bytes | memoryview) -> None:
        """Read on; bytes that nobody asked for close the connection."""
        if self._parser is None:
            self.abort()
            return
        self._received_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as exc:
            self._end(BrokenError(f"not an HTTP answer: {exc}"))
        if self._received_bytes > (RESPONSE_LIMIT_BYTES if self._status else HEAD_LIMIT_BYTES):
            self._end(BrokenError(f"an answer without end: {self._received_bytes} bytes"))

    def eof_received(self) -> None:
        """An answer without a length ends with its connection; any other one is cut."""
        if self._status and not any(name.lower() in _LENGTHS for name, _ in self._fields):
            self._answered(keep_alive=False)

    def connection_lost(self, exc: Exception | None) -> None:
        """Whoever waits for an answer will get none."""
        self._transport = self._parser = None
        said = str(exc or "") or ("closed in the middle of the answer" if self._received_bytes else "closed")
        self._end(BrokenError(said, is_silent=not self._received_bytes))
        self._on_lost(self)

    # httptools callbacks

    def on_message_begin(self) -> None:
        """An answer begins; one that follows a whole one was not asked for."""
        if self._outcome is None:
            self.abort()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header, or a trailer, which nobody will read."""
        self._lines.append((name, value))

    def on_headers_complete(self) -> None:
        """Keep the head unless it is that of an interim answer."""
        parser = self._parser
        lines, self._lines = self._lines, []
        if parser is None or (status := parser.get_status_code()) < 200 or self._status:
            return
        self._status, self._fields = status, lines
        if self._is_head:
            self._parser = None  # this one waits for a body that does not come
            self._answered(keep_alive=parser.should_keep_alive())

    def on_body(self, body: bytes) -> None:
        """Keep a piece of the body; after HEAD there is none."""
        self._body.append(body)
        if self._is_head:
            self.abort()

    def on_message_complete(self) -> None:
        """The answer is whole, unless it was an interim one or is known already."""
        if self._status and self._parser is not None:
            self._answered(keep_alive=self._parser.should_keep_alive())

    # the end of an exchange

    def _answered(self, *, keep_alive: bool) -> None:
        body, self._body = self._body, []
        fields, self._fields = self._fields, []
        if self._outcome is not None:
            self._is_reusable = keep_alive
            self._resolve(HttpResponse(self._status, fields, body[0] if len(body) == 1 else b"".join(body)))

    def _end(self, failure: Exception) -> None:
        self._resolve(failure)
        self.abort()

    def _resolve(self, what: Outcome) -> None:
        """Settle the request under way, if there is one; nothing of it stays here while the connection is idle."""
        outcome, self._outcome = self._outcome, None
        if outcome is not None and not outcome.done():
            outcome.set_result(what)
