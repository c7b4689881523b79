"""The messages between a run and its decoding processes, over a pair of sockets.

A request comes with a file descriptor: the picture is never copied through the socket. Each message has its length
before it; the JPEG, or the pixels, follow the message of a result.
"""

from __future__ import annotations

import msgspec

from asyncfilter.onnx.frames import Frame
from asyncfilter.policy.image_limits import ImageLimits

LENGTH_BYTES = 4
READY = b"\x01"
"""Sent by a process as soon as it can decode."""


class DecodeRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One picture to decode.

    Attributes:
        limits: Of the JPEG that it shall become; None to make none.
        frame: From the picture to the pixels that it shall become instead; None to make none.
        hashes: Whether its perceptual hash is wanted.
        digests: Whether the hash of the file is wanted.
        granted_bytes: Memory that it may take; ``most_bytes``: what could be granted at the most.
    """

    limits: ImageLimits | None = None
    frame: Frame | None = None
    hashes: bool = False
    digests: bool = False
    granted_bytes: int = 0
    most_bytes: int = 0


class DecodeResult(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of it.

    Attributes:
        needed_bytes: Memory that it takes, where that is more than was granted; nothing was decoded then.
        error_code: Why it could not be decoded; ``message`` has the details.
        jpeg_bytes: Length of the JPEG, or of the pixels, which follow this message; ``width`` and ``height`` are the
            size of the JPEG.
        perceptual_hash: None without one.
        blake2b: Hash of the file, as hexadecimal digits.
    """

    needed_bytes: int = 0
    error_code: str = ""
    message: str = ""
    jpeg_bytes: int = 0
    width: int = 0
    height: int = 0
    perceptual_hash: int | None = None
    blake2b: str | None = None


def framed(message: DecodeRequest | DecodeResult) -> bytes:
    """A message with its length."""
    body = msgspec.msgpack.encode(message)
    return len(body).to_bytes(LENGTH_BYTES, "big") + body
