"""The event stream of the page: what others decided, leases, counts, the run, and an apply."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from aiohttp import web

from asyncfilter.review.gate import Call
from asyncfilter.review.replies import NEVER, STRICT_HEADERS, Refusal

MOST_STREAMS = 64
_WAITING_EVENTS = 1000
"""Events that wait for one reader; one that is slower is cut off, connects again, and asks for what it needs."""
_BEAT_S = 15.0
"""A comment is sent when nothing else was for so long, so that a connection that is gone is noticed."""


class Events:
    """All streams that are open."""

    def __init__(self) -> None:
        self._queues: set[asyncio.Queue[bytes | None]] = set()
        self._is_closed = False

    def send(self, kind: str, data: dict[str, Any]) -> None:
        """Send an event to every stream."""
        event = b"event: " + kind.encode() + b"\ndata: " + msgspec.json.encode(data) + b"\n\n"
        for queue in tuple(self._queues):
            try:
                queue.put_nowait(event)
            except asyncio.QueueFull:
                self._queues.discard(queue)
                _end(queue)

    @property
    def has_readers(self) -> bool:
        """Whether a page is open."""
        return bool(self._queues)

    def close(self) -> None:
        """End all streams."""
        self._is_closed = True
        for queue in tuple(self._queues):
            _end(queue)

    async def serve(self, call: Call, *first: tuple[str, dict[str, Any]]) -> web.StreamResponse:
        """Send events until the reader or the server goes; ``first`` are for this reader alone.

        Raises:
            Refusal: There are too many streams.
        """
        if len(self._queues) >= MOST_STREAMS or self._is_closed:
            raise Refusal(503, "busy", "There are too many open pages.", {"Retry-After": "5"})
        headers = {**STRICT_HEADERS, "Cache-Control": NEVER, "Content-Type": "text/event-stream"}
        reply = web.StreamResponse(headers=headers)
        with self._subscribed() as queue:
            await reply.prepare(call.request)
            for kind, data in first:
                await reply.write(b"event: " + kind.encode() + b"\ndata: " + msgspec.json.encode(data) + b"\n\n")
            async for event in _beating(queue):
                await reply.write(event)
        return reply

    @contextmanager
    def _subscribed(self) -> Iterator[asyncio.Queue[bytes | None]]:
        queue: asyncio.Queue[bytes | None] = asyncio.Queue(_WAITING_EVENTS)
        self._queues.add(queue)
        try:
            yield queue
        finally:
            self._queues.discard(queue)


async def _beating(queue: asyncio.Queue[bytes | None]) -> AsyncIterator[bytes]:
    while True:
        try:
            event = await asyncio.wait_for(queue.get(), _BEAT_S)
        except TimeoutError:
            yield b": \n\n"
            continue
        if event is None:
            return
        yield event


def _end(queue: asyncio.Queue[bytes | None]) -> None:
    while queue.full():
        queue.get_nowait()
    queue.put_nowait(None)
