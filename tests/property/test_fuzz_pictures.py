"""A damaged picture is decoded or fails with its cause; here the decoder runs without its process."""

from __future__ import annotations

import io
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from asyncfilter.errors import ImageError
from asyncfilter.job.spec import DetectorKind
from asyncfilter.pictures.convert import DecodingMemory, MemoryNeededError, convert_file, hash_file
from asyncfilter.policy.detectors import PROFILES
from tests.kit.fuzzing import damaged, fuzz
from tests.kit.pictures import encoded

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

LIMITS = PROFILES[DetectorKind.REKOGNITION].image_limits
MEMORY = DecodingMemory(64_000_000, 64_000_000)
GRADIENT = Image.linear_gradient("L").resize((96, 96))
PICTURES = [
    *(encoded(GRADIENT.convert("RGB"), kind) for kind in ("JPEG", "PNG", "BMP", "TIFF", "WEBP")),
    encoded(GRADIENT.convert("P"), "GIF"),
    encoded(GRADIENT.convert("RGBA"), "PNG"),
    encoded(GRADIENT.convert("CMYK"), "TIFF", compression="tiff_lzw"),
    *(encoded(GRADIENT.convert(mode), "TIFF") for mode in ("I;16", "I", "F")),
    encoded(GRADIENT.convert("RGB"), "JPEG", progressive=True),
]
TOKENS = [b"\xff\xd8", b"\xff\xc0", b"\xff\xda", b"IHDR", b"IDAT", b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f", b"\0"]


@fuzz
@given(damaged(PICTURES, TOKENS, most_bytes=200_000), st.booleans())
def test_a_picture_is_decoded_or_refused(body: bytes, hashes: bool) -> None:
    """What is sent is a JPEG within the limits of the service."""
    with suppress(ImageError, MemoryNeededError):
        jpeg, _ = convert_file(io.BytesIO(body), LIMITS, hashes=hashes, memory=MEMORY)
        with Image.open(io.BytesIO(jpeg.body)) as shown:
            assert shown.format == "JPEG"
            assert min(shown.size) >= LIMITS.min_px
        assert len(jpeg.body) <= LIMITS.max_inline_bytes
    with suppress(ImageError, MemoryNeededError):
        hash_file(io.BytesIO(body), memory=MEMORY)
