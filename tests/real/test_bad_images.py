"""Real broken and odd files: their headers agree with Pillow, and each has one outcome."""

from __future__ import annotations

import io
import warnings
from contextlib import nullcontext
from pathlib import Path

import pytest
from PIL import Image, UnidentifiedImageError

from asyncfilter.errors import ImageError
from asyncfilter.job.spec import DetectorKind
from asyncfilter.pictures.convert import convert, perceptual_hash
from asyncfilter.policy.detectors import PROFILES
from asyncfilter.policy.header import Format, read_header
from asyncfilter.policy.image_limits import find_rejection

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
FILES = sorted(path for path in (DATA / "badimages").rglob("*") if path.is_file())
LIMITS = PROFILES[DetectorKind.REKOGNITION].image_limits

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not FILES, reason="the real broken images are not on this machine"),
]
UNUSABLE = {
    *("corrupt.jpg", "s3_error_saved_as.jpg", "zero_bytes.jpg", "ukbench09268_corrupt.jpg", "negative_size.ppm"),
    *("broken.png", "unknown_compression_method.png", "png_decompression_dos.png", "zero_width.gif"),
    *("ultrahdr.jpg", "african_elephants_truncated_file.jpg"),
    *("bmp__b__reallybig.bmp", "decompression_bomb.gif"),
    *("apng__mode_palette_alpha.png", "cross_scan_line.png", "no_palette.gif", "tiff_16bit_RGB.tiff", "tiny.png"),
    *("empty_gps_ifd.jpg", "exif_gps.jpg", "icc-after-SOF.jpg", "xmp_no_prefix.jpg"),
}
"""Files that are no picture, truncated, a decompression bomb, or too small."""
BY_PILLOW = {"MPO": Format.JPEG}


def as_pillow_sees(body: bytes) -> tuple[Format, tuple[int, int]] | None:
    """Format and size by Pillow; None for what it refuses to open."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(body)) as picture:
                kind = picture.format or ""
                return BY_PILLOW.get(kind) or Format(kind.lower()), picture.size
        except (UnidentifiedImageError, Image.DecompressionBombError, ValueError):
            return None


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_headers_are_what_pillow_finds(path: Path) -> None:
    """Format and, if the header has it, size agree with Pillow, read from the first bytes and from all."""
    body = path.read_bytes()
    seen = as_pillow_sees(body)
    for header in (read_header(body, is_whole=True), read_header(body[: 128 * 1024], is_whole=len(body) <= 128 * 1024)):
        if seen is not None:
            assert header.format is seen[0]
            assert not header.is_broken
            assert header.width is None or (header.width, header.height) == seen[1]
            if seen[0] in {Format.JPEG, Format.PNG}:
                assert header.width is not None or header.need_bytes


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_each_file_is_taken_converted_or_refused(path: Path) -> None:
    """A broken file raises nothing but ``ImageError``, and a converted one is a JPEG that the service accepts."""
    body = path.read_bytes()
    perceptual_hash(body)
    with pytest.raises(ImageError) if path.name in UNUSABLE else nullcontext() as caught:
        jpeg = convert(body, LIMITS)
    if caught is not None:
        assert caught.value.code in {"invalid_image_format", "image_rejected", "decompression_bomb"}
        return
    header = read_header(jpeg.body, is_whole=True)
    assert (header.format, header.width, header.height) == (Format.JPEG, jpeg.width, jpeg.height)
    assert find_rejection(header, len(jpeg.body), LIMITS, inline=True) is None


@pytest.mark.parametrize("orientation", range(9))
def test_one_scene_in_all_orientations_is_one_picture(orientation: int) -> None:
    """After conversion the nine photographs of one scene are upright and have near hashes."""
    folder = DATA / "badimages" / "exif-orientation"
    upright = perceptual_hash((folder / "Landscape_1.jpg").read_bytes())
    jpeg = convert((folder / f"Landscape_{orientation}.jpg").read_bytes(), LIMITS)
    found = perceptual_hash(jpeg.body)
    assert (jpeg.width, jpeg.height) == (1800, 1200)
    assert found is not None
    assert upright is not None
    assert (found ^ upright).bit_count() <= 4
