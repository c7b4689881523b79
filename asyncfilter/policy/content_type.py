"""The content type of an image, with which it is stored in S3: by its bytes, else by its extension."""

from __future__ import annotations

import posixpath

from asyncfilter.policy.header import Format, format_of

_TYPES = {
    Format.JPEG: "image/jpeg",
    Format.PNG: "image/png",
    Format.GIF: "image/gif",
    Format.WEBP: "image/webp",
    Format.BMP: "image/bmp",
    Format.TIFF: "image/tiff",
    Format.HEIC: "image/heic",
    Format.AVIF: "image/avif",
}
_EXTENSIONS = {
    ".jpg": Format.JPEG,
    ".jpeg": Format.JPEG,
    ".jfif": Format.JPEG,
    ".png": Format.PNG,
    ".gif": Format.GIF,
    ".webp": Format.WEBP,
    ".bmp": Format.BMP,
    ".tif": Format.TIFF,
    ".tiff": Format.TIFF,
    ".heic": Format.HEIC,
    ".heif": Format.HEIC,
    ".avif": Format.AVIF,
}
_LOOKED_AT_BYTES = 4096
"""Bytes from the start that tell the format; the list of brands of an ISO media file is shorter."""

ANY_TYPE = "application/octet-stream"
"""The content type of bytes of which nothing is known."""


def content_type(content: bytes, name: str) -> str:
    """The content type of a file with these bytes, of which the first are enough, and with this name."""
    found = format_of(content[:_LOOKED_AT_BYTES])
    if found is Format.UNKNOWN:
        found = _EXTENSIONS.get(posixpath.splitext(name)[1].lower(), Format.UNKNOWN)
    return _TYPES.get(found, ANY_TYPE)
