"""Preparation of an image before it is paid for: check that the service accepts it, and convert it if it does not.

An image that is rejected here gets the error code that the service's rejection would have, at no cost. In doubt an
image is sent to the service. Nothing is decoded in this process; the header alone is read here, before a file that is
too large to be sent is read at all.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import BinaryIO, NamedTuple

import anyio
import anyio.to_thread
import msgspec

from asyncfilter.errors import AccessError, ImageError
from asyncfilter.model import Detection, ObjectRef
from asyncfilter.pictures.decode_messages import DecodeRequest
from asyncfilter.pictures.decoder_pool import Decoded, DecoderPool
from asyncfilter.pictures.decoding_cost import guessed_bytes
from asyncfilter.policy.header import MAX_HEADER_BYTES, Header, read_header
from asyncfilter.policy.image_limits import ImageLimits, ImageRejection, find_rejection
from asyncfilter.policy.provenance import Provenance, Sent, add_provenance
from asyncfilter.ports.examine import Contents, Detector, Files, Memory, Prepared

HEAD_BYTES = 64 * 1024
"""Bytes of the first read; they contain the header of nearly every image."""

_SPOOLED_BYTES = 16 * 1024 * 1024
"""Larger files wait for their decoding on disk, where there is one."""

_QUICK_BYTES = 1024 * 1024
"""A copy of so many bytes takes less time than a change of threads."""

Send = Callable[[ObjectRef, bytes], Awaitable[Detection]]
"""One paid attempt with an image's bytes; raises as ``Detector.detect``."""


class LanePorts(NamedTuple):
    """How one lane examines images.

    Attributes:
        detector: Examines them by reference.
        send: Examines bytes.
        by_reference: Whether the lane can read the source.
    """

    detector: Detector
    send: Send
    by_reference: bool


class _Begun(NamedTuple):
    """An image of which as much was read as its check needs; ``body`` is None when that is its header."""

    header: Header
    body: bytes | None


class ImagePreparer:
    """``Preparation`` for the service's own detectors.

    Args:
        contents: Reads images.
        detector: Examines them by reference.
        send: Examines bytes.
        limits: The detector's limits on images.
        by_reference: False when the bytes of every image are needed, because the detector, or that of some lane, cannot
            read the source.
        converts: Whether images that the detector does not accept are converted.
        compares: Whether every image gets its perceptual hash.
        decoders: Decode images.
        lanes: The lanes by name, in place of ``detector`` and ``send``; bytes are read once, for all of them.
    """

    def __init__(
        self,
        *,
        contents: Contents,
        detector: Detector,
        send: Send,
        limits: ImageLimits,
        by_reference: bool,
        converts: bool,
        compares: bool,
        decoders: DecoderPool,
        lanes: Mapping[str, LanePorts] | None = None,
    ) -> None:
        self._contents = contents
        self._detector = detector
        self._send = send
        self._limits = limits
        self._by_reference = by_reference
        self._converts = converts
        self._compares = compares
        self._decoders = decoders
        self._lanes = lanes
        self._memory: Memory | None = None
        self._cores = anyio.CapacityLimiter(os.cpu_count() or 1)

    def bound_by(self, memory: Memory) -> None:
        """See ``BoundedPreparation``."""
        self._memory = memory

    async def prepare(self, image: ObjectRef) -> Prepared | None:
        """Make one attempt; see ``Preparation``."""
        begun = await self._begun(image)
        is_referred = self._by_reference and self._rejection(image, begun.header, inline=False) is None
        if is_referred and not self._compares:
            return None
        refused = None if is_referred else self._rejection(image, begun.header, inline=True)
        if refused is not None and not (self._converts and refused.is_curable):
            raise ImageError(f"{image.uri}: {refused.why}", code=refused.code)
        content, provenance = await self._ready(image, begun, is_referred=is_referred, is_refused=refused is not None)
        detector = _Examination(self._detector, self._send, content, provenance)
        held_bytes = len(content or b"")
        if self._lanes is None:
            return Prepared(detector=detector, held_bytes=held_bytes)
        is_referable = is_referred or self._rejection(image, begun.header, inline=False) is None
        examination = _LaneExamination(self._lanes, content, provenance, is_referable=is_referable)
        return Prepared(detector=detector, held_bytes=held_bytes, at_lane=examination.at)

    def _rejection(self, image: ObjectRef, header: Header, *, inline: bool) -> ImageRejection | None:
        return find_rejection(header, image.size_bytes, self._limits, inline=inline)

    async def _begun(self, image: ObjectRef) -> _Begun:
        is_whole = self._compares or not self._by_reference
        if is_whole and image.size_bytes <= self._limits.max_inline_bytes:
            await self._hold(image, image.size_bytes)
            body = await self._contents.read(image)
            return _Begun(read_header(body, is_whole=True), body)
        return _Begun(await self._header(image), None)

    async def _header(self, image: ObjectRef) -> Header:
        """The header, from as few bytes as possible; without dimensions when these are too far from the start."""
        length_bytes = HEAD_BYTES
        while True:
            length_bytes = min(length_bytes, image.size_bytes)
            if length_bytes > HEAD_BYTES:
                await self._hold(image, length_bytes)
            head = await self._contents.read(image, first_bytes=length_bytes)
            header = read_header(head, is_whole=len(head) >= image.size_bytes)
            if not header.need_bytes or length_bytes >= min(MAX_HEADER_BYTES, image.size_bytes):
                return header
            length_bytes = min(max(header.need_bytes + HEAD_BYTES, 4 * length_bytes), MAX_HEADER_BYTES)

    async def _ready(
        self, image: ObjectRef, begun: _Begun, *, is_referred: bool, is_refused: bool
    ) -> tuple[bytes | None, Provenance]:
        """The bytes to send (None for a reference) and their provenance.

        Raises:
            ImageError: It can be converted neither.
        """
        header, body = begun
        if not (is_refused or self._compares):
            digest = await anyio.to_thread.run_sync(_digest, body or b"", limiter=self._cores)
            return body, Provenance(sent=_sent(header, body), blake2b=digest)
        result, jpeg = await self._decode(image, begun, is_refused=is_refused)
        content = jpeg if is_refused else None if is_referred else body
        sent: Sent | None = None
        if is_refused:
            source = header.format.value
            sent = Sent(bytes=len(jpeg), width=result.width, height=result.height, converted_from=source)
        elif not is_referred:
            sent = _sent(header, body)
        found = result.perceptual_hash
        known = None if found is None else f"{found:016x}"
        return content, Provenance(sent=sent, blake2b=result.blake2b, perceptual_hash=known)

    async def _decode(self, image: ObjectRef, begun: _Begun, *, is_refused: bool) -> Decoded:
        request = DecodeRequest(limits=self._limits if is_refused else None, hashes=self._compares, digests=True)
        read_bytes = len(begun.body or b"")
        # Before it is decoded: its result must not wait for room while it holds some.
        await self._hold(image, 2 * read_bytes + (self._limits.max_inline_bytes if is_refused else 0))
        guess_bytes = guessed_bytes(begun.header, converts=is_refused)
        try:
            async with self._file(image, begun.body) as file:
                return await self._decoders.decode(request, file, guess_bytes=guess_bytes)
        except ImageError as error:
            raise ImageError(_named(image, error.message), code=error.code, remedy=error.hint) from error

    @asynccontextmanager
    async def _file(self, image: ObjectRef, body: bytes | None) -> AsyncIterator[BinaryIO]:
        """The image as an open file."""
        if body is None and isinstance(self._contents, Files):
            async with self._contents.opened(image) as file:
                yield file
            return
        if body is not None and len(body) <= _QUICK_BYTES:
            file = _stored(body)
        elif body is not None:
            file = await anyio.to_thread.run_sync(_stored, body)
        else:
            async with self._decoders.reading(image.size_bytes):
                file = await anyio.to_thread.run_sync(_stored, await self._contents.read(image))
        with file:
            yield file

    async def _hold(self, image: ObjectRef, size_bytes: int) -> None:
        if self._memory is not None:
            await self._memory.hold(image, size_bytes)


def _digest(body: bytes) -> str:
    return hashlib.blake2b(body, digest_size=16).hexdigest()


def _sent(header: Header, body: bytes | None) -> Sent:
    return Sent(bytes=len(body or b""), width=header.width, height=header.height)


def _named(image: ObjectRef, message: str) -> str:
    return message if message.startswith(image.uri) else f"{image.uri}: {message}"


def _stored(body: bytes) -> BinaryIO:
    """A file without a name that holds ``body``: in memory, or on disk if it is large.

    Raises:
        AccessError: It cannot be written; nothing is wrong with the picture.
    """
    try:
        return _written(body)
    except OSError as exc:
        raise AccessError(
            f"a picture of {len(body):,} bytes cannot be stored to be decoded ({exc.strerror or exc})",
            hint="Free space in the folder of temporary files, or set TMPDIR to another folder.",
        ) from exc


def _written(body: bytes) -> BinaryIO:
    file: BinaryIO
    if len(body) <= _SPOOLED_BYTES and hasattr(os, "memfd_create"):
        file = os.fdopen(os.memfd_create("picture"), "w+b")
    else:
        file = tempfile.TemporaryFile()  # noqa: SIM115  closed by the caller
    try:
        file.write(body)
        file.flush()
    except BaseException:
        file.close()
        raise
    return file


class _Examination:
    """``Detector`` of one prepared image."""

    def __init__(self, detector: Detector, send: Send, content: bytes | None, provenance: Provenance) -> None:
        self._detector = detector
        self._send = send
        self._content = content
        self._provenance = provenance

    async def detect(self, image: ObjectRef) -> Detection:
        """Make one paid attempt; see ``Detector``."""
        if self._content is None:
            found = await self._detector.detect(image)
        else:
            found = await self._send(image, self._content)
        return add_provenance(found, self._provenance)


class _LaneExamination:
    """The detectors of one prepared image, by lane: a reference where the lane can read the image, else its bytes."""

    def __init__(
        self, lanes: Mapping[str, LanePorts], content: bytes | None, provenance: Provenance, *, is_referable: bool
    ) -> None:
        self._lanes = lanes
        self._content = content
        self._provenance = provenance
        self._is_referable = is_referable

    def at(self, lane: str) -> Detector:
        """The detector at a lane."""
        ports = self._lanes[lane]
        if self._content is None or (ports.by_reference and self._is_referable):
            provenance = msgspec.structs.replace(self._provenance, sent=None)
            return _Examination(ports.detector, ports.send, None, provenance)
        return _Examination(ports.detector, ports.send, self._content, self._provenance)
