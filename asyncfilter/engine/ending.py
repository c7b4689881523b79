"""How a run comes to its end: the first reason wins, and everyone who waits is told at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import anyio

from asyncfilter.errors import AsyncFilterError
from asyncfilter.model import StopReason


class StopRequest(NamedTuple):
    """A reason to end a run, and its cause where the reason is an error."""

    reason: StopReason
    cause: AsyncFilterError | None


class Ending:
    """The one place that knows whether the run still admits work.

    Stopping is data: whoever finds a reason requests the end and goes on; the pipeline then drains.
    """

    def __init__(self) -> None:
        self.reason: StopReason | None = None
        self.error: AsyncFilterError | None = None
        self.is_hasty = False
        """True when released actions shall not be waited for either: the user is leaving, or nothing can be kept."""
        self._event = anyio.Event()
        self._haste = anyio.Event()
        self._listeners: list[Callable[[], None]] = []

    @property
    def is_requested(self) -> bool:
        """True from the first request on."""
        return self.reason is not None

    def request(self, reason: StopReason, error: AsyncFilterError | None = None) -> None:
        """End the run for ``reason``; later requests change nothing but the haste."""
        if reason in (StopReason.INTERRUPTED, StopReason.FAILED):
            self.is_hasty = True
            self._haste.set()
        if self.reason is not None:
            return
        self.reason, self.error = reason, error
        self._event.set()
        for listener in self._listeners:
            listener()

    def on_request(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` when the end is requested; at once when it was."""
        self._listeners.append(listener)
        if self.is_requested:
            listener()

    async def wait(self) -> None:
        """Return when the end is requested."""
        await self._event.wait()

    async def follow(self, interrupt: Interrupt, scope: anyio.CancelScope) -> None:
        """Request the end when the user asks to leave, and cancel ``scope`` when that is asked for again."""
        await interrupt.drain.wait()
        self.request(interrupt.reason)
        await interrupt.abort.wait()
        scope.cancel()

    async def pause(self, delay_s: float) -> bool:
        """Wait ``delay_s`` seconds; False, at once, when the end is requested."""
        return await _pause_unless(self._event, delay_s)

    async def pause_action(self, delay_s: float) -> bool:
        """Wait ``delay_s`` seconds; False, at once, when the end is requested in haste.

        Actions released before an ordinary stop are carried out: they belong to the images before it.
        """
        return await _pause_unless(self._haste, delay_s)


class Interrupt:
    """A user's wish to end a run: once to drain, twice to abort.

    Pass one to ``run`` and call ``request`` from a signal handler, another task of the same loop, or a notebook cell.

    Attributes:
        reason: What a run that drains for it is said to have ended for.
    """

    def __init__(self) -> None:
        self.drain = anyio.Event()
        self.abort = anyio.Event()
        self.reason = StopReason.INTERRUPTED

    def request(self) -> None:
        """Drain; abort when that was asked for already."""
        (self.abort if self.drain.is_set() else self.drain).set()

    def enough(self) -> None:
        """Drain, unless that was asked for already, as at the end of the listing: what was wanted is done."""
        if not self.drain.is_set():
            self.reason = StopReason.COMPLETED
            self.drain.set()


async def _pause_unless(event: anyio.Event, delay_s: float) -> bool:
    """Wait ``delay_s`` seconds; False, at once, when ``event`` is set."""
    with anyio.move_on_after(delay_s):
        await event.wait()
    return not event.is_set()
