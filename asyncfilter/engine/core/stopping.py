"""How a run ends: the first stop reason wins, and every waiting task is woken at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import anyio
import anyio.lowlevel

from asyncfilter.errors import AsyncFilterError, StateAwayError
from asyncfilter.model import StopReason
from asyncfilter.ports.keeping import KeptState


class StopRequest(NamedTuple):
    """A reason to end a run, and its cause where the reason is an error."""

    reason: StopReason
    cause: AsyncFilterError | None


class StopSignal:
    """The state that decides whether the run still admits work.

    A stop is data, not an exception: the part that finds a reason calls ``request`` and continues; the pipeline then
    drains.
    """

    def __init__(self) -> None:
        self.reason: StopReason | None = None
        self.error: AsyncFilterError | None = None
        self.is_immediate = False
        """True when released actions are not waited for either: the user interrupted, or the run failed."""
        self._event = anyio.Event()
        self._immediate = anyio.Event()
        self._listeners: list[Callable[[], None]] = []

    @property
    def is_requested(self) -> bool:
        """True from the first request on."""
        return self.reason is not None

    def request(self, reason: StopReason, error: AsyncFilterError | None = None) -> None:
        """End the run for ``reason``. A later request does not change the reason; it may set ``is_immediate``."""
        # Before the return below: a later interrupt or failure makes a drain that has begun immediate.
        if reason in (StopReason.INTERRUPTED, StopReason.FAILED):
            self.is_immediate = True
            self._immediate.set()
        if self.reason is not None:
            return
        # Set first: the listeners run inside this call and may read the reason.
        self.reason, self.error = reason, error
        self._event.set()
        for listener in self._listeners:
            listener()

    def on_request(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` when the end is requested; immediately when it was requested before."""
        self._listeners.append(listener)
        if self.is_requested:
            listener()

    async def wait(self) -> None:
        """Return when the end is requested."""
        await self._event.wait()

    async def follow(self, interrupt: Interrupt, scope: anyio.CancelScope) -> None:
        """Request the end at the first ``interrupt``, and cancel ``scope`` at the second."""
        await interrupt.drain.wait()
        self.request(interrupt.reason)
        await interrupt.abort.wait()
        scope.cancel()

    async def follow_state(self, state: KeptState) -> None:
        """Request the end when the state in S3 is lost, or its store was away for too long."""
        error = await state.wait_end()
        is_unreachable = isinstance(error, StateAwayError)
        self.request(StopReason.INTERRUPTED if is_unreachable else StopReason.FAILED, error)

    async def pause(self, delay_s: float) -> bool:
        """Wait ``delay_s`` seconds; False, at once, when the end is requested."""
        return await _pause_unless(self._event, delay_s)

    async def pause_action(self, delay_s: float) -> bool:
        """Wait ``delay_s`` seconds; False, at once, when an immediate end is requested (``is_immediate``).

        Other stops do not cut it short: actions released before a stop belong to images before it and are carried out.
        """
        return await _pause_unless(self._immediate, delay_s)


class Interrupt:
    """A user's wish to end a run: once to drain, twice to abort.

    Pass one to ``run`` and call ``request`` from a signal handler, another task of the same loop, or a notebook cell.

    Attributes:
        reason: The stop reason of a run that drains because of it.
    """

    def __init__(self) -> None:
        self.drain = anyio.Event()
        self.abort = anyio.Event()
        self.reason = StopReason.INTERRUPTED

    def request(self) -> None:
        """Request a drain; an abort when a drain was requested before."""
        (self.abort if self.drain.is_set() else self.drain).set()

    def finish(self) -> None:
        """Request a drain with the reason ``COMPLETED``, as at the end of the listing; no effect after ``request``."""
        if not self.drain.is_set():
            self.reason = StopReason.COMPLETED
            self.drain.set()


async def _pause_unless(event: anyio.Event, delay_s: float) -> bool:
    """Wait ``delay_s`` seconds; False, at once, when ``event`` is set."""
    if delay_s <= 0:
        # A turn that a worker returned is repeated at once; a scope that is over already costs more than the attempt.
        await anyio.lowlevel.checkpoint()
        return not event.is_set()
    with anyio.move_on_after(delay_s):
        await event.wait()
    # Not whether the wait timed out: the event may have been set at that very moment.
    return not event.is_set()
