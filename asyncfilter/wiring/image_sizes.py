"""Sizes of examined images, from the first bytes of each, a bounded number at a time; what is found is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack

import anyio
import anyio.lowlevel
from anyio.streams.memory import MemoryObjectReceiveStream

from asyncfilter.datasets.manifests.image_facts import ImageFacts
from asyncfilter.datasets.manifests.image_journal import ImageJournal
from asyncfilter.errors import ImageError, PermissionDeniedError, TransientError
from asyncfilter.job.spec import Job
from asyncfilter.model import ObjectRef, S3Location
from asyncfilter.policy.upright import UprightHeader
from asyncfilter.wiring.image_looks import AT_ONCE, read_image_header
from asyncfilter.wiring.image_readers import ImageReaders, WantedImage
from asyncfilter.wiring.workers import workers

_TURN = 256
"""Images that are skipped before the event loop gets its turn."""


async def read_sizes(
    requests: Iterable[WantedImage], journal: ImageJournal, job: Job, *, on_read: Callable[[int], object] | None = None
) -> None:
    """Read the headers of all images that the journal does not have, and keep what they say.

    An image that cannot be read now is left out, and asked for again the next time.

    Args:
        requests: Each image once.
        journal: Keeps what is found.
        job: Has the AWS settings.
        on_read: Called with the number of images so far.

    Raises:
        AccessError: No image can be read.
    """
    async with AsyncExitStack() as stack:
        sizes = _Sizes(ImageReaders(job, stack), journal, on_read)
        async with workers(sizes.work, AT_ONCE) as send:
            for number, request in enumerate(requests):
                if journal.facts_at(request.image.uri, request.image.etag) is None:
                    await send.send(request)
                elif number % _TURN == 0:
                    await anyio.lowlevel.checkpoint()
        sizes.finish()


class _Sizes:
    """The reads of one command."""

    def __init__(self, readers: ImageReaders, journal: ImageJournal, on_read: Callable[[int], object] | None) -> None:
        self._readers, self._journal, self._on_read = readers, journal, on_read
        self._count = self._read = 0
        self._denied: ImageError | None = None

    async def work(self, requests: MemoryObjectReceiveStream[WantedImage]) -> None:
        """Read headers until there are no more."""
        async with requests:
            async for request in requests:
                header = await self._header(request)
                if header is not None:
                    self._journal.put(request.image.uri, _facts(request.image, header))
                self._count += 1
                if self._on_read is not None:
                    self._on_read(self._count)

    def finish(self) -> None:
        """Check that images could be read at all.

        Raises:
            PermissionDeniedError: None could.
        """
        if self._denied is not None and not self._read:
            raise PermissionDeniedError(self._denied.message, hint=self._denied.hint) from self._denied

    async def _header(self, request: WantedImage) -> UprightHeader | None:
        """The header of an image, or of its copy; None when neither can be read."""
        header = None if request.is_gone else await self._header_of(request.image)
        if header is None and request.copy is not None:
            copy = await self._readers.found(request.copy)
            header = None if copy is None else await self._header_of(copy)
        return header

    async def _header_of(self, image: ObjectRef) -> UprightHeader | None:
        reader = await self._readers.of(S3Location(image.bucket, image.key))
        if reader is None or not image.size_bytes:
            return None
        try:
            header = await read_image_header(reader, image)
        except (ImageError, TransientError) as error:
            if isinstance(error, ImageError) and error.access:
                self._denied = self._denied or error
            return None
        self._read += 1
        return header


def _facts(image: ObjectRef, header: UprightHeader) -> ImageFacts:
    upright = header.upright
    found = ImageFacts(etag=image.etag, size_bytes=image.size_bytes, format=header.header.format.value)
    if upright is None:
        return found
    return ImageFacts(
        etag=found.etag,
        size_bytes=found.size_bytes,
        format=found.format,
        width=upright.width,
        height=upright.height,
        channels=upright.channels,
        is_turned=upright.is_turned,
    )
