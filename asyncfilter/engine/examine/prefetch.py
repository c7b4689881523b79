"""Prefetch: images that will be paid for are looked at ahead of their turn, several at a time, and stay in order.

What the service would refuse ends here as failed: without money, without a turn at the rate, and without a word to the
stop rules. What is sent by its bytes has them ready when its turn comes, so that an attempt leaves at once.

Invariants: images start to be prepared in order, so that those ahead of a full memory limit are always on their way to
a call; memory for prepared images is bounded by the memory limit, and by what is being prepared while it fills up.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
from anyio.abc import TaskGroup

from asyncfilter.engine.core.memory_limit import PREFETCH_IMAGES, MemoryLimit
from asyncfilter.engine.core.pool import WorkerPool
from asyncfilter.engine.core.retry import DrainedError, Repeater
from asyncfilter.engine.core.stopping import StopSignal
from asyncfilter.engine.core.work_item import WorkItem
from asyncfilter.errors import AccessError, AsyncFilterError, ImageError, TransientError
from asyncfilter.model import Failure, StopReason
from asyncfilter.policy.breaker import Breaker, shared_cause
from asyncfilter.ports.examine import Preparation

AT_ONCE = 64
"""Images under preparation at the most: reading a header takes 20 to 50 ms from S3, so that is over 1,000 a second."""


class PrefetchStage:
    """Has images prepared ahead of their admission.

    Args:
        preparation: Makes single attempts; None lets every image pass as it is.
        repeat: The retry policy.
        stop_signal: Told when no image can be prepared.
        memory_limit: Bounds what is ahead.
    """

    def __init__(
        self,
        *,
        preparation: Preparation | None,
        repeat: Repeater,
        stop_signal: StopSignal,
        memory_limit: MemoryLimit | None = None,
    ) -> None:
        self.memory_limit = memory_limit or MemoryLimit()
        self.buffered_batches = 1 if preparation is None else PREFETCH_IMAGES
        """How many batches of ``ahead`` may wait for admission."""
        self._preparation = preparation
        self._repeat = repeat
        self._stop_signal = stop_signal
        self._breaker = Breaker()
        self._pool: WorkerPool[WorkItem] = WorkerPool(self._prepare, AT_ONCE)

    def start(self, tasks: TaskGroup) -> None:
        """Let preparations live in ``tasks``."""
        self._pool.start(tasks)

    async def ahead(self, batches: AsyncIterator[list[WorkItem]]) -> AsyncIterator[list[WorkItem]]:
        """The same images in the same order, those that will be paid for under preparation.

        A batch never waits for room that only its own images could make.
        """
        async for batch in batches:
            if self._preparation is None:
                yield batch
                continue
            begun: list[WorkItem] = []
            for item in batch:
                if item.stored is None:
                    if begun and not (self.memory_limit.has_room and self._pool.has_room):
                        yield begun
                        begun = []
                    await self._pool.wait_room()
                    await self.memory_limit.wait_room()
                    self._begin(item)
                begun.append(item)
            yield begun

    async def is_wanted(self, item: WorkItem) -> bool:
        """Wait until an image is prepared; False when that found why it cannot be examined."""
        if item.readiness is not None:
            await item.readiness.wait()
            item.readiness = None
            self.memory_limit.waiting -= 1
            self.memory_limit.notify()
        return item.failure is None

    def _begin(self, item: WorkItem) -> None:
        item.readiness = anyio.Event()
        self.memory_limit.waiting += 1
        self._pool.submit(item)

    async def _prepare(self, item: WorkItem) -> None:
        """Prepare one image; one whose preparation the end of the run cut short is never ready."""
        preparation, readiness = self._preparation, item.readiness
        if preparation is None or readiness is None:
            return
        try:
            item.prepared = await self._repeat(lambda: preparation.prepare(item.image))
        except DrainedError:
            return
        except AccessError as error:
            self._stop_signal.request(StopReason.FAILED, error)
            return
        except ImageError as error:
            self._fail(item, error)
        except TransientError as error:
            self._fail(item, ImageError(error.message, code="unavailable"))
        except Exception as error:  # noqa: BLE001  a foreign preparation may raise anything; what is paid must be kept
            wrapped = AsyncFilterError(f"preparing {item.image.uri} raised {type(error).__name__}: {error}")
            wrapped.__cause__ = error
            self._stop_signal.request(StopReason.FAILED, wrapped)
            return
        else:
            self._breaker.success()
            self.memory_limit.put(item)
        readiness.set()

    def _fail(self, item: WorkItem, error: ImageError) -> None:
        """Pictures that the service would not take are the images' own fault, however many come in a row."""
        item.failure = Failure(error.code, error.message)
        if (error.access or error.code == "unavailable") and self._breaker.failure(error):
            self._stop_signal.request(StopReason.ERRORS, shared_cause(error))
