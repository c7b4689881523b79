r"""A manifest as physical lines: bytes that end in a line feed, read one by one in flat memory.

Only ``\n`` ends a line; a ``\r`` before it belongs to the line end. What follows the last ``\n`` is a line if it has
any bytes. Lines are numbered from 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple, Protocol

MAX_HELD_BYTES = 1024 * 1024
"""Longest line that is held whole. A line of 100,000 characters, the most that the service takes, has fewer bytes."""

_PIECE_BYTES = 64 * 1024


class PhysicalLine(NamedTuple):
    r"""One line of a file.

    Attributes:
        number: From 1.
        offset: Where it begins, bytes from the start of the stream.
        size_bytes: Of the whole line with its end.
        content: The bytes without the line end; of a line that is not held whole, its beginning.
        end: The line end: ``\n``, ``\r\n``, or nothing after the last line.
    """

    number: int
    offset: int
    size_bytes: int
    content: bytes
    end: bytes

    @property
    def is_whole(self) -> bool:
        """Whether ``content`` is all of the line."""
        return len(self.content) + len(self.end) == self.size_bytes

    @property
    def is_blank(self) -> bool:
        """Whether there is nothing but white space, as JSON has it."""
        return self.is_whole and not self.content.strip(b" \t\r\n")


class ByteSink(Protocol):
    """A destination of lines, such as an open file."""

    def write(self, content: bytes, /) -> object:
        """Write bytes."""
        ...


def read_lines(stream: BinaryIO) -> Iterator[PhysicalLine]:
    """The lines of ``stream`` from its present position; offsets count from there."""
    number = offset = 0
    limit = MAX_HELD_BYTES + 2
    while raw := stream.readline(limit):
        number += 1
        size_bytes = len(raw)
        if size_bytes == limit and raw[-1] != 10:
            size_bytes += _rest_bytes(stream)
        if size_bytes > limit:
            yield PhysicalLine(number, offset, size_bytes, raw, b"")
        else:
            content, end = _split_end(raw)
            yield PhysicalLine(number, offset, size_bytes, content, end)
        offset += size_bytes


def line_bytes(line: PhysicalLine) -> bytes:
    """A line as it is copied: unchanged, with a line feed where the last line of a file has none."""
    return line.content + (line.end or b"\n")


def _rest_bytes(stream: BinaryIO) -> int:
    """Skip the rest of a line that is not held; returns its length."""
    rest_bytes = 0
    while piece := stream.readline(_PIECE_BYTES):
        rest_bytes += len(piece)
        if piece[-1] == 10:
            break
    return rest_bytes


def _split_end(raw: bytes) -> tuple[bytes, bytes]:
    if raw[-1] != 10:
        return raw, b""
    if raw[-2:-1] == b"\r":
        return raw[:-2], b"\r\n"
    return raw[:-1], b"\n"
