"""Pictures for a model of one's own: decoded in processes within their memory, in any format that Pillow reads."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator

import pytest
from PIL import Image

from asyncfilter.errors import ImageError
from asyncfilter.onnx.frames import Frame
from asyncfilter.pictures.convert import DecodingMemory, MemoryNeededError, frame_file
from asyncfilter.pictures.decode_messages import DecodeRequest
from asyncfilter.pictures.decoder_pool import DecoderPool
from tests.kit.decoding import as_file, decoders_of, peak_mb
from tests.unit.test_hostile_pictures import BASE_MB, BOMBS, MIB

SQUARE = Frame(size=(32, 32))


@pytest.fixture(scope="module")
def decoders() -> Iterator[DecoderPool]:
    """One decoding process, which may take 100 MB for a picture."""
    with DecoderPool(decoding_bytes=100_000_000, processes=1) as pool:
        yield pool


async def pixels_of(decoders: DecoderPool, body: bytes, frame: Frame = SQUARE) -> bytes | str:
    """The pixels of a file, or the code of its error."""
    try:
        with as_file(body) as file:
            found = await decoders.decode(DecodeRequest(frame=frame, digests=True), file, guess_bytes=MIB)
    except ImageError as error:
        return error.code
    return found.jpeg


def saved(picture: Image.Image, kind: str, **settings: object) -> bytes:
    """The bytes of a picture."""
    out = io.BytesIO()
    picture.save(out, kind, **settings)
    return out.getvalue()


def shaded(mode: str = "RGB") -> Image.Image:
    """A picture with two halves."""
    picture = Image.new("RGB", (40, 20), (200, 100, 0))
    picture.paste((0, 50, 250), (20, 0, 40, 20))
    return picture.convert(mode)


@pytest.mark.parametrize(
    "name", ["png", "jpeg", "progressive jpeg", "jpeg of markers", "webp", "gif", "tiff in a circle"]
)
async def test_a_hostile_picture_fails_within_its_memory(name: str, decoders: DecoderPool) -> None:
    """With an error of its own, or as pixels; the process holds no more than it was granted, and goes on."""
    found = await pixels_of(decoders, BOMBS[name][0]())
    codes = {"decompression_bomb", "invalid_image_format", "decoding_timeout", "decoder_died"}
    assert found in codes or len(found) == SQUARE.pixel_bytes
    assert len(await pixels_of(decoders, saved(shaded(), "PNG"))) == SQUARE.pixel_bytes
    assert peak_mb(decoders_of()[0]) < BASE_MB + 100 + 64 + 32


async def test_a_thin_picture_that_would_become_huge_fails(decoders: DecoderPool) -> None:
    """Its shorter side made longer, its longer side would have millions of pixels."""
    thin = saved(Image.new("RGB", (1, 12_000)), "PNG")
    assert await pixels_of(decoders, thin, Frame(shortest=256, crop=(224, 224))) == "decompression_bomb"
    assert len(await pixels_of(decoders, thin)) == SQUARE.pixel_bytes


@pytest.mark.parametrize(
    "kind", ["BMP", "GIF", "ICO", "JPEG", "JPEG2000", "PCX", "PNG", "PPM", "SGI", "TGA", "TIFF", "WEBP"]
)
async def test_all_that_pillow_reads_is_decoded(kind: str, decoders: DecoderPool) -> None:
    """The pixels are those that Pillow has of the file."""
    body = saved(shaded(), kind)
    with Image.open(io.BytesIO(body)) as picture:
        expected = SQUARE.of(picture.convert("RGB"))
    assert await pixels_of(decoders, body) == expected


@pytest.mark.parametrize(
    "body", [b"", b"\0" * 5000, b"<html>404</html>", os.urandom(3000), b"%PDF-1.4 x", b"%!PS-Adobe"]
)
async def test_what_is_no_picture_fails(body: bytes, decoders: DecoderPool) -> None:
    """As other detectors say; a file of PostScript is not given to an interpreter."""
    assert await pixels_of(decoders, body) == "invalid_image_format"


@pytest.mark.parametrize("mode", ["L", "LA", "P", "PA", "RGBA", "CMYK", "YCbCr", "I;16"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    """Alpha is dropped, not laid on white; light of 16 bits is not all white."""
    if mode == "I;16":
        picture = Image.new(mode, (40, 20), 1000)
        picture.paste(60_000, (20, 0, 40, 20))
        kind = "PNG"
    else:
        picture = shaded().convert("RGBA" if mode in {"PA", "LA"} else "RGB").convert(mode)
        kind = {"CMYK": "JPEG", "YCbCr": "JPEG", "PA": "TIFF"}.get(mode, "PNG")
    pixels, _ = frame_file(io.BytesIO(saved(picture, kind)), Frame(size=(2, 1), resample=0))
    left, right = pixels[:3], pixels[3:]
    assert left != right
    if mode in {"RGBA", "P", "CMYK"}:
        assert max(abs(a - b) for a, b in zip(left, (200, 100, 0), strict=True)) < 12


def test_transparent_pixels_keep_their_colour() -> None:
    """As ``convert("RGB")`` has it."""
    picture = Image.new("RGBA", (4, 4), (10, 20, 30, 0))
    pixels, _ = frame_file(io.BytesIO(saved(picture, "PNG")), Frame(size=(1, 1), resample=0))
    assert pixels == bytes((10, 20, 30))


def test_too_little_memory_is_told_before_anything_is_decoded() -> None:
    """With the bytes that it takes, the resized copy among them."""
    body = saved(Image.new("RGB", (100, 100)), "PNG")
    granted = []
    for frame in (Frame(size=(8, 8)), Frame(size=(2000, 2000))):
        with pytest.raises(MemoryNeededError) as caught:
            frame_file(io.BytesIO(body), frame, memory=DecodingMemory(1000, 100_000_000))
        granted.append(caught.value.needed_bytes)
    assert granted[1] - granted[0] >= 4 * 2000 * 2000
