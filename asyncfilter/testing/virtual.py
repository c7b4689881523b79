"""Virtual time: an event loop whose clock jumps to the next timer instead of waiting for it.

A run of hours with ramps, time-outs and back-offs takes only its processor time. Not for programs with threads or
sockets, which need real time: the loop would not wait for them.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Mapping
from contextvars import Context
from typing import TYPE_CHECKING, TypeVar, TypeVarTuple

import anyio

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")

_LEAST_S = 2e-9
"""Shortest wait: timers that are due within 1 ns, the resolution of the clock, run before the loop waits."""


class _JumpingSelector(selectors.BaseSelector):
    """Never waits: the time that the loop would wait is added to its clock."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._real = selectors.DefaultSelector()

    def register(self, fileobj: FileDescriptorLike, events: int, data: object = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: FileDescriptorLike) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = self._real.select(0)
        if not ready and timeout is None:
            raise RuntimeError("deadlock: all tasks wait, and no timer is set")
        if not ready and timeout:
            self.now_s += timeout
        return ready

    def get_map(self) -> Mapping[FileDescriptorLike, selectors.SelectorKey]:
        return self._real.get_map()

    def close(self) -> None:
        self._real.close()


class VirtualLoop(asyncio.SelectorEventLoop):
    """An asyncio loop in virtual time, from 0 seconds on."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._jumping.now_s

    def call_at(
        self,
        when: float,
        callback: Callable[[*Arguments], object],
        *args: *Arguments,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """As in every loop; a timer that is due at once moves the time on a little, as real time goes on by itself.

        Otherwise code that waits for a remainder of rounding would wait for ever: the time, added to it, is the same.
        """
        when = max(when, self._jumping.now_s + _LEAST_S)
        return super().call_at(when, callback, *args, context=context)


class LoopClock:
    """A ``Clock`` that follows the running loop, virtual or not.

    Args:
        unix_s: ``unix`` when the loop's time is 0, seconds since 1970-01-01 UTC.
    """

    def __init__(self, unix_s: float = 1_700_000_000.0) -> None:
        self._unix_s = unix_s

    def monotonic(self) -> float:
        """See ``Clock``."""
        return asyncio.get_running_loop().time()

    def unix(self) -> float:
        """See ``Clock``; virtual time begins at 2023-11-14 22:13:20 UTC, unless said otherwise."""
        return self._unix_s + self.monotonic()

    async def sleep(self, delay_s: float) -> None:
        """See ``Clock``."""
        await anyio.sleep(delay_s)


def run_virtually(main: Callable[[], Awaitable[T]]) -> T:
    """Run ``main`` to its end in virtual time.

    Raises:
        RuntimeError: All tasks wait and no timer is set: a deadlock.
    """
    return anyio.run(main, backend_options={"loop_factory": VirtualLoop})
