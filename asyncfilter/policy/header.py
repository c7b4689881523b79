"""Image headers: the format and, where it can be read, the size in pixels, from the first bytes of a file.

Nothing is decoded. Only certain facts are reported: for a header that is cut, the result has the number of bytes needed
to read more; for an unusual one it holds no size, and the service decides. Sizes are as stored, before any EXIF
rotation.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import StrEnum

import msgspec

MAX_HEADER_BYTES = 2 * 1024 * 1024
"""How far a JPEG is searched for its frame header, which can follow previews, colour profiles and extended XMP."""


class Format(StrEnum):
    """Image formats that the first bytes identify."""

    JPEG = "jpeg"
    PNG = "png"
    GIF = "gif"
    WEBP = "webp"
    BMP = "bmp"
    TIFF = "tiff"
    HEIC = "heic"
    AVIF = "avif"
    UNKNOWN = "unknown"


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """The format and size of an image, as far as its first bytes show them.

    Attributes:
        format: By content; the file's name is not used.
        width: In pixels, as stored; None while it is not known; ``height`` likewise.
        is_broken: True for a file that begins like its format but is not a valid file of it.
        need_bytes: How many bytes from the start may show more; 0 when more bytes would show nothing more.
    """

    format: Format
    width: int | None = None
    height: int | None = None
    is_broken: bool = False
    need_bytes: int = 0


_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_JPEG_MAGIC = b"\xff\xd8\xff"
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"})
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_MAGIC_BYTES = 32
"""Enough bytes to identify every format."""


def read_header(head: bytes, *, is_whole: bool = False) -> Header:
    """The header in ``head``, the beginning of a file.

    Args:
        head: All bytes from the start that were read.
        is_whole: True when they are the whole file, so that missing bytes cannot be read later.
    """
    match format_of(head):
        case Format.JPEG:
            return _jpeg(head, is_whole=is_whole)
        case Format.PNG:
            return _png(head, is_whole=is_whole)
        case Format.GIF:
            return _sized(Format.GIF, "<HH", head, 6)
        case Format.BMP:
            return _bmp(head)
        case Format.WEBP:
            return _webp(head)
        case Format.UNKNOWN if len(head) < _MAGIC_BYTES and not is_whole:
            return Header(format=Format.UNKNOWN, need_bytes=_MAGIC_BYTES)
        case other:
            return Header(format=other)


def format_of(head: bytes) -> Format:
    """The format by its first bytes; 12 are enough, and 16 for HEIC and AVIF."""
    if head.startswith(_JPEG_MAGIC):
        return Format.JPEG
    if head.startswith(_PNG_MAGIC):
        return Format.PNG
    if head.startswith((b"GIF87a", b"GIF89a")):
        return Format.GIF
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return Format.WEBP
    if head.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return Format.TIFF
    if head.startswith(b"BM") and head[6:10] == b"\0\0\0\0":
        return Format.BMP
    return _iso_media(head) if head[4:8] == b"ftyp" else Format.UNKNOWN


def _iso_media(head: bytes) -> Format:
    """HEIC and AVIF are ISO media files: the major brand gives the format, or else the compatible brands."""
    brands = {head[8:12], *(head[at : at + 4] for at in range(16, min(int.from_bytes(head[:4], "big"), len(head)), 4))}
    if brands & _AVIF_BRANDS:
        return Format.AVIF
    return Format.HEIC if brands & _HEIF_BRANDS else Format.UNKNOWN


def _sized(kind: Format, layout: str, head: bytes, at: int) -> Header:
    if len(head) < at + struct.calcsize(layout):
        return Header(format=kind)
    width, height = struct.unpack_from(layout, head, at)
    return Header(format=kind, width=abs(width), height=abs(height))


def _bmp(head: bytes) -> Header:
    """The oldest kind of header has 12 bytes and 16-bit sizes; a negative height means rows from the top."""
    return _sized(Format.BMP, "<HH" if head[14:18] == b"\x0c\0\0\0" else "<ii", head, 18)


def _png(head: bytes, *, is_whole: bool) -> Header:
    if len(head) < 24:
        return Header(format=Format.PNG, is_broken=is_whole, need_bytes=0 if is_whole else 24)
    if head[12:16] == b"IHDR":
        return _sized(Format.PNG, ">II", head, 16)
    return Header(format=Format.PNG, is_broken=head[12:16] != b"CgBI")  # Apple's variant, which has IHDR later


def _webp(head: bytes) -> Header:
    """The canvas of an extended file, or the one frame of a simple one."""
    match head[12:16]:
        case b"VP8X" if len(head) >= 30:
            width, height = (1 + int.from_bytes(head[at : at + 3], "little") for at in (24, 27))
        case b"VP8L" if len(head) >= 25:
            bits = int.from_bytes(head[21:25], "little")
            width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        case b"VP8 " if len(head) >= 30:
            width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", head, 26))
        case _:
            return Header(format=Format.WEBP)
    return Header(format=Format.WEBP, width=width, height=height)


# -- JPEG --------------------------------------------------------------------------------------------------------------

JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers of a frame header."""
_BARE = frozenset(range(0xD0, 0xD9)) | {0x00, 0x01}
_ENDS = frozenset({0xD9, 0xDA})
_FRAME_BYTES = 9
_MOST_MARKERS = 10_000
"""Far more than any program writes before the frame; it bounds the time for a file that is made of markers."""


def jpeg_segments(head: bytes) -> Iterator[tuple[int | None, int]]:
    """Marker and position of each segment of a JPEG; unknown bytes between them are skipped, as by decoders.

    Where the head ends, the last is None with the position from which more bytes are needed; a file that is made of
    markers has no such end.
    """
    at = 2
    for _ in range(_MOST_MARKERS):
        if at + 4 > len(head):
            yield None, at
            return
        marker = head[at + 1]
        if head[at] != 0xFF:
            found = head.find(b"\xff", at)
            at = found if found >= 0 else len(head)
        elif marker == 0xFF:
            at += 1
        elif marker in _BARE:
            at += 2
        else:
            yield marker, at
            at += 2 + int.from_bytes(head[at + 2 : at + 4], "big")


def _jpeg(head: bytes, *, is_whole: bool) -> Header:
    """Go from segment to segment to the frame header."""
    for marker, at in jpeg_segments(head):
        if marker in _ENDS:
            return Header(format=Format.JPEG, is_broken=True)
        if marker is None or (marker in JPEG_FRAMES and at + _FRAME_BYTES > len(head)):
            if is_whole:
                return Header(format=Format.JPEG, is_broken=True)
            return Header(format=Format.JPEG, need_bytes=max(at, len(head)) + 2 * _FRAME_BYTES)
        if marker in JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", head, at + 5)
            return Header(format=Format.JPEG, width=width, height=height)
    return Header(format=Format.JPEG)
