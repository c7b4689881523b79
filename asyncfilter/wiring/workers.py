"""Several workers that take items from one stream: the form of every pass over many images outside a run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

T = TypeVar("T")


@asynccontextmanager
async def workers(
    work: Callable[[MemoryObjectReceiveStream[T]], Coroutine[Any, Any, None]], number: int
) -> AsyncIterator[MemoryObjectSendStream[T]]:
    """Run ``number`` tasks of ``work``, each with a stream of its own; what is sent in the block goes to one of them.

    The block waits while all are busy. Its end closes the streams, and then waits for the workers. The first exception
    of one ends the block and the others.
    """
    send, receive = anyio.create_memory_object_stream[T](number)
    async with anyio.create_task_group() as tasks:
        for _ in range(number):
            tasks.start_soon(work, receive.clone())
        receive.close()
        async with send:
            yield send
