"""HTTP/1.1 on an asyncio Protocol: keep-alive, pipelining, and responses that are cut, reset or never sent.

Requests of one connection are answered one at a time, in the order of arrival. Connections are independent.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from email.utils import formatdate
from http import HTTPStatus
from typing import Final, Protocol, cast

import httptools

from asyncfilter.sandbox.message import Delivery, Reply, Request

Respond = Callable[[Reply], None]
MAX_WAITING: Final = 64
"""Number of queued, pipelined requests of one connection from which on its socket is not read."""


class Application(Protocol):
    """Receives the requests of connections."""

    def accept(self, request: Request, answer: Respond) -> None:
        """Process a request; calls ``answer`` exactly once, now or later, on the loop's thread."""
        ...


_STATUS_LINES: Final = {s.value: f"HTTP/1.1 {s.value} {s.phrase}\r\n".encode() for s in HTTPStatus}
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


class _DateLine:
    """The Date header, formatted once a second."""

    def __init__(self) -> None:
        self._second = 0
        self._line = b""

    def __call__(self) -> bytes:
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._line = f"Date: {formatdate(second, usegmt=True)}\r\n".encode()
        return self._line


_date_line = _DateLine()


class HttpConnection(asyncio.Protocol):
    """One client connection."""

    def __init__(self, application: Application, connections: set[HttpConnection]) -> None:
        self._application = application
        self._connections = connections
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[tuple[Request, bool]] = deque()
        self._busy = False
        self._advancing = False
        self._keep_alive = True
        self._paused = False
        self._target = b""
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start serving."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's has the methods but not the base class
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Remove the connection; a pending response is discarded."""
        del exc
        self._transport = None
        self._connections.discard(self)

    def data_received(self, data: bytes) -> None:
        """Feed the parser; invalid HTTP gets status 400, and the connection is closed."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            if self._transport is not None:
                self._transport.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                self._transport.close()

    # httptools callbacks

    def on_url(self, url: bytes) -> None:
        """Collect the target, which may arrive in pieces."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect a header."""
        name = name.lower()
        held = self._headers.get(name)
        self._headers[name] = value if held is None else held + b"," + value

    def on_headers_complete(self) -> None:
        """Send ``100 Continue`` if the client expects it before it sends the body."""
        if b"expect" in self._headers and not self._busy and self._transport is not None:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """Collect a piece of the body."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """Queue the request and start the next one."""
        parser = self._parser
        request = Request(parser.get_method().decode("ascii"), self._target, self._headers, b"".join(self._body))
        self._target, self._headers, self._body = b"", {}, []
        self._waiting.append((request, parser.should_keep_alive()))
        if len(self._waiting) >= MAX_WAITING and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        self._advance()

    # answering

    def _advance(self) -> None:
        """Start the next request if none is being processed; a nested call returns at once."""
        if self._advancing:
            return
        self._advancing = True
        try:
            while self._waiting and not self._busy:
                request, self._keep_alive = self._waiting.popleft()
                self._busy = True
                self._application.accept(request, self._answer)
        finally:
            self._advancing = False
        if self._paused and not self._waiting and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()

    def _answer(self, reply: Reply) -> None:
        """Send a reply as its ``delivery`` requires: whole, cut, with a reset, or not at all."""
        if self._transport is None or reply.delivery is Delivery.SILENCE:
            return
        if reply.delivery is Delivery.RESET:
            self._reset()
            return
        self._write(self._transport, reply)
        if not self._keep_alive or reply.delivery is Delivery.CUT:
            self._transport.close()
            return
        self._busy = False
        self._advance()

    def _write(self, transport: asyncio.Transport, reply: Reply) -> None:
        length = len(reply.body) if reply.length_bytes is None else reply.length_bytes
        body = reply.body[: len(reply.body) // 2] if reply.delivery is Delivery.CUT else reply.body
        transport.write(
            b"".join(
                (
                    _STATUS_LINES[reply.status],
                    reply.headers,
                    _date_line(),
                    b"" if self._keep_alive else b"Connection: close\r\n",
                    b"" if reply.status in {204, 304} else b"Content-Length: %d\r\n" % length,
                    b"\r\n",
                    body,
                )
            )
        )

    def _reset(self) -> None:
        """Close the connection so that the client gets ECONNRESET, not an orderly end."""
        if self._transport is None:
            return
        connection = self._transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._transport.abort()

    def close(self) -> None:
        """Close at once, also if a response is pending."""
        if self._transport is not None:
            self._transport.abort()
