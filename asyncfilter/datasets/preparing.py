"""Before an image is paid for: is it one that the service takes, and if not, can it be made one?

Whoever is refused here gets the code that the service's own refusal would have, at no cost. What is in doubt goes to
the service.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Awaitable, Callable

import anyio
import anyio.to_thread

from asyncfilter.datasets.pictures import convert, likeness
from asyncfilter.errors import ImageError
from asyncfilter.model import Detection, ObjectRef
from asyncfilter.policy.acceptance import ImageLimits, refusal
from asyncfilter.policy.footnote import Footnote, Sent, annotate
from asyncfilter.policy.header import MAX_HEADER_BYTES, Header, read_header
from asyncfilter.ports import Contents, Detector, Prepared

HEAD_BYTES = 64 * 1024
"""What is read first: the header of nearly every picture is in it."""

Send = Callable[[ObjectRef, bytes], Awaitable[Detection]]
"""One paid attempt at bytes made of an image; raises as ``Detector.detect``."""


class Preparer:
    """``Preparation`` for the service's own detectors.

    Args:
        contents: Reads images.
        detector: Examines them by reference.
        send: Examines bytes.
        limits: What the detector takes.
        by_reference: False when every image must be sent: the detector cannot read where they are.
        converts: Whether what does not fit is made to.
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
            refused = refusal(await self._header(image), image.size_bytes, self._limits, inline=False)
            if refused is None:
                return None
            if not (self._converts and refused.is_curable):
                raise ImageError(f"{image.uri}: {refused.why}", code=refused.code)
        body = await self._contents.read(image)
        content, footnote = await anyio.to_thread.run_sync(self._ready, image, body, limiter=self._cores)
        detector = _Examination(self._detector, self._send, content, footnote)
        return Prepared(detector=detector, held_bytes=len(content or b""))

    async def _header(self, image: ObjectRef) -> Header:
        """The header, from as few bytes as it takes; unknown in size when it lies too far behind."""
        wanted_bytes = HEAD_BYTES
        while True:
            head = await self._contents.read(image, first_bytes=min(wanted_bytes, image.size_bytes))
            header = read_header(head, is_whole=len(head) >= image.size_bytes)
            if not header.need_bytes or wanted_bytes >= MAX_HEADER_BYTES:
                return header
            wanted_bytes = min(max(header.need_bytes + HEAD_BYTES, 4 * wanted_bytes), MAX_HEADER_BYTES)

    def _ready(self, image: ObjectRef, body: bytes) -> tuple[bytes | None, Footnote]:
        """What to send, None for a reference, and what to note of it; runs in a worker thread.

        Raises:
            ImageError: Neither as it is nor converted would the service take it.
        """
        try:
            content, sent = self._fit(body)
        except ImageError as error:
            raise ImageError(f"{image.uri}: {error.message}", code=error.code) from error
        digest = hashlib.blake2b(body, digest_size=16).hexdigest()
        found = likeness(body) if self._compares else None
        return content, Footnote(sent=sent, blake2b=digest, likeness=None if found is None else f"{found:016x}")

    def _fit(self, body: bytes) -> tuple[bytes | None, Sent | None]:
        header = read_header(body, is_whole=True)
        if self._by_reference and refusal(header, len(body), self._limits, inline=False) is None:
            return None, None
        refused = refusal(header, len(body), self._limits, inline=True)
        if refused is None:
            return body, Sent(bytes=len(body), width=header.width, height=header.height)
        if not (self._converts and refused.is_curable):
            raise ImageError(refused.why, code=refused.code)
        jpeg = convert(body, self._limits)
        size = Sent(bytes=len(jpeg.body), width=jpeg.width, height=jpeg.height, converted_from=header.format.value)
        return jpeg.body, size


class _Examination:
    """``Detector`` of one image that was prepared."""

    def __init__(self, detector: Detector, send: Send, content: bytes | None, footnote: Footnote) -> None:
        self._detector = detector
        self._send = send
        self._content = content
        self._footnote = footnote

    async def detect(self, image: ObjectRef) -> Detection:
        """Make one paid attempt; see ``Detector``."""
        if self._content is None:
            found = await self._detector.detect(image)
        else:
            found = await self._send(image, self._content)
        return annotate(found, self._footnote)
