"""The messages that wait for the next frame to a worker."""

from __future__ import annotations

import anyio
import msgspec

from asyncfilter.clock import Clock
from asyncfilter.errors import NotSentError
from asyncfilter.fleet import messages
from asyncfilter.fleet.transit import BATCH_S
from asyncfilter.fleet.wires import HEARTBEAT_S

_FRAME_ASKS = 32
"""An attempt goes with the frame that is being filled anyway, while that has fewer messages: what Ray takes for a frame
is some times what the head takes for an attempt."""


class Outbox:
    """The messages of one link that are not sent yet, oldest first.

    Args:
        clock: Sleeps while a frame is filled.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: list[msgspec.Raw] = []
        self._is_urgent = False
        self._asked = anyio.Event()

    @property
    def gathers(self) -> bool:
        """Whether a frame is being filled that has room for one more attempt."""
        return 0 < len(self._waiting) < _FRAME_ASKS and self._is_urgent

    def begin(self, greeting: messages.Greet) -> None:
        """Begin a session: the greeting is the first message."""
        self._waiting = [messages.encode(greeting)]
        self._is_urgent = True

    def put(self, message: messages.HeadMessage, *, is_urgent: bool = True) -> msgspec.Raw:
        """Send a message: soon, or where that can wait with the next frame, of which one goes each ``HEARTBEAT_S``.

        Raises:
            NotSentError: It fits into no frame.
        """
        try:
            raw = messages.encode(message)
        except (messages.FrameError, UnicodeEncodeError) as exc:
            raise NotSentError(f"an ask cannot be sent: {exc}") from exc
        self._waiting.append(raw)
        if is_urgent and not self._is_urgent:
            self._is_urgent = True
            self._asked.set()
        return raw

    async def next(self) -> list[msgspec.Raw]:
        """The messages of the next frame, once it is to be sent; none where there is only to be shown that we live."""
        if not self._is_urgent:
            self._asked = anyio.Event()
            with anyio.move_on_after(HEARTBEAT_S):
                await self._asked.wait()
                await self._clock.sleep(BATCH_S)
        fitting = messages.take_fitting(self._waiting)
        self._is_urgent = bool(self._waiting)
        return fitting

    def drop(self) -> set[int]:
        """Drop what was not sent, and return the ``id`` of each of these messages."""
        dropped, self._waiting = {id(raw) for raw in self._waiting}, []
        return dropped
