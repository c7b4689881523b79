"""Preparation of an image before it is paid for: check that the service accepts it, and convert it if it does not.

An image that is rejected here gets the error code that the service's rejection would have, at no cost. In doubt an
image is sent to the service. Nothing is decoded in this process; the header alone is read here, before a file that is
too large to be sent is read at all.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

import anyio
import anyio.to_thread
import msgspec

from asyncfilter.errors import ImageError
from asyncfilter.model import Detection, ObjectRef
from asyncfilter.pictures.decode_messages import DecodeRequest
from asyncfilter.pictures.decoder_pool import Decoded, DecoderPool
from asyncfilter.pictures.decoding_cost import guessed_bytes
from asyncfilter.pictures.picture_files import named, opened_picture
from asyncfilter.policy.header import MAX_HEADER_BYTES, Header, read_header
from asyncfilter.policy.image_limits import ImageLimits, ImageRejection, find_rejection
from asyncfilter.policy.provenance import Provenance, Sent, add_provenance
from asyncfilter.ports.examine import Contents, Detector, Memory, Prepared

HEAD_BYTES = 64 * 1024
"""Bytes of the first read; they contain the header of nearly every image."""

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
            async with opened_picture(image, begun.body, self._contents, self._decoders) as file:
                return await self._decoders.decode(request, file, guess_bytes=guess_bytes)
        except ImageError as error:
            raise named(image, error) from error

    async def _hold(self, image: ObjectRef, size_bytes: int) -> None:
        if self._memory is not None:
            await self._memory.hold(image, size_bytes)


def _digest(body: bytes) -> str:
    return hashlib.blake2b(body, digest_size=16).hexdigest()


def _sent(header: Header, body: bytes | None) -> Sent:
    return Sent(bytes=len(body or b""), width=header.width, height=header.height)


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
