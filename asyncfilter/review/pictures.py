"""Renditions of pictures: read where they are, decoded in processes of their own, upright, without metadata.

No byte of a source is sent as it is. A picture that cannot be decoded within the limits is broken, and stays so while
it is the same version of the object.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import BinaryIO, NamedTuple, Protocol

import anyio
import anyio.to_thread
import msgspec

from asyncfilter.errors import ImageError
from asyncfilter.pictures.decode_messages import DecodeRequest
from asyncfilter.pictures.decoder_pool import DecoderPool
from asyncfilter.pictures.decoding_cost import guessed_bytes
from asyncfilter.policy.header import MAX_HEADER_BYTES, read_header
from asyncfilter.policy.image_limits import MAX_CONVERTED_BYTES, ImageLimits
from asyncfilter.policy.upright import Upright, read_upright
from asyncfilter.records.answers import Subject
from asyncfilter.review.rows import CardRow
from asyncfilter.review.versions import Versions

READS_AT_ONCE = 16
_BLOCK_BYTES = 1 << 20
_SMALL = "320"
_PX = {"320": 320, "1280": 1280, "full": 65_500}
"""Longest side of each rendition; a JPEG has at most 65,535."""
_RENDITION_BYTES = {"320": 96 * 1024, "1280": 1536 * 1024, "full": 96 * 1024 * 1024}
_PASSING = frozenset({"changed", "vanished", "decoder_died", "decoding_timeout", "content_unknown"})
"""Failures that say nothing lasting about the picture: it is tried again when it is asked for again."""
_MAX_SMALL = 2**63


class PictureFacts(NamedTuple):
    """What is known about a picture once it was read.

    Attributes:
        width: Of the upright picture, in pixels; None for a broken one; ``height`` likewise.
        look: Its perceptual hash; None where it has hardly any contrast, or was not computed.
        content: blake2b-256 of the bytes, as hexadecimal digits.
        broken: Why it cannot be shown, as a code; None for one that can.
    """

    width: int | None = None
    height: int | None = None
    look: int | None = None
    content: str | None = None
    broken: str | None = None


class Originals(Protocol):
    """The bytes of pictures."""

    def opened(self, row: CardRow) -> AbstractAsyncContextManager[BinaryIO]:
        """A picture as an open file, on condition that it is the version that is meant.

        Raises:
            ImageError: ``changed``, ``vanished``, or another cause.
            AccessError: Nothing can be read.
            TransientError: It cannot be read now.
        """
        ...


class Cache(Protocol):
    """Keeps renditions and facts; see ``PictureCache``."""

    def rendition(self, subject: Subject, size: str) -> bytes | None:
        """A rendition."""
        ...

    def put(self, subject: Subject, size: str, body: bytes) -> None:
        """Keep a rendition."""
        ...

    def facts(self, subjects: Sequence[Subject]) -> list[PictureFacts | None]:
        """What is known."""
        ...

    def note(self, subject: Subject, facts: PictureFacts) -> None:
        """Keep what is known."""
        ...


class Renditions:
    """Makes and keeps renditions.

    Args:
        originals: Reads pictures.
        decoders: Decode them.
        cache: Keeps what was made.
        versions: Knows what was replaced since.

    Attributes:
        versions: See above.
    """

    def __init__(
        self,
        originals: Originals,
        decoders: DecoderPool,
        cache: Cache,
        versions: Versions,
    ) -> None:
        self._originals, self._decoders, self._cache, self.versions = originals, decoders, cache, versions
        self._listeners: list[Callable[[CardRow, PictureFacts], object]] = []
        self._reads = anyio.CapacityLimiter(READS_AT_ONCE)
        self._disk = anyio.CapacityLimiter(1)
        self._making: dict[tuple[Subject, str], anyio.Event] = {}

    def listen(self, listener: Callable[[CardRow, PictureFacts], object]) -> None:
        """Call ``listener`` with what becomes known about pictures."""
        self._listeners.append(listener)

    async def with_contents(self, subjects: Sequence[Subject]) -> list[Subject]:
        """The subjects, with the content of those that were read."""
        return with_contents(subjects, await self.facts(subjects))

    async def facts(self, subjects: Sequence[Subject]) -> list[PictureFacts | None]:
        """What is known about pictures; None about one that was not read yet."""
        return await anyio.to_thread.run_sync(self._cache.facts, subjects, limiter=self._disk)

    async def rendition(self, row: CardRow, *sizes: str) -> bytes:
        """The first of some renditions of a picture; the others are made with it, from the same bytes.

        Raises:
            ImageError: ``changed``, ``vanished``, or any other code for a picture that is broken.
            AccessError: Nothing can be read.
            TransientError: It cannot be read now.
        """
        if self.versions.is_replaced(row):
            raise _changed()
        wanted = (row.subject, sizes[0])
        while wanted in self._making:  # somebody makes it: the second one waits for the first
            await self._making[wanted].wait()
        found = await self._cached(row, sizes[0])
        if found is not None:
            if not await self.versions.is_shown(row, is_large=sizes[0] != _SMALL):
                raise _changed()
            return found
        if wanted in self._making:
            return await self.rendition(row, *sizes)
        done = self._making[wanted] = anyio.Event()
        try:
            async with self._reads:
                return await self._made(row, sizes)
        finally:
            del self._making[wanted]
            done.set()

    async def ahead(self, row: CardRow, *sizes: str) -> None:
        """Make renditions that are not there; what fails will fail again when it is asked for."""
        for at, size in enumerate(sizes):
            if await self._cached(row, size) is None:
                await self.rendition(row, *sizes[at:])
                return

    async def _cached(self, row: CardRow, size: str) -> bytes | None:
        def look() -> tuple[bytes | None, PictureFacts | None]:
            body = self._cache.rendition(row.subject, size)
            return body, None if body is not None else self._cache.facts([row.subject])[0]

        body, facts = await anyio.to_thread.run_sync(look, limiter=self._disk)
        if facts is not None and facts.broken is not None:
            raise ImageError("the picture cannot be shown", code=facts.broken)
        return body

    async def _made(self, row: CardRow, sizes: Sequence[str]) -> bytes:
        try:
            bodies, facts = await self._decoded(row, sizes)
        except ImageError as error:
            if error.code == "changed":
                self.versions.note_replaced(row)
            if error.code not in _PASSING and not error.access:
                await self._note(row, PictureFacts(broken=error.code))
            raise

        def keep() -> None:
            for size, body in zip(sizes, bodies, strict=True):
                self._cache.put(row.subject, size, body)

        await anyio.to_thread.run_sync(keep, limiter=self._disk)
        self.versions.trust(row)
        await self._note(row, facts)
        return bodies[0]

    async def _note(self, row: CardRow, facts: PictureFacts) -> None:
        await anyio.to_thread.run_sync(self._cache.note, row.subject, facts, limiter=self._disk)
        for listener in self._listeners:
            listener(row, facts)

    async def _decoded(self, row: CardRow, sizes: Sequence[str]) -> tuple[list[bytes], PictureFacts]:
        if row.subject.size_bytes > MAX_CONVERTED_BYTES:
            raise ImageError("the file is too large", code="image_too_large")
        async with self._originals.opened(row) as file:
            head, content = await anyio.to_thread.run_sync(_read, file)
            guess_bytes = guessed_bytes(read_header(head), converts=True)
            bodies, look, shown = [], None, (0, 0)
            upright = read_upright(head).upright
            for size in sizes:
                limits = ImageLimits(
                    max_inline_bytes=_RENDITION_BYTES[size], max_object_bytes=MAX_CONVERTED_BYTES, min_px=1,
                    max_px=_longest_px(size, upright),
                )  # fmt: skip
                decoded = await self._decoders.decode(
                    DecodeRequest(limits=limits, hashes=True), file, guess_bytes=guess_bytes
                )
                bodies.append(decoded.jpeg)
                look = decoded.result.perceptual_hash
                shown = (decoded.result.width, decoded.result.height)
        width, height = (upright.width, upright.height) if upright is not None else shown
        if (width < height) != (shown[0] < shown[1]) and shown[0] != shown[1]:
            width, height = height, width  # turned by something that the header does not show
        return bodies, PictureFacts(width, height, _signed(look), content)


def _longest_px(size: str, upright: Upright | None) -> int:
    """The longest side of a rendition: more than usual where the other side would be less than a pixel."""
    if upright is None:
        return _PX[size]
    short, long = sorted((upright.width, upright.height))
    return min(max(_PX[size], -(-long // max(short, 1))), _PX["full"])


def _changed() -> ImageError:
    return ImageError("another version, or nothing, stands in its place", code="changed")


def _signed(look: int | None) -> int | None:
    """As SQLite keeps it: 64 bits with a sign."""
    return None if look is None else look - (1 << 64) if look >= _MAX_SMALL else look


def _read(file: BinaryIO) -> tuple[bytes, str]:
    """The first bytes of a file, and the hash of all."""
    file.seek(0)
    head = file.read(MAX_HEADER_BYTES)
    digest = hashlib.blake2b(head, digest_size=32)
    while block := file.read(_BLOCK_BYTES):
        digest.update(block)
    return head, digest.hexdigest()


def with_contents(subjects: Sequence[Subject], facts: Sequence[PictureFacts | None]) -> list[Subject]:
    """Subjects with the content that is known of each."""
    return [
        one if fact is None or fact.content is None else msgspec.structs.replace(one, content=fact.content)
        for one, fact in zip(subjects, facts, strict=True)
    ]
