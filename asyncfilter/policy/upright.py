"""The size of an upright image, from the first bytes of a file: EXIF may say that it is stored lying on its side.

Only JPEGs are turned; a PNG is taken as it is stored. Nothing is decoded.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from asyncfilter.policy.header import Format, Header, read_header

_EXIF = b"Exif\0\0"
_ORIENTATION = 0x0112
_ON_ITS_SIDE = frozenset({5, 6, 7, 8})
_MOST_SEGMENTS = 10_000
_MOST_ENTRIES = 1_000
_PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}
"""Channels by colour type; a palette has colours of three."""
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_BARE = frozenset(range(0xD0, 0xD9)) | {0x00, 0x01}


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


def _jpeg(head: bytes) -> tuple[int, int]:
    """Channels and EXIF orientation of a JPEG, up to its frame header."""
    at, orientation = 2, 1
    for _ in range(_MOST_SEGMENTS):
        if at + 4 > len(head):
            break
        marker = head[at + 1]
        if head[at] != 0xFF:
            found = head.find(b"\xff", at)
            at = found if found >= 0 else len(head)
        elif marker == 0xFF:
            at += 1
        elif marker in _BARE:
            at += 2
        elif marker in _FRAMES:
            return (head[at + 9] if at + 9 < len(head) else 3), orientation
        else:
            length = int.from_bytes(head[at + 2 : at + 4], "big")
            segment = head[at + 4 : at + 2 + length]
            if marker == 0xE1 and orientation == 1 and segment.startswith(_EXIF):
                orientation = _exif_orientation(segment[len(_EXIF) :])
            at += 2 + length
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
