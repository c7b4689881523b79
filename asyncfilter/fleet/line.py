"""Those that wait for room at a worker, in the order in which they came.

Invariant: what is given to a waiting task counts as taken from that moment on, not from when the task goes on. So many
answers at once never let more in than there is room for.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

T = TypeVar("T")


class Line(Generic[T]):
    """A line of tasks.

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
        """What ``take`` gives, once it is this task's turn; None once the line is closed."""
        if self._is_closed:
            return None
        if not self._waiting and (taken := self._take()) is not None:
            return taken
        turn: asyncio.Future[T | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            return await turn
        except BaseException:
            self._left(turn)
            raise

    def serve(self) -> None:
        """Give what there is to those that wait."""
        waiting = self._waiting
        while waiting:
            turn = waiting[0]
            if not turn.done():
                if (taken := self._take()) is None:
                    return
                turn.set_result(taken)
            waiting.popleft()

    def close(self) -> None:
        """Let nobody wait any more."""
        self._is_closed = True
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)

    def _left(self, turn: asyncio.Future[T | None]) -> None:
        """A task was cancelled while it waited, or just after it was given something."""
        if turn.done() and not turn.cancelled() and (taken := turn.result()) is not None:
            self._give_back(taken)
        else:
            with suppress(ValueError):
                self._waiting.remove(turn)
        self.serve()
