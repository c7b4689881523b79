"""The size of the upright image is that of Pillow, for every orientation and from a few bytes of the file."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from asyncfilter.policy.upright import read_upright
from tests.kit.fuzzing import MIB, bounded, damaged, fuzz

CHANNELS = {"L": 1, "RGB": 3, "CMYK": 4, "LA": 2, "RGBA": 4, "P": 3, "1": 1}
EXAMPLES = Path(__file__).parents[3] / "shared/data/badimages/exif-orientation"


def picture(width: int, height: int, mode: str, kind: str, orientation: int | None) -> bytes:
    """A picture with an orientation in its EXIF block."""
    out, exif = io.BytesIO(), Image.Exif()
    exif[0x010F] = "A camera"
    if orientation is not None:
        exif[0x0112] = orientation
    Image.new(mode, (width, height)).save(out, kind, exif=exif)
    return out.getvalue()


@given(st.integers(1, 90), st.integers(1, 90), st.sampled_from(["L", "RGB", "CMYK"]), st.none() | st.integers(0, 9))
def test_jpegs_are_turned(width: int, height: int, mode: str, orientation: int | None) -> None:
    """As Pillow turns them."""
    body = picture(width, height, mode, "JPEG", orientation)
    found = read_upright(body).upright
    assert found is not None
    with Image.open(io.BytesIO(body)) as opened:
        assert (found.width, found.height) == ImageOps.exif_transpose(opened).size
    assert found.is_turned == (orientation in {5, 6, 7, 8})
    assert found.channels == CHANNELS[mode]


@given(st.integers(1, 90), st.integers(1, 90), st.sampled_from(["1", "L", "RGB", "LA", "RGBA", "P"]), st.integers(1, 8))
def test_pngs_are_taken_as_stored(width: int, height: int, mode: str, orientation: int) -> None:
    """Whatever their EXIF chunk says."""
    found = read_upright(picture(width, height, mode, "PNG", orientation)).upright
    assert found == (width, height, CHANNELS[mode], False)


@pytest.mark.real
def test_one_picture_in_all_orientations() -> None:
    """Real files: all have the size of the upright one."""
    if not EXAMPLES.is_dir():
        pytest.skip("no real pictures here: ../shared/data/badimages/exif-orientation is absent")
    for path in sorted(EXAMPLES.rglob("*.jpg")):
        found = read_upright(path.read_bytes()[:65536]).upright
        with Image.open(path) as opened:
            assert found is not None
            assert (found.width, found.height) == ImageOps.exif_transpose(opened).size, path


PICTURES = [picture(30, 20, "RGB", "JPEG", 6), picture(30, 20, "RGBA", "PNG", 6), picture(9, 9, "L", "JPEG", None)]


@pytest.mark.fuzz
@fuzz
@given(
    damaged(PICTURES, [b"\xff", b"\xff\xe1\xff\xff", b"Exif\0\0II*\0", b"\0\0\0\x08\xff\xff", b"\x01\x12"]),
    st.booleans(),
)
def test_fuzz_upright_pictures(body: bytes, is_whole: bool) -> None:
    """Nothing in a picture stops the reader, and a size is never negative."""
    with bounded(16 * len(body) + MIB):
        found = read_upright(body, is_whole=is_whole).upright
    assert found is None or (found.width >= 0 and found.height >= 0)
