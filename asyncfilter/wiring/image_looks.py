"""Looks at the images of a manifest in S3: a HEAD and the first bytes of each, a bounded number at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

import anyio
import anyio.lowlevel
from anyio.streams.memory import MemoryObjectReceiveStream
from msgspec.structs import replace

from asyncfilter.aws import S3Objects
from asyncfilter.aws.clients.protocols import ObjectHead
from asyncfilter.datasets.limits import MAX_IMAGE_BYTES
from asyncfilter.datasets.manifests.image_facts import ImageFacts
from asyncfilter.datasets.manifests.image_journal import ImageJournal
from asyncfilter.errors import ImageError, PermissionDeniedError
from asyncfilter.job.spec import Aws
from asyncfilter.model import ObjectRef, S3Location, location
from asyncfilter.policy.header import MAX_HEADER_BYTES
from asyncfilter.policy.upright import UprightHeader, read_upright
from asyncfilter.wiring.manifests import open_objects
from asyncfilter.wiring.workers import workers

AT_ONCE = 32
"""Images that are looked at at the same time."""

FIRST_BYTES = 64 * 1024
"""Bytes of the first read; they contain the header of nearly every image."""

_MOST_DENIED = 20
"""So many denials in a row, with nothing read before, concern all images."""

_MOST_CHANGES = 3
"""How often an image is looked at again that is replaced meanwhile."""

_TURN = 256
"""Images that are skipped before the event loop gets its turn."""


async def look_at_images(
    refs: Iterable[str],
    journal: ImageJournal,
    *,
    aws: Aws,
    on_looked: Callable[[int], object] | None = None,
) -> None:
    """Look at all images that the journal does not have yet from this check.

    Args:
        refs: Their addresses, each once.
        journal: Keeps what is found.
        aws: The AWS settings.
        on_looked: Called with the number of images so far.

    Raises:
        AccessError: No image can be read.
    """
    async with open_objects(aws) as objects:
        looks = _Looks(objects, journal, on_looked)
        async with workers(looks.work, AT_ONCE) as send:
            for number, ref in enumerate(refs):
                if not journal.is_settled(ref):
                    await send.send(ref)
                elif number % _TURN == 0:
                    await anyio.lowlevel.checkpoint()
        looks.finish()
        journal.end()


class _Looks:
    """The looks of one check."""

    def __init__(self, objects: S3Objects, journal: ImageJournal, on_looked: Callable[[int], object] | None) -> None:
        self._objects, self._journal, self._on_looked = objects, journal, on_looked
        self._looked = self._read = 0
        self._denied: list[PermissionDeniedError] = []

    async def work(self, refs: MemoryObjectReceiveStream[str]) -> None:
        """Look at images until there are no more."""
        async with refs:
            async for ref in refs:
                self._journal.put(ref, await self._look(ref))
                self._looked += 1
                if self._on_looked is not None:
                    self._on_looked(self._looked)

    def finish(self) -> None:
        """Check that images could be read at all.

        Raises:
            PermissionDeniedError: None could.
        """
        if self._denied and not self._read:
            raise self._denied[0]

    async def _look(self, ref: str) -> ImageFacts:
        try:
            facts = await self._facts(ref)
        except PermissionDeniedError as error:
            if not self._read:
                self._denied.append(error)
                if len(self._denied) >= _MOST_DENIED:
                    raise
            return ImageFacts(trouble="the image may not be read", is_denied=True)
        self._read += 1
        return facts

    async def _facts(self, ref: str) -> ImageFacts:
        """The facts about an image, from the journal where its ETag is still the same.

        Raises:
            PermissionDeniedError: It may not be read.
            AccessError: Nothing can be read.
        """
        place = location(ref)
        for _ in range(_MOST_CHANGES):
            head = await self._objects.head(place)
            if head is None:
                return ImageFacts(trouble="the image is not there")
            known = self._journal.facts(ref)
            if known is not None and known.etag == head.etag and known.etag and not known.is_denied:
                return known
            try:
                return await self._read_header(place, head)
            except ImageError as error:
                if error.access:
                    raise PermissionDeniedError(error.message, hint=error.hint) from error
                if error.code not in {"changed", "vanished"}:
                    return ImageFacts(
                        etag=head.etag, size_bytes=head.size_bytes, trouble=f"it cannot be read: {error.code}"
                    )
        return ImageFacts(trouble="the image is replaced while it is read")

    async def _read_header(self, place: S3Location, head: ObjectHead) -> ImageFacts:
        facts = ImageFacts(etag=head.etag, size_bytes=head.size_bytes)
        if head.size_bytes > MAX_IMAGE_BYTES:
            return facts
        if head.archived or not head.size_bytes:
            return replace(facts, trouble="the image is archived" if head.archived else "the image is empty")
        image = ObjectRef(bucket=place.bucket, key=place.key, size_bytes=head.size_bytes, etag=head.etag, seq=0)
        found = await read_image_header(self._objects, image)
        if found.header.is_broken or (found.header.need_bytes and found.upright is None):
            return replace(facts, format=found.header.format.value, trouble="the image is broken")
        upright = found.upright
        if upright is None:
            return replace(facts, format=found.header.format.value)
        return replace(
            facts,
            format=found.header.format.value,
            width=upright.width,
            height=upright.height,
            channels=upright.channels,
            is_turned=upright.is_turned,
        )


class FirstBytes(Protocol):
    """Reads the beginnings of objects or files."""

    async def first_bytes(self, image: ObjectRef, size_bytes: int, /) -> bytes:
        """At most ``size_bytes`` from the start, on condition of the ETag; raises as ``read_image_header``."""
        ...


async def read_image_header(objects: FirstBytes, image: ObjectRef) -> UprightHeader:
    """The header of an image, from as few bytes as possible.

    Raises:
        ImageError: It was replaced or deleted meanwhile, or may not be read.
        AccessError: Nothing can be read.
    """
    length_bytes, most_bytes = FIRST_BYTES, min(MAX_HEADER_BYTES, image.size_bytes)
    while True:
        length_bytes = min(length_bytes, most_bytes)
        head = await objects.first_bytes(image, length_bytes)
        found = read_upright(head, is_whole=len(head) >= image.size_bytes)
        if not found.header.need_bytes or length_bytes >= most_bytes:
            return found
        length_bytes = max(found.header.need_bytes + FIRST_BYTES, 4 * length_bytes)
