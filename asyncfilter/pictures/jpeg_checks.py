"""Checks of JPEG files that are quick for any file, before a decoder that may not be."""

from __future__ import annotations

import io
from typing import BinaryIO

from asyncfilter.errors import ImageError
from asyncfilter.policy.header import JPEG_FRAMES

MOST_SCANS = 100
"""A progressive JPEG has about ten; each takes as long to decode as the whole picture."""
_MOST_MARKERS = 20_000
_MOST_JUNK_BYTES = 64 * 1024
_BARE = frozenset(range(0xD0, 0xD9)) | {0x00, 0x01, 0xFF}
_ENDS = frozenset({0xD9, 0xDA})
_BLOCK_BYTES = 1 << 20


def check_frame(file: BinaryIO) -> None:
    """Check that the markers of a JPEG lead to its frame: decoders search the whole file for the next one.

    Raises:
        ImageError: ``invalid_image_format``.
    """
    at, junk_bytes = 2, 0
    for _ in range(_MOST_MARKERS):
        file.seek(at)
        head = file.read(4)
        if len(head) < 4 or junk_bytes > _MOST_JUNK_BYTES or (head[0] == 0xFF and head[1] in _ENDS):
            break
        if head[0] != 0xFF:
            file.seek(at)
            found = file.read(_MOST_JUNK_BYTES + 1).find(b"\xff")
            skipped = found if found >= 0 else _MOST_JUNK_BYTES + 1
            at, junk_bytes = at + skipped, junk_bytes + skipped
        elif head[1] in _BARE:
            at += 1 if head[1] == 0xFF else 2
        elif head[1] in JPEG_FRAMES:
            file.seek(0)
            return
        else:
            at += 2 + int.from_bytes(head[2:4], "big")
    raise ImageError("not a JPEG that can be decoded (it has no frame)", code="invalid_image_format")


def check_scans(file: BinaryIO) -> None:
    """Check that a progressive JPEG has no more scans than can be decoded in a short time.

    Raises:
        ImageError: ``decompression_bomb``.
    """
    at = file.tell()
    file.seek(0)
    scans, tail = 0, b""
    while block := file.read(_BLOCK_BYTES):
        scans += (tail + block).count(b"\xff\xda")
        tail = block[-1:]
    file.seek(at, io.SEEK_SET)
    if scans > MOST_SCANS:
        raise ImageError(f"a JPEG of {scans:,} scans, at most {MOST_SCANS} are decoded", code="decompression_bomb")
