"""Preparation of an image before it is paid for: check that the service accepts it, and convert it if it does not.

An image that is rejected here gets the error code that the service's rejection would have, at no cost. In doubt an
image is sent to the service.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Awaitable, Callable

import anyio
import anyio.to_thread

from asyncfilter.errors import ImageError
from asyncfilter.model import Detection, ObjectRef
from asyncfilter.pictures.convert import convert, perceptual_hash
from asyncfilter.policy.header import MAX_HEADER_BYTES, Header, read_header
from asyncfilter.policy.image_limits import ImageLimits, find_rejection
from asyncfilter.policy.provenance import Provenance, Sent, add_provenance
from asyncfilter.ports.examine import Contents, Detector, Prepared

HEAD_BYTES = 64 * 1024
"""Bytes of the first read; they contain the header of nearly every image."""

Send = Callable[[ObjectRef, bytes], Awaitable[Detection]]
"""One paid attempt with an image's bytes; raises as ``Detector.detect``."""


class ImagePreparer:
    """``Preparation`` for the service's own detectors.

    Args:
        contents: Reads images.
        detector: Examines them by reference.
        send: Examines bytes.
        limits: The detector's limits on images.
        by_reference: False when every image must be sent, because the detector cannot read the source.
        converts: Whether images that the detector does not accept are converted.
        compares: Whether every image gets its perceptual hash.
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
    ) -> None:
        self._contents = contents
        self._detector = detector
        self._send = send
        self._limits = limits
        self._by_reference = by_reference
        self._converts = converts
        self._compares = compares
        self._cores = anyio.CapacityLimiter(os.cpu_count() or 1)

    async def prepare(self, image: ObjectRef) -> Prepared | None:
        """Make one attempt; see ``Preparation``."""
        if self._by_reference and not self._compares:
            refused = find_rejection(await self._header(image), image.size_bytes, self._limits, inline=False)
            if refused is None:
                return None
            if not (self._converts and refused.is_curable):
                raise ImageError(f"{image.uri}: {refused.why}", code=refused.code)
        body = await self._contents.read(image)
        content, provenance = await anyio.to_thread.run_sync(self._ready, image, body, limiter=self._cores)
        detector = _Examination(self._detector, self._send, content, provenance)
        return Prepared(detector=detector, held_bytes=len(content or b""))

    async def _header(self, image: ObjectRef) -> Header:
        """The header, from as few bytes as possible; without dimensions when these are too far from the start."""
        length_bytes = HEAD_BYTES
        while True:
            head = await self._contents.read(image, first_bytes=min(length_bytes, image.size_bytes))
            header = read_header(head, is_whole=len(head) >= image.size_bytes)
            if not header.need_bytes or length_bytes >= MAX_HEADER_BYTES:
                return header
            length_bytes = min(max(header.need_bytes + HEAD_BYTES, 4 * length_bytes), MAX_HEADER_BYTES)

    def _ready(self, image: ObjectRef, body: bytes) -> tuple[bytes | None, Provenance]:
        """The bytes to send (None for a reference) and their provenance; runs in a worker thread.

        Raises:
            ImageError: The service would accept it neither unchanged nor converted.
        """
        try:
            content, sent = self._fit(body)
        except ImageError as error:
            raise ImageError(f"{image.uri}: {error.message}", code=error.code) from error
        digest = hashlib.blake2b(body, digest_size=16).hexdigest()
        found = perceptual_hash(body) if self._compares else None
        return content, Provenance(
            sent=sent, blake2b=digest, perceptual_hash=None if found is None else f"{found:016x}"
        )

    def _fit(self, body: bytes) -> tuple[bytes | None, Sent | None]:
        header = read_header(body, is_whole=True)
        if self._by_reference and find_rejection(header, len(body), self._limits, inline=False) is None:
            return None, None
        refused = find_rejection(header, len(body), self._limits, inline=True)
        if refused is None:
            return body, Sent(bytes=len(body), width=header.width, height=header.height)
        if not (self._converts and refused.is_curable):
            raise ImageError(refused.why, code=refused.code)
        jpeg = convert(body, self._limits)
        size = Sent(bytes=len(jpeg.body), width=jpeg.width, height=jpeg.height, converted_from=header.format.value)
        return jpeg.body, size


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
