"""Headers are read as Pillow reads them, from as few bytes as possible, and never wrongly from fewer."""

from __future__ import annotations

import io
import struct

from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from asyncfilter.policy.header import Format, format_of, read_header

SIDES = st.integers(1, 300)
MODES = st.sampled_from(["L", "RGB", "CMYK"])


def jpeg(width: int, height: int, mode: str, *, progressive: bool) -> bytes:
    """An empty JPEG of this size."""
    out = io.BytesIO()
    Image.new(mode, (width, height)).save(out, "JPEG", progressive=progressive)
    return out.getvalue()


Segment = tuple[int, bytes, int]
"""Marker, text, and the number of repetitions of the text in the segment."""


def with_segments(body: bytes, segments: list[Segment]) -> bytes:
    """``body`` with application segments after its first marker, as cameras and editors write them."""
    texts = [(marker, text * times) for marker, text, times in segments]
    middle = b"".join(b"\xff" + bytes([marker]) + struct.pack(">H", len(text) + 2) + text for marker, text in texts)
    return body[:2] + middle + body[2:]


ANY = st.tuples(st.integers(0xE1, 0xEF), st.binary(max_size=400), st.just(1))
LIKE_A_FRAME = st.tuples(st.just(0xE2), st.just(b"\xff\xc0\0\x0b\x08\0\x01\0\x01\x01"), st.integers(1, 6000))
SEGMENTS = st.lists(ANY | LIKE_A_FRAME, max_size=4)


@given(SIDES, SIDES, MODES, st.booleans(), SEGMENTS)
def test_jpeg_sizes_are_found_behind_any_segments(
    width: int, height: int, mode: str, progressive: bool, segments: list[Segment]
) -> None:
    """The size is that of the frame, after any segments, also ones that contain a frame."""
    header = read_header(with_segments(jpeg(width, height, mode, progressive=progressive), segments), is_whole=True)
    assert (header.format, header.width, header.height) == (Format.JPEG, width, height)
    assert not header.is_broken


@given(SIDES, SIDES, SEGMENTS, st.floats(0, 1))
def test_a_truncated_header_requests_more_bytes(width: int, height: int, segments: list[Segment], share: float) -> None:
    """A truncated header is never read as broken or of another size; the requested bytes give the result."""
    body = with_segments(jpeg(width, height, "RGB", progressive=False), segments)
    size_bytes = round(share * len(body))
    header = read_header(body[:size_bytes])
    for _ in range(20):
        assert not header.is_broken
        if not header.need_bytes:
            break
        assert header.width is None
        assert header.need_bytes > size_bytes
        size_bytes = header.need_bytes
        header = read_header(body[:size_bytes])
    assert (header.width, header.height) == (width, height)


@given(SIDES, SIDES, st.sampled_from([Format.PNG, Format.GIF, Format.BMP]))
def test_sizes_of_other_formats(width: int, height: int, kind: Format) -> None:
    """PNG, GIF and BMP have their size in the first 32 bytes."""
    out = io.BytesIO()
    Image.new("P", (width, height)).save(out, kind.upper())
    header = read_header(out.getvalue()[:32])
    assert (header.format, header.width, header.height, header.need_bytes) == (kind, width, height, 0)


@given(SIDES, SIDES, st.sampled_from([Format.WEBP, Format.TIFF, Format.AVIF]))
def test_formats_that_are_recognised_without_their_size(width: int, height: int, kind: Format) -> None:
    """WebP, TIFF and AVIF are recognised by their first bytes."""
    out = io.BytesIO()
    Image.new("RGB", (width, height)).save(out, kind.upper())
    assert read_header(out.getvalue()[:64]).format is kind


@given(st.binary(max_size=200), st.booleans())
def test_no_bytes_are_too_odd(body: bytes, is_whole: bool) -> None:
    """Reading the header of any bytes returns a header."""
    for start in (
        b"",
        b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n",
        b"GIF89a",
        b"BM\0\0\0\0\0\0\0\0",
        b"\0\0\0\x20ftyp",
        b"II*\0",
    ):
        header = read_header(start + body, is_whole=is_whole)
        assert not (is_whole and header.need_bytes)
        assert header.format is format_of(start + body)


def test_heic_is_known_by_any_of_its_brands() -> None:
    """If the major brand is a general one, the compatible brands decide."""
    assert format_of(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic") is Format.HEIC
    assert format_of(b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic") is Format.HEIC
    assert format_of(b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf") is Format.AVIF
    assert format_of(b"\0\0\0\x18ftypisom\0\0\0\0isommp42") is Format.UNKNOWN
