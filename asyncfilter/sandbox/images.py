"""The service's checks of an image, by its content: format, then dimensions. The file's name is not considered.

Only headers are read: a truncated picture passes, because the limits apply to the dimensions in the header. Limits are
those of the guides (*Guidelines and quotas in Amazon Rekognition*, *... in Custom Labels*).
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from asyncfilter.sandbox.message import ServiceError

MAX_OBJECT_BYTES: Final = 15 * 1024 * 1024
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_FRAME_MARKERS: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_BARE_MARKERS: Final = frozenset(range(0xD0, 0xD9)) | {0x00, 0x01, 0xFF}
_END_MARKERS: Final = frozenset({0xD9, 0xDA})


class SizeLimits(NamedTuple):
    """The limits of one operation; pixels are those of one side."""

    max_inline_bytes: int
    min_px: int
    max_px: int
    max_aspect: float | None = None


LABELS: Final = SizeLimits(max_inline_bytes=5 * 1024 * 1024, min_px=80, max_px=10_000)
CUSTOM_LABELS: Final = SizeLimits(max_inline_bytes=4 * 1024 * 1024, min_px=64, max_px=4096, max_aspect=20)


def dimensions(body: bytes) -> tuple[int, int] | None:
    """Width and height of a JPEG or PNG, from its header; None for other formats and for a broken header."""
    if body.startswith(_PNG):
        return struct.unpack_from(">II", body, 16) if body[12:16] == b"IHDR" and len(body) >= 24 else None
    return _jpeg_dimensions(body) if body.startswith(b"\xff\xd8\xff") else None


def is_supported(body: bytes) -> bool:
    """True if the body begins with the signature of JPEG or PNG."""
    return body.startswith((_PNG, b"\xff\xd8\xff"))


def check_image(body: bytes, limits: SizeLimits, *, inline: bool) -> None:
    """Return for an image that the service accepts; raise the service's error otherwise.

    Raises:
        ServiceError: ``ImageTooLargeException``, ``InvalidImageFormatException``, or, for a side below the minimum or a
            side ratio above the maximum, ``InvalidParameterException``, whose message does not mention pixels.
    """
    if len(body) > (limits.max_inline_bytes if inline else MAX_OBJECT_BYTES):
        raise ServiceError("ImageTooLargeException", "Image size is too large")
    if not is_supported(body):
        raise ServiceError("InvalidImageFormatException", "Request has invalid image format")
    size = dimensions(body)
    if size is None:
        raise ServiceError("InvalidImageFormatException", "Invalid image encoding")
    width, height = size
    if max(size) > limits.max_px:
        message = f"Input image dimensions {width} x {height} exceed maximum dimension size of {limits.max_px} pixels"
        raise ServiceError("ImageTooLargeException", message)
    too_long = limits.max_aspect is not None and max(size) > limits.max_aspect * max(min(size), 1)
    if min(size) < limits.min_px or too_long:
        raise ServiceError("InvalidParameterException", "Request has Invalid Parameters")


def _jpeg_dimensions(body: bytes) -> tuple[int, int] | None:
    """Read the segments up to the frame header; bytes between segments are skipped, as decoders do."""
    at, end = 2, len(body)
    while (at := body.find(b"\xff", at)) >= 0 and at + 4 <= end:
        marker = body[at + 1]
        if marker in _BARE_MARKERS:
            at += 1 if marker == 0xFF else 2
            continue
        if marker in _END_MARKERS:
            return None
        if marker in _FRAME_MARKERS:
            if at + 9 > end:
                return None
            height, width = struct.unpack_from(">HH", body, at + 5)
            return width, height
        at += 2 + int(struct.unpack_from(">H", body, at + 2)[0])
    return None
