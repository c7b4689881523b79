"""A first-in, first-out queue of the tasks that wait for capacity at a worker.

Invariant: what is given to a waiting task counts as taken from that moment on, not from when the task resumes. So many
answers at once never admit more than there is capacity for.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

T = TypeVar("T")


class WaitQueue(Generic[T]):
    """A queue of tasks.

    Args:
        take: Takes what one task waits for; None where there is none.
        give_back: Called with what a task was given that was cancelled meanwhile.
    """

    def __init__(self, take: Callable[[], T | None], give_back: Callable[[T], None]) -> None:
        self._take = take
        self._give_back = give_back
        self._waiting: deque[asyncio.Future[T | None]] = deque()
        self._is_closed = False

    async def wait(self) -> T | None:
        """What ``take`` gives, once this task is the first; None once the queue is closed."""
        if self._is_closed:
            return None
        if not self._waiting and (taken := self._take()) is not None:
            return taken
        waiter: asyncio.Future[T | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            return await waiter
        except BaseException:
            self._left(waiter)
            raise

    def serve(self) -> None:
        """Give what there is to the first tasks."""
        waiting = self._waiting
        while waiting:
            waiter = waiting[0]
            if not waiter.done():
                if (taken := self._take()) is None:
                    return
                waiter.set_result(taken)
            waiting.popleft()

    def close(self) -> None:
        """Wake every task that waits, with None."""
        self._is_closed = True
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)

    def _left(self, waiter: asyncio.Future[T | None]) -> None:
        """A task was cancelled while it waited, or just after it was given something."""
        if waiter.done() and not waiter.cancelled() and (taken := waiter.result()) is not None:
            self._give_back(taken)
        else:
            with suppress(ValueError):
                self._waiting.remove(waiter)
        self.serve()
