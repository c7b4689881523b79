"""The size of an upright image, from the first bytes of a file: EXIF may say that it is stored lying on its side.

Only JPEGs are turned; a PNG is taken as it is stored. Nothing is decoded.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from asyncfilter.policy.header import JPEG_FRAMES, Format, Header, jpeg_segments, read_header

_EXIF = b"Exif\0\0"
_ORIENTATION = 0x0112
_ON_ITS_SIDE = frozenset({5, 6, 7, 8})
_MOST_ENTRIES = 1_000
_PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}
"""Channels by colour type; a palette has colours of three."""


class Upright(NamedTuple):
    """An upright image.

    Attributes:
        width: In pixels; ``height`` likewise.
        channels: Of its pixels.
        is_turned: Whether width and height are swapped in the file.
    """

    width: int
    height: int
    channels: int
    is_turned: bool


class UprightHeader(NamedTuple):
    """What the first bytes of a file show.

    Attributes:
        header: Format and size as stored; ``need_bytes`` above 0 when more bytes may show more.
        upright: The upright image; None where the header shows no size.
    """

    header: Header
    upright: Upright | None


def read_upright(head: bytes, *, is_whole: bool = False) -> UprightHeader:
    """The header of a file and the size of its upright image; arguments are those of ``read_header``."""
    header = read_header(head, is_whole=is_whole)
    if header.width is None or header.height is None:
        return UprightHeader(header, None)
    if header.format is not Format.JPEG:
        channels = _PNG_CHANNELS.get(head[25], 3) if header.format is Format.PNG and len(head) > 25 else 3
        return UprightHeader(header, Upright(header.width, header.height, channels, is_turned=False))
    channels, orientation = _jpeg(head)
    if orientation in _ON_ITS_SIDE:
        return UprightHeader(header, Upright(header.height, header.width, channels, is_turned=True))
    return UprightHeader(header, Upright(header.width, header.height, channels, is_turned=False))


def orientation_of(head: bytes) -> int:
    """The EXIF orientation, 1 to 8, in the first bytes of a JPEG; 1 for any other file."""
    header = read_header(head)
    found = _jpeg(head)[1] if header.format is Format.JPEG else 1
    return found if 1 <= found <= 8 else 1


def _jpeg(head: bytes) -> tuple[int, int]:
    """Channels and EXIF orientation of a JPEG, up to its frame header."""
    orientation = 1
    for marker, at in jpeg_segments(head):
        if marker in JPEG_FRAMES:
            return (head[at + 9] if at + 9 < len(head) else 3), orientation
        if marker == 0xE1 and orientation == 1:
            segment = head[at + 4 : at + 2 + int.from_bytes(head[at + 2 : at + 4], "big")]
            if segment.startswith(_EXIF):
                orientation = _exif_orientation(segment[len(_EXIF) :])
    return 3, orientation


def _exif_orientation(exif: bytes) -> int:
    """The orientation in the first directory of an EXIF block, which is a TIFF; 1 where it has none."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None or len(exif) < 8:
        return 1
    (at,) = struct.unpack_from(f"{order}I", exif, 4)
    if at + 2 > len(exif):
        return 1
    (entries,) = struct.unpack_from(f"{order}H", exif, at)
    for number in range(min(entries, _MOST_ENTRIES)):
        start = at + 2 + 12 * number
        if start + 12 > len(exif):
            break
        tag, kind = struct.unpack_from(f"{order}HH", exif, start)
        if tag == _ORIENTATION:
            (value,) = struct.unpack_from(f"{order}H" if kind == 3 else f"{order}I", exif, start + 8)
            return int(value)
    return 1
