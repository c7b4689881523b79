"""A PNG without the chunks that do not change what it shows: texts, colour profiles, and unknown ones.

Pillow expands compressed texts and profiles when it opens a file, and refuses the whole picture when one is over a
megabyte. Only chunks with pixels are needed here, and those that may have the orientation.
"""

from __future__ import annotations

import io
from bisect import bisect_right
from typing import BinaryIO, NamedTuple

_MAGIC_BYTES = 8
_FRAME_BYTES = 12
"""Length, name and checksum of a chunk."""

_KEPT = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"acTL", b"fcTL", b"fdAT", b"gAMA", b"CgBI"})
_WITH_ORIENTATION = {
    b"eXIf": b"",
    b"tEXt": b"Raw profile type exif\0",
    b"zTXt": b"Raw profile type exif\0",
    b"iTXt": b"XML:com.adobe.xmp\0",
}
"""Chunks that may hold the orientation, and how their content begins."""
_MOST_ORIENTATION_BYTES = 256 * 1024
_MOST_CHUNKS = 1_000_000


class _Span(NamedTuple):
    """Bytes of the file that are kept: where they begin in the view, and in the file."""

    at: int
    source_at: int
    length: int


def without_texts(file: BinaryIO) -> BinaryIO:
    """A view of a PNG without texts and profiles; ``file`` itself when it has none, or is not a valid PNG."""
    spans = _spans(file)
    file.seek(0)
    return file if len(spans) <= 1 else io.BufferedReader(_View(file, spans))


def _spans(file: BinaryIO) -> list[_Span]:
    spans = [_Span(0, 0, _MAGIC_BYTES)]
    at, size = _MAGIC_BYTES, file.seek(0, io.SEEK_END)
    kept: set[bytes] = set()
    for _ in range(_MOST_CHUNKS):
        file.seek(at)
        head = file.read(_FRAME_BYTES + 24)
        length, name = int.from_bytes(head[:4], "big") + _FRAME_BYTES, head[4:8]
        if len(head) < 8 or at + length > size or name == b"IEND":
            return _extended(spans, at, size - at)  # the last one, or cut: Pillow reports it
        if name in _KEPT or _has_orientation(name, head[8:], length, kept):
            spans = _extended(spans, at, length)
            kept.add(name)
        at += length
    return [_Span(0, 0, size)]


def _has_orientation(name: bytes, content: bytes, length: int, kept: set[bytes]) -> bool:
    begins = _WITH_ORIENTATION.get(name)
    is_first = begins is not None and name not in kept
    return is_first and length <= _MOST_ORIENTATION_BYTES and content.startswith(begins or b"")


def _extended(spans: list[_Span], at: int, length: int) -> list[_Span]:
    last = spans[-1]
    if last.source_at + last.length == at:
        spans[-1] = last._replace(length=last.length + length)
    else:
        spans.append(_Span(last.at + last.length, at, length))
    return spans


class _View(io.RawIOBase):
    """The kept bytes of a file as a file."""

    def __init__(self, file: BinaryIO, spans: list[_Span]) -> None:
        super().__init__()
        self._file = file
        self._spans = spans
        self._starts = [span.at for span in spans]
        self._size = spans[-1].at + spans[-1].length
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # typeshed has Buffer, without slices
        if self._at >= self._size:
            return 0
        span = self._spans[bisect_right(self._starts, self._at) - 1]
        within = self._at - span.at
        self._file.seek(span.source_at + within)
        content = self._file.read(min(len(buffer), span.length - within))
        buffer[: len(content)] = content
        self._at += len(content)
        return len(content)
