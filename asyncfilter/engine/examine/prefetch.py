"""Prefetch: images that will be paid for are prepared before their admission, several at a time, and stay in order.

An image that the service would reject fails here: without money, without a permit, and without effect on the breaker.
An image that is sent as bytes has its bytes in memory when it gets its permit, so that the attempt is sent immediately.

Invariants:

- Preparations start in order. So the images that hold memory are admitted before all others, and their calls free the
  memory: a full memory limit is no deadlock.
- Memory for images is bounded by the memory limit: a ``BoundedPreparation`` counts bytes before it reads them. What
  another preparation holds is known when it is over, and may exceed the limit by what is under preparation then.
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
from asyncfilter.errors import WORKER_LOST, AccessError, ImageError, LostError, TransientError, unexpected
from asyncfilter.model import Failure, StopReason
from asyncfilter.policy.breaker import Breaker, shared_cause
from asyncfilter.ports.examine import BoundedPreparation, Preparation, Prepared

AT_ONCE = 64
"""Most images under preparation: reading a header takes 20 to 50 ms from S3, so that is over 1,000 images a second."""


class PrefetchStage:
    """Prepares images before their admission.

    Args:
        preparation: Makes one attempt to prepare an image; None to prepare nothing.
        repeat: The retry policy.
        stop_signal: Ends the run when no image can be prepared.
        memory_limit: Bounds the images and bytes that are ahead of admission.
        at_once: Images under preparation at the most; None for ``AT_ONCE``.
    """

    def __init__(
        self,
        *,
        preparation: Preparation | None,
        repeat: Repeater,
        stop_signal: StopSignal,
        memory_limit: MemoryLimit | None = None,
        at_once: int | None = None,
    ) -> None:
        self.memory_limit = memory_limit or MemoryLimit()
        self.buffered_batches = 1 if preparation is None else PREFETCH_IMAGES
        """The most batches of ``ahead`` that may wait for admission."""
        self._preparation = preparation
        if isinstance(preparation, BoundedPreparation):
            preparation.bound_by(self.memory_limit)
        self._repeat = repeat
        self._stop_signal = stop_signal
        self._breaker = Breaker()
        self._pool: WorkerPool[WorkItem] = WorkerPool(self._prepare, at_once or AT_ONCE)

    def start(self, tasks: TaskGroup) -> None:
        """Run preparations in ``tasks`` from now on."""
        self._pool.start(tasks)

    async def ahead(self, batches: AsyncIterator[list[WorkItem]]) -> AsyncIterator[list[WorkItem]]:
        """Yield the same images in the same order, after starting the preparation of those that will be paid for.

        A batch is split and its first part yielded when there is no room for the next image: otherwise it could wait
        for room that only the admission of its own images makes.
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
                    # Memory is checked last: preparations that end may fill it while this image waits for a worker.
                    await self.memory_limit.wait_room()
                    self._begin(item)
                begun.append(item)
            yield begun

    async def is_wanted(self, item: WorkItem) -> bool:
        """Wait until an image is prepared; False when it failed and cannot be examined."""
        if item.readiness is not None:
            await item.readiness.wait()
            item.readiness = None
            self.memory_limit.waiting -= 1
            self.memory_limit.notify()
        return item.failure is None

    def _begin(self, item: WorkItem) -> None:
        item.readiness = anyio.Event()
        self.memory_limit.begin(item)
        self._pool.submit(item)

    async def _prepare(self, item: WorkItem) -> None:
        """Prepare one image; ``readiness`` is not set when the end of the run stops the preparation."""
        preparation, readiness = self._preparation, item.readiness
        if preparation is None or readiness is None:
            return
        try:
            item.prepared = await self._repeat(lambda: self._attempt(preparation, item))
        except DrainedError:
            return
        except AccessError as error:
            self._stop_signal.request(StopReason.FAILED, error)
            return
        except ImageError as error:
            self._fail(item, error)
        except LostError as error:
            self._fail(item, ImageError(error.message, code=WORKER_LOST))
        except TransientError as error:
            self._fail(item, ImageError(error.message, code="unavailable"))
        except Exception as error:  # noqa: BLE001  a preparation may raise anything; what is paid must be kept
            self._stop_signal.request(StopReason.FAILED, unexpected(error, f"preparing {item.image.uri}"))
            return
        else:
            self._breaker.success()
        self.memory_limit.put(item)
        readiness.set()

    async def _attempt(self, preparation: Preparation, item: WorkItem) -> Prepared | None:
        try:
            return await preparation.prepare(item.image)
        except BaseException:
            # Before any pause: what it had read is not kept for the next attempt.
            self.memory_limit.release(item.image)
            raise

    def _fail(self, item: WorkItem, error: ImageError) -> None:
        """Fail one image. Images that the service would reject do not count for the breaker, however many in a row."""
        item.failure = Failure(error.code, error.message)
        if (error.access or error.code == "unavailable") and self._breaker.failure(error):
            self._stop_signal.request(StopReason.ERRORS, shared_cause(error))
