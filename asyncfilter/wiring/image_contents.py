"""The bytes of examined images, in order: several are read ahead, within a bound of memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from io import BytesIO
from random import Random
from typing import Protocol, TypeVar

import anyio
import anyio.to_thread
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from asyncfilter.clock import SystemClock
from asyncfilter.engine.core.retry import Repeater, full_pause
from asyncfilter.errors import ImageError, PermissionDeniedError, TransientError
from asyncfilter.job.spec import Job
from asyncfilter.model import ObjectRef, S3Location
from asyncfilter.records.images import StoredImage
from asyncfilter.wiring.image_readers import ImageReaders, wanted
from asyncfilter.wiring.workers import workers

T = TypeVar("T")

AT_ONCE = 32
"""Images that are read at the same time, or wait for earlier ones."""

AHEAD_BYTES = 256 * 1024 * 1024
"""Most bytes of images that are held at a time; an image that is larger is held alone."""

_MOST_DENIED = 20
"""So many denials, with nothing read before, concern all images."""

OUTAGE_ROUNDS, OUTAGE_PAUSE_S = 60, 5.0
"""How often an image is tried again, each time with all attempts of the job, while no other one can be read either, and
the pause before. Hours of reading should survive ten minutes without a network."""


class Receiver(Protocol):
    """Takes images in order. Its methods are called in a thread, one call after the other."""

    def add(self, image: StoredImage, content: bytes) -> object:
        """Take the bytes of an image, which are those that were examined."""
        ...

    def fail(self, image: StoredImage, error: ImageError) -> object:
        """Note that an image cannot be read, and why: ``error.code``."""
        ...


async def read_contents(
    images: Iterable[StoredImage],
    receiver: Receiver,
    job: Job,
    *,
    on_read: Callable[[int], object] | None = None,
    most_bytes: int = AHEAD_BYTES,
) -> None:
    """Read all images, and hand them to the receiver in their order.

    An image is read from the source, on condition of the ETag that was examined. One that left the source, or was
    replaced or deleted there, is read from where it was copied or moved to, if the size is the same. An image whose
    attempts all fail while others can be read is left out; an outage is waited for, once something was read.

    Args:
        images: From a checkpoint.
        receiver: Takes them.
        job: Has the source, the AWS settings and the limits.
        on_read: Called with the number of images so far.
        most_bytes: Most bytes that are held at a time.

    Raises:
        PermissionDeniedError: No image can be read.
        AccessError: Nothing can be read.
        CallError: The store fails again and again.
    """
    async with AsyncExitStack() as stack:
        repeat = Repeater(max_attempts=job.limits.max_attempts, pause=full_pause(SystemClock()), rng=Random())
        reads = _Reads(ImageReaders(job, stack, retry=_Attempts(repeat)), job.source.bucket)
        queue = _Queue(receiver, on_read, most_bytes)
        async with workers(reads.work, AT_ONCE) as send:
            await queue.run(images, send)
        reads.finish()


class _Attempts:
    """Repeats attempts, fewer of them at a time after failures: on a slow line many at once would all time out.

    Half as many after each failure, down to one; one more after each as many successes.
    """

    def __init__(self, repeat: Repeater) -> None:
        self._repeat = repeat
        self._limiter = anyio.CapacityLimiter(AT_ONCE)
        self._successes = 0

    async def __call__(self, attempt: Callable[[], Awaitable[T]], /) -> T:
        """See ``Retry``."""
        return await self._repeat(lambda: self._limited(attempt))

    async def _limited(self, attempt: Callable[[], Awaitable[T]]) -> T:
        limiter = self._limiter
        async with limiter:
            try:
                found = await attempt()
            except TransientError:
                limiter.total_tokens = max(1, limiter.total_tokens // 2)
                self._successes = 0
                raise
        self._successes += 1
        if self._successes >= limiter.total_tokens < AT_ONCE:
            limiter.total_tokens += 1
            self._successes = 0
        return found


class _Slot:
    """The place of one image in the order."""

    def __init__(self, image: StoredImage) -> None:
        self.image = image
        self.is_read = anyio.Event()
        self.result: bytes | ImageError = b""


class _Queue:
    """Images that are being read, or wait for earlier ones, in their order."""

    def __init__(self, receiver: Receiver, on_read: Callable[[int], object] | None, most_bytes: int) -> None:
        self._receiver, self._on_read, self._most_bytes = receiver, on_read, most_bytes
        self._slots: deque[_Slot] = deque()
        self._held_bytes = self._count = 0

    async def run(self, images: Iterable[StoredImage], out: MemoryObjectSendStream[_Slot]) -> None:
        """Have all images read, and hand each on after those before it."""
        for image in images:
            while self._is_full(image.size_bytes):
                await self._hand_on()
            slot = _Slot(image)
            self._slots.append(slot)
            self._held_bytes += image.size_bytes
            await out.send(slot)
        while self._slots:
            await self._hand_on()

    def _is_full(self, size_bytes: int) -> bool:
        if not self._slots:
            return False
        return len(self._slots) >= AT_ONCE or self._held_bytes + size_bytes > self._most_bytes

    async def _hand_on(self) -> None:
        slot = self._slots.popleft()
        await slot.is_read.wait()
        if isinstance(slot.result, ImageError):
            await anyio.to_thread.run_sync(self._receiver.fail, slot.image, slot.result)
        else:
            await anyio.to_thread.run_sync(self._receiver.add, slot.image, slot.result)
        self._held_bytes -= slot.image.size_bytes
        self._count += 1
        if self._on_read is not None:
            self._on_read(self._count)


class _Reads:
    """Reads images."""

    def __init__(self, readers: ImageReaders, bucket: str) -> None:
        self._readers, self._bucket = readers, bucket
        self._last_read: ObjectRef | None = None
        self._denied: list[ImageError] = []

    async def work(self, slots: MemoryObjectReceiveStream[_Slot]) -> None:
        """Read images until there are no more."""
        async with slots:
            async for slot in slots:
                try:
                    slot.result = await self._patiently(slot.image)
                except ImageError as error:
                    slot.result = error
                    self._note(error)
                slot.is_read.set()

    def finish(self) -> None:
        """Check that images could be read at all.

        Raises:
            PermissionDeniedError: None could.
        """
        if self._denied and self._last_read is None:
            raise PermissionDeniedError(self._denied[0].message, hint=self._denied[0].hint) from self._denied[0]

    def _note(self, error: ImageError) -> None:
        if error.access and self._last_read is None:
            self._denied.append(error)
            if len(self._denied) >= _MOST_DENIED:
                self.finish()

    async def _patiently(self, image: StoredImage) -> bytes:
        """The bytes of an image; an outage is waited for.

        Raises:
            ImageError: It cannot be read, and another image can, twice.
            TransientError: None can be read, for long or from the start.
        """
        has_failed_alone = False
        for _ in range(OUTAGE_ROUNDS):
            try:
                return await self._content(image)
            except TransientError as error:
                if self._last_read is None:
                    raise
                is_outage = not await self._is_readable(self._last_read)
                if has_failed_alone and not is_outage:
                    raise ImageError(error.message, code="unavailable") from error
                has_failed_alone = not is_outage
            if is_outage:
                await anyio.sleep(OUTAGE_PAUSE_S)
        return await self._content(image)

    async def _is_readable(self, image: ObjectRef) -> bool:
        """Whether the store answers when it is asked for an image that was read before."""
        reader = await self._readers.of(S3Location(image.bucket, image.key))
        try:
            if reader is not None:
                await reader.first_bytes(image, 1)
        except TransientError:
            return False
        except ImageError:
            return True  # replaced or deleted meanwhile
        return True

    async def _content(self, image: StoredImage) -> bytes:
        """The bytes of an image, or of its copy.

        Raises:
            ImageError: Neither can be read.
        """
        found = wanted(image, self._bucket)
        failure = ImageError(f"{found.image.uri}: it was removed, and there is no copy", code="vanished")
        if not found.is_gone:
            try:
                return await self._whole(found.image)
            except ImageError as error:
                failure = error
        copy = await self._copy(found.copy)
        if copy is None or copy.size_bytes != image.size_bytes:
            raise failure
        return await self._whole(copy)

    async def _copy(self, uri: str | None) -> ObjectRef | None:
        try:
            return None if uri is None else await self._readers.found(uri)
        except PermissionDeniedError:
            return None  # a missing key gives 403 to callers that may not list its bucket

    async def _whole(self, image: ObjectRef) -> bytes:
        reader = await self._readers.of(S3Location(image.bucket, image.key))
        if reader is None:
            raise ImageError(f"{image.uri}: is in a store of your own", code="content_unknown")
        out = BytesIO()
        await reader.download(image, out)
        self._last_read = image
        return out.getvalue()
