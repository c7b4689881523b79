"""Batches: images that arrive one by one are classified together.

A batch begins when it is full, or when its first image has waited for ``WAIT_S``, and one of the calls that may run at
the same time is free. So a single image waits for no longer than that, and under load batches are full.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Generic, NamedTuple, TypeVar

WAIT_S = 0.01
"""Longest wait of an image for others of its batch, seconds."""

T = TypeVar("T")
R = TypeVar("R")


class _Waiting(NamedTuple, Generic[T, R]):
    item: T
    due_s: float
    result: asyncio.Future[R]


class Batcher(Generic[T, R]):
    """Runs a function on batches, in threads of its own; to be used in one event loop.

    Args:
        run: Called with the items of a batch; returns a result for each, or the exception to raise for it.
        most: Most items of a batch.
        at_once: Most batches that run at the same time.
    """

    def __init__(self, run: Callable[[Sequence[T]], Sequence[R | Exception]], *, most: int, at_once: int) -> None:
        self._run = run
        self._most = most
        self._at_once = at_once
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="onnx")
        self._waiting: deque[_Waiting[T, R]] = deque()
        self._running = 0
        self._timer: asyncio.TimerHandle | None = None

    async def submit(self, item: T) -> R:
        """The result for ``item``, of the next batch that has room; cancelling affects no other item."""
        loop = asyncio.get_running_loop()
        result: asyncio.Future[R] = loop.create_future()
        wait_s = WAIT_S if self._most > 1 else 0
        self._waiting.append(_Waiting(item, loop.time() + wait_s, result))
        self._begin(loop)
        return await result

    def close(self) -> None:
        """Begin no more batches; those that run end in their threads."""
        if self._timer is not None:
            self._timer.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin the batches that are full or due, as far as calls are free."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting and self._running < self._at_once:
            if len(self._waiting) < self._most and loop.time() < self._waiting[0].due_s:
                self._timer = loop.call_at(self._waiting[0].due_s, self._begin, loop)
                return
            self._start(loop)

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        taken = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
        batch = [one for one in taken if not one.result.done()]
        if batch:
            self._running += 1
            call = loop.run_in_executor(self._threads, self._run, [one.item for one in batch])
            call.add_done_callback(partial(self._end, loop, batch))

    def _end(
        self,
        loop: asyncio.AbstractEventLoop,
        batch: Sequence[_Waiting[T, R]],
        call: asyncio.Future[Sequence[R | Exception]],
    ) -> None:
        self._running -= 1
        if call.cancelled():
            found: Sequence[R | Exception] = [RuntimeError("the batch was not run")] * len(batch)
        elif (error := call.exception()) is not None:
            found = [error if isinstance(error, Exception) else RuntimeError(repr(error))] * len(batch)
        else:
            found = call.result()
        for one, result in zip(batch, found, strict=True):
            if one.result.done():
                continue
            if isinstance(result, Exception):
                one.result.set_exception(result)
            else:
                one.result.set_result(result)
        self._begin(loop)
