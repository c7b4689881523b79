"""Deadlines that expire only after the loop has read what its sockets hold.

A process may stand still (SIGSTOP, a frozen container, a machine that was suspended) while responses arrive. When it
goes on, the event loop runs the timers that came due in the meantime before it looks at its sockets: the wait for the
sockets ended without a result. A response that is there would be thrown away, and its call paid for again. So a
deadline that comes due lets the loop look at its sockets a few times first. Where its timer came late, the block gets
its time once more: the process may have stopped between the start of the block and the sending of its request, and
then the response has yet to come.

This is asyncio and not anyio, because a deadline of anyio cancels at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import anyio

LATE_S = 0.1
"""A timer that runs later than this shows that the loop stood still, seconds; collecting garbage takes less."""

GRACE_S = 0.25
"""The least time after the loop stood still, seconds: enough to read the megabytes that a socket buffer holds."""

_MOST_GRACES = 4
"""A loop that is too busy to run any timer in time must not put a deadline off for ever."""

_PASSES = 5
"""Iterations of the loop before a deadline expires: one reads, the next wake the tasks between socket and caller."""


class Deadline:
    """Calls ``expire`` at ``due_s`` or a little later, once the loop has read what its sockets hold.

    Args:
        due_s: Loop time.
        again_s: Time after the first timer that came late, seconds; ``GRACE_S`` at least. Later ones get ``GRACE_S``.
        expire: Called with a loop time after which the loop has looked at all sockets: what was due then may expire.
    """

    __slots__ = ("_again_s", "_due_s", "_expire", "_graces", "_handle", "_loop", "_passes")

    def __init__(self, due_s: float, again_s: float, expire: Callable[[float], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._due_s = due_s
        self._again_s = max(again_s, GRACE_S)
        self._expire = expire
        self._graces = _MOST_GRACES
        self._passes = _PASSES
        self._handle: asyncio.Handle = self._loop.call_at(due_s, self._come_due)

    def cancel(self) -> None:
        """Never expire."""
        self._handle.cancel()

    def _come_due(self) -> None:
        now_s = self._loop.time()
        if now_s - self._due_s > LATE_S and self._graces:
            self._graces -= 1
            self._due_s, self._again_s = now_s + self._again_s, GRACE_S
            self._handle = self._loop.call_at(self._due_s, self._come_due)
        else:
            self._due_s = now_s
            self._look()

    def _look(self) -> None:
        if self._passes:
            self._passes -= 1
            self._handle = self._loop.call_soon(self._look)
        else:
            self._expire(self._due_s)


@contextmanager
def fail_after(delay_s: float) -> Iterator[None]:
    """As ``anyio.fail_after``, for what waits for a socket: a response that has arrived is never lost.

    Args:
        delay_s: Seconds; once more where the process stood still meanwhile.

    Raises:
        TimeoutError: ``delay_s`` seconds have passed, and nothing has arrived that completes the body of the block.
    """
    with anyio.CancelScope() as scope:
        due_s = asyncio.get_running_loop().time() + delay_s
        deadline = Deadline(due_s, delay_s, lambda _as_of_s: scope.cancel())
        try:
            yield
        finally:
            deadline.cancel()
    if scope.cancelled_caught:
        raise TimeoutError
