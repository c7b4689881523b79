"""A model of one's own as a detector: image bytes in, a detection out; decoded in processes, classified in batches.

A picture is decoded in a process of the pool, which returns the pixels that the model takes. So what crashes a decoder,
or takes too much, fails alone. ``OwnModelDetector.examine`` does all of it for one image; a run prepares images ahead
(``OwnModelPreparer``) and classifies them when they are admitted.
"""

from __future__ import annotations

import os
from typing import BinaryIO, NamedTuple

import anyio.to_thread

from asyncfilter.errors import ImageError
from asyncfilter.model import Detection, Label, ObjectRef
from asyncfilter.onnx.errors import NoScoresError
from asyncfilter.onnx.runner import Runner
from asyncfilter.pictures.decode_messages import DecodeRequest
from asyncfilter.pictures.decoder_pool import DecoderPool
from asyncfilter.pictures.decoding_cost import guessed_bytes
from asyncfilter.pictures.picture_files import SPOOLED_BYTES, named, opened_picture
from asyncfilter.policy.header import read_header
from asyncfilter.policy.provenance import Provenance, add_provenance
from asyncfilter.ports.examine import Contents, Files, Memory, Prepared

NO_SCORES = "model_failed"
"""Code of an image for which the model gives no scores."""

_HEAD_BYTES = 64 * 1024


class _Decoded(NamedTuple):
    """The pixels of an image, and what is recorded about it."""

    pixels: bytes
    provenance: Provenance


class OwnModelDetector:
    """``Detector`` by a model on this machine.

    Args:
        runner: Classifies pixels.
        decoders: Decode pictures.
        compares: Whether every image gets its perceptual hash.
    """

    def __init__(self, runner: Runner, decoders: DecoderPool, *, compares: bool = False) -> None:
        self._runner = runner
        self._decoders = decoders
        self._compares = compares
        self._contents: Contents | None = None

    def reading(self, contents: Contents) -> OwnModelPreparer:
        """Take images from ``contents``; returns their preparation."""
        self._contents = contents
        return OwnModelPreparer(self, contents)

    @property
    def pixel_bytes(self) -> int:
        """The bytes that a decoded image holds until it is classified."""
        return self._runner.classifier.frame.pixel_bytes

    async def detect(self, image: ObjectRef) -> Detection:
        """Examine an image of the source; see ``Detector``."""
        return await self.classify(image, await self.decode(image, None))

    async def examine(self, image: ObjectRef, content: bytes) -> Detection:
        """Examine ``content``, the bytes that represent ``image``; raises as ``detect`` does."""
        return await self.classify(image, await self.decode(image, content))

    async def decode(self, image: ObjectRef, content: bytes | None) -> _Decoded:
        """The pixels of an image, of which ``content`` are the bytes; None to read them.

        Raises:
            ImageError: It cannot be decoded, or it was replaced since it was listed.
            TransientError: It cannot be read now.
            AccessError: No image can be read or decoded.
        """
        contents = self._contents or _Unread()
        frame = self._runner.classifier.frame
        request = DecodeRequest(frame=frame, hashes=self._compares, digests=True)
        try:
            async with opened_picture(image, content, contents, self._decoders) as file:
                header = read_header(await anyio.to_thread.run_sync(_head, file))
                guess_bytes = guessed_bytes(header, converts=True)
                result, pixels = await self._decoders.decode(request, file, guess_bytes=guess_bytes)
        except ImageError as error:
            raise named(image, error) from error
        found = result.perceptual_hash
        known = None if found is None else f"{found:016x}"
        return _Decoded(pixels, Provenance(blake2b=result.blake2b, perceptual_hash=known))

    async def classify(self, image: ObjectRef, decoded: _Decoded) -> Detection:
        """The labels of a decoded image.

        Raises:
            ImageError: The model gives no scores for it.
        """
        try:
            found = await self._runner.classify(decoded.pixels)
        except NoScoresError as error:
            raise ImageError(f"{image.uri}: {error}", code=NO_SCORES) from error
        labels = tuple([Label(one.name, one.confidence_pct, aliases=one.aliases) for one in found])
        return add_provenance(Detection(labels, self._runner.classifier.version), decoded.provenance)


class OwnModelPreparer:
    """``Preparation`` for a model on this machine: decodes images ahead of their admission.

    Args:
        detector: Decodes and classifies.
        contents: Reads images.
    """

    def __init__(self, detector: OwnModelDetector, contents: Contents) -> None:
        self._detector = detector
        self._reads_files = isinstance(contents, Files)
        self._memory: Memory | None = None

    def bound_by(self, memory: Memory) -> None:
        """See ``BoundedPreparation``."""
        self._memory = memory

    async def prepare(self, image: ObjectRef) -> Prepared:
        """Make one attempt; see ``Preparation``."""
        if self._memory is not None:
            # Files of a folder are read by the process that decodes them; large ones of S3 wait for it on disk.
            file_bytes = 0 if self._reads_files else min(image.size_bytes, SPOOLED_BYTES)
            await self._memory.hold(image, self._detector.pixel_bytes + file_bytes)
        decoded = await self._detector.decode(image, None)
        return Prepared(detector=_Classification(self._detector, decoded), held_bytes=len(decoded.pixels))


class _Classification:
    """``Detector`` of one decoded image."""

    def __init__(self, detector: OwnModelDetector, decoded: _Decoded) -> None:
        self._detector = detector
        self._decoded = decoded

    async def detect(self, image: ObjectRef) -> Detection:
        """Make one attempt; see ``Detector``."""
        return await self._detector.classify(image, self._decoded)


class _Unread:
    """``Contents`` of a detector that is only given bytes."""

    async def read(self, image: ObjectRef, *, first_bytes: int | None = None) -> bytes:
        """See ``Contents``."""
        raise ImageError(f"{image.uri}: cannot be read, {first_bytes or 'all'} bytes of it", code="content_unknown")


def _head(file: BinaryIO) -> bytes:
    return os.pread(file.fileno(), _HEAD_BYTES, 0)
