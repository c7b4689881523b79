"""Preparing: images that will be paid for are looked at ahead of their turn, several at a time, and stay in order.

What the service would refuse ends here as failed: without money, without a turn at the rate, and without a word to the
stop rules. What is sent by its bytes has them ready when its turn comes, so that an attempt leaves at once.

Invariants: images start to be prepared in order, so that those ahead of a full shelf are always on their way to a
call; memory for prepared images is bounded by the shelf, and by what is being prepared while it fills up.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
from anyio.abc import TaskGroup

from asyncfilter.engine.ending import Ending
from asyncfilter.engine.passage import Passage
from asyncfilter.engine.pool import WorkerPool
from asyncfilter.engine.repeating import DrainedError, Repeater
from asyncfilter.errors import AccessError, AsyncFilterError, ImageError, TransientError
from asyncfilter.model import Failure, StopReason
from asyncfilter.policy.breaker import Breaker, shared_cause
from asyncfilter.ports import Preparation

AT_ONCE = 64
"""Images under preparation at the most: reading a header takes 20 to 50 ms from S3, so that is over 1,000 a second."""

AHEAD = 256
"""Images that are under preparation, or prepared and not yet admitted, at the most."""

SHELF_BYTES = 128 * 1024 * 1024
"""Bytes held for images before and during their calls; beyond it no further preparation starts."""


class Shelf:
    """Counts the images that wait for admission, and the bytes that images hold until their call is over."""

    def __init__(self, *, images: int = AHEAD, capacity_bytes: int = SHELF_BYTES) -> None:
        self.waiting = 0
        self.held_bytes = 0
        self._images = images
        self._capacity_bytes = capacity_bytes
        self._changed = anyio.Event()

    @property
    def has_room(self) -> bool:
        """True while the preparation of another image may start."""
        return self.waiting < self._images and self.held_bytes < self._capacity_bytes

    async def wait_room(self) -> None:
        """Return when the preparation of another image may start."""
        while not self.has_room:
            await self._changed.wait()

    def put(self, passage: Passage) -> None:
        """Count what a prepared image holds."""
        if passage.prepared is not None:
            self.held_bytes += passage.prepared.held_bytes

    def clear(self, passage: Passage) -> None:
        """Let go of what an image holds."""
        if passage.prepared is not None:
            self.held_bytes -= passage.prepared.held_bytes
            passage.prepared = None
            self.notify()

    def notify(self) -> None:
        """Let those who wait for room look again."""
        self._changed.set()
        self._changed = anyio.Event()


class Preparing:
    """Has images prepared ahead of their admission.

    Args:
        preparation: Makes single attempts; None lets every image pass as it is.
        repeat: The retry policy.
        ending: Told when no image can be prepared.
        shelf: Bounds what is ahead.
    """

    def __init__(
        self, *, preparation: Preparation | None, repeat: Repeater, ending: Ending, shelf: Shelf | None = None
    ) -> None:
        self.shelf = shelf or Shelf()
        self.buffered_batches = 1 if preparation is None else AHEAD
        """How many batches of ``ahead`` may wait for admission."""
        self._preparation = preparation
        self._repeat = repeat
        self._ending = ending
        self._breaker = Breaker()
        self._pool: WorkerPool[Passage] = WorkerPool(self._prepare, AT_ONCE)

    def start(self, tasks: TaskGroup) -> None:
        """Let preparations live in ``tasks``."""
        self._pool.start(tasks)

    async def ahead(self, batches: AsyncIterator[list[Passage]]) -> AsyncIterator[list[Passage]]:
        """The same images in the same order, those that will be paid for under preparation.

        A batch never waits for room that only its own images could make.
        """
        async for batch in batches:
            if self._preparation is None:
                yield batch
                continue
            begun: list[Passage] = []
            for passage in batch:
                if passage.stored is None:
                    if begun and not (self.shelf.has_room and self._pool.has_room):
                        yield begun
                        begun = []
                    await self._pool.wait_room()
                    await self.shelf.wait_room()
                    self._begin(passage)
                begun.append(passage)
            yield begun

    async def is_wanted(self, passage: Passage) -> bool:
        """Wait until an image is prepared; False when that found why it cannot be examined."""
        if passage.readiness is not None:
            await passage.readiness.wait()
            passage.readiness = None
            self.shelf.waiting -= 1
            self.shelf.notify()
        return passage.failure is None

    def _begin(self, passage: Passage) -> None:
        passage.readiness = anyio.Event()
        self.shelf.waiting += 1
        self._pool.submit(passage)

    async def _prepare(self, passage: Passage) -> None:
        """Prepare one image; one whose preparation the end of the run cut short is never ready."""
        preparation, readiness = self._preparation, passage.readiness
        if preparation is None or readiness is None:
            return
        try:
            passage.prepared = await self._repeat(lambda: preparation.prepare(passage.image))
        except DrainedError:
            return
        except AccessError as error:
            self._ending.request(StopReason.FAILED, error)
            return
        except ImageError as error:
            self._fail(passage, error)
        except TransientError as error:
            self._fail(passage, ImageError(error.message, code="unavailable"))
        except Exception as error:  # noqa: BLE001  a foreign preparation may raise anything; what is paid must be kept
            wrapped = AsyncFilterError(f"preparing {passage.image.uri} raised {type(error).__name__}: {error}")
            wrapped.__cause__ = error
            self._ending.request(StopReason.FAILED, wrapped)
            return
        else:
            self._breaker.success()
            self.shelf.put(passage)
        readiness.set()

    def _fail(self, passage: Passage, error: ImageError) -> None:
        """Pictures that the service would not take are the images' own fault, however many come in a row."""
        passage.failure = Failure(error.code, error.message)
        if (error.access or error.code == "unavailable") and self._breaker.failure(error):
            self._ending.request(StopReason.ERRORS, shared_cause(error))
