"""The memory that decoding of a picture takes, from its header.

The figures are upper bounds for Pillow's decoders: how many bytes a pixel takes where it is stored, and what a decoder
keeps beside it. They are part of no promise: a decoder that takes more runs into the limit of its process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncfilter.policy.header import Format, Header
from asyncfilter.policy.image_limits import ImageLimits, fit

if TYPE_CHECKING:
    from PIL import Image  # the run itself does without Pillow

_STORED_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2, "I;16N": 2}
"""Bytes of a pixel in memory by Pillow's modes; all others take 4, RGB among them."""

_CODEC_BYTES = {"WEBP": 12, "AVIF": 10, "HEIF": 10, "GIF": 4}
"""Bytes a pixel that a decoder keeps beside the picture: canvases, planes, and its result."""
_READS_WHOLE = frozenset({"WEBP", "AVIF", "HEIF"})

_FIXED_BYTES = 1 << 20
_SPARE_BYTES = 80_000_000
_UNKNOWN_BYTES = 32 << 20
_BITS_PER_SAMPLE = 258


def decoding_bytes(
    picture: Image.Image,
    *,
    file_bytes: int,
    source_pixels: int,
    limits: ImageLimits | None,
    hashes: bool,
    is_turned: bool,
) -> int:
    """Most bytes that a picture which is open and not decoded yet takes until its result is ready.

    Args:
        picture: As it will be decoded, which for a JPEG may be at a fraction of its size.
        file_bytes: Size of the file.
        source_pixels: Pixels in the file.
        limits: Of the JPEG that it becomes; None when none is made.
        hashes: Whether its perceptual hash is computed.
        is_turned: Whether its pixels are turned upright.
    """
    pixels = picture.width * picture.height
    needed = _FIXED_BYTES + pixels * _STORED_BYTES.get(picture.mode, 4)
    needed += _codec_bytes(picture, pixels, source_pixels, file_bytes)
    if picture.mode != "RGB" or picture.has_transparency_data:
        needed += 4 * pixels
    if is_turned:
        needed += 4 * pixels
    # One after the other: grey for the hash, and the smaller copy.
    after = pixels if hashes else 0
    if limits is not None:
        after = max(after, spare_bytes(picture.size, fit(*picture.size, limits)))
    return needed + after


def guessed_bytes(header: Header, *, converts: bool) -> int:
    """About what the decoding of a picture takes, from its header; it is known once its decoder has opened it.

    Args:
        header: Of the picture.
        converts: False when only its hash is computed, for which a JPEG is decoded at a fraction of its size.
    """
    if header.width is None or header.height is None:
        return _UNKNOWN_BYTES
    pixels = header.width * header.height
    if header.format is Format.JPEG and not converts:
        return _FIXED_BYTES + 3 * pixels
    codec_bytes = _CODEC_BYTES.get(header.format.upper(), 0)
    return _FIXED_BYTES + (5 + codec_bytes) * pixels + spare_bytes((header.width, header.height), None)


def canvas_bytes(header: Header, file_bytes: int) -> int:
    """Most bytes that a WebP takes, whose decoder takes most of them when it opens the file."""
    pixels = (header.width or 0) * (header.height or 0)
    return _FIXED_BYTES + file_bytes + (_CODEC_BYTES["WEBP"] + 4) * pixels


def spare_bytes(size: tuple[int, int], fitting: tuple[int, int] | None) -> int:
    """Bytes for a smaller copy of a picture: of the size that fits, or of three quarters of each side.

    Of a large picture there may be room for less, but at least for half of each side.
    """
    pixels = size[0] * size[1]
    wanted_bytes = 9 * pixels // 4
    if fitting is not None and fitting != size:
        wanted_bytes = max(wanted_bytes, 4 * fitting[0] * fitting[1])
    return max(pixels, min(wanted_bytes, _SPARE_BYTES))


def _codec_bytes(picture: Image.Image, pixels: int, source_pixels: int, file_bytes: int) -> int:
    kind = picture.format or ""
    needed = _CODEC_BYTES.get(kind, 0) * pixels
    if kind in _READS_WHOLE:
        needed += file_bytes
    if kind == "JPEG" and "progressive" in picture.info:
        # All coefficients of the whole picture, at 2 bytes each, whatever the size at which it is decoded.
        needed += 2 * len(picture.getbands()) * source_pixels
    tiles = getattr(picture, "tile", ())
    if kind == "TIFF" and tiles and tiles[0][0] == "libtiff":
        needed += pixels * _tiff_pixel_bits(picture) // 8
    return needed


def _tiff_pixel_bits(picture: Image.Image) -> int:
    """Bits of a pixel in a TIFF, one strip of which may hold the whole picture."""
    bits = picture.tag_v2.get(_BITS_PER_SAMPLE, (8,)) if hasattr(picture, "tag_v2") else (8,)
    return sum(bits) if isinstance(bits, tuple) else 8
