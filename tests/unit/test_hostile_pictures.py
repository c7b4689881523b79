"""A hostile picture fails or is shown within the limits of its process, and the next picture is decoded as ever."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable, Iterator

import pytest
from PIL import Image

from asyncfilter.errors import ImageError
from asyncfilter.job.spec import DetectorKind
from asyncfilter.pictures.convert import DecodingMemory, convert, convert_file
from asyncfilter.pictures.decode_messages import DecodeRequest
from asyncfilter.pictures.decoder_pool import DecoderPool
from asyncfilter.policy.detectors import PROFILES
from tests.kit import bombs
from tests.kit.decoding import as_file, decoders_of, peak_mb
from tests.kit.pictures import encoded, noise

LIMITS = PROFILES[DetectorKind.REKOGNITION].image_limits
MIB = 1 << 20
SHOWN = "shown"
BASE_MB = 60
"""Memory of a decoding process with all its modules, and no picture."""


@pytest.fixture(scope="module")
def decoders() -> Iterator[DecoderPool]:
    """One decoding process, which may take 100 MB for a picture."""
    with DecoderPool(decoding_bytes=100_000_000, processes=1) as pool:
        yield pool


async def outcome(decoders: DecoderPool, body: bytes, *, converts: bool = True, hashes: bool = True) -> str:
    """The error code of decoding a file, or ``SHOWN``."""
    request = DecodeRequest(limits=LIMITS if converts else None, hashes=hashes, digests=True)
    try:
        with as_file(body) as file:
            await decoders.decode(request, file, guess_bytes=MIB)
    except ImageError as error:
        return error.code
    return SHOWN


BOMBS: dict[str, tuple[Callable[[], bytes], str]] = {
    "png": (lambda: bombs.png(8_000, 8_000), "decompression_bomb"),
    "png of grey": (lambda: bombs.png(12_000, 12_000, colour_type=0), "decompression_bomb"),
    "png beyond Pillow's limit": (lambda: bombs.png(60_000, 60_000, pixels=b""), "decompression_bomb"),
    "png of zero pixels": (lambda: bombs.png(0, 100, pixels=b""), "invalid_image_format"),
    "jpeg": (lambda: bombs.jpeg(60_000, 60_000), "decompression_bomb"),
    "progressive jpeg": (lambda: bombs.jpeg(10_000, 9_000, progressive=True), "decompression_bomb"),
    "jpeg of many scans": (lambda: bombs.scans(5_000), "decompression_bomb"),
    "jpeg of zeros": (lambda: bombs.sparse_jpeg(20 * MIB), "invalid_image_format"),
    "jpeg of markers": (lambda: bombs.markers(4 * MIB), "invalid_image_format"),
    "webp": (lambda: bombs.webp(16_383, 10_000), "decompression_bomb"),
    "webp beyond Pillow's limit": (lambda: bombs.webp(16_383, 16_383), "decompression_bomb"),
    "gif": (lambda: bombs.gif(65_535, 2_000), "decompression_bomb"),
    "gif beyond Pillow's limit": (lambda: bombs.gif(65_535, 65_535), "decompression_bomb"),
    "gif film": (lambda: bombs.film("GIF", 3_000), SHOWN),
    "webp film": (lambda: bombs.film("WEBP", 1_000), SHOWN),
    "bmp": (lambda: bombs.bmp(10_000, 10_000), "decompression_bomb"),
    "bmp from the top": (lambda: bombs.bmp(10_000, -10_000), "decompression_bomb"),
    "tiff": (lambda: bombs.tiff(10_000, 10_000), "decompression_bomb"),
    "tiff of deep pixels": (lambda: bombs.tiff(9_000, 9_000, tags=((258, 3, 1, 16),)), "decompression_bomb"),
    "tiff of one strip": (lambda: bombs.tiff(5_000, 5_000, tags=((259, 3, 1, 8),)), "decompression_bomb"),
    "tiff in a circle": (bombs.looped_tiff, SHOWN),
    "tiff of many pages": (lambda: bombs.many_directories(50_000), SHOWN),
    "tiff of shared tags": (lambda: bombs.tags_that_share_bytes(300, 4 * MIB), SHOWN),
}


@pytest.mark.parametrize("name", BOMBS)
async def test_a_bomb_fails_within_the_limits(decoders: DecoderPool, name: str) -> None:
    """No file makes a decoding process larger than it may be, and the next one is decoded."""
    make, expected = BOMBS[name]
    body = make()
    assert len(body) < 64 * MIB
    assert await outcome(decoders, body) == expected
    assert await outcome(decoders, noise("WEBP")) == SHOWN
    (process,) = decoders_of()
    assert peak_mb(process) < BASE_MB + 100 * 1.125 + 64


@pytest.mark.parametrize("name", ["png", "progressive jpeg", "jpeg of many scans", "webp", "tiff", "gif"])
async def test_a_bomb_that_can_be_sent_has_no_perceptual_hash(decoders: DecoderPool, name: str) -> None:
    """A picture whose hash takes too much may still be sent as it is: only its hash is missing."""
    body = BOMBS[name][0]()
    request = DecodeRequest(hashes=True, digests=True)
    with as_file(body) as file:
        result, _ = await decoders.decode(request, file, guess_bytes=MIB)
    assert result.perceptual_hash is None
    assert result.blake2b is not None


# -- Sound pictures that look like bombs -------------------------------------------------------------------------------

COMMENT = b"Comment\0" + b"wide " * 500_000
SOUND: dict[str, Callable[[], bytes]] = {
    "text": lambda: bombs.chunk(b"tEXt", COMMENT),
    "packed text": lambda: bombs.text_bomb(b"zTXt", 3 * MIB),
    "many texts": lambda: 2_000 * bombs.text_bomb(b"zTXt", 60_000),
    "international text": lambda: bombs.chunk(b"iTXt", b"Note\0\1\0\0\0" + zlib.compress(bytes(3 * MIB))),
    "profile": lambda: bombs.chunk(b"iCCP", b"camera\0\0" + zlib.compress(bytes(3 * MIB))),
    "bomb of text": lambda: bombs.text_bomb(b"zTXt", 400 * MIB),
    "bomb of a profile": lambda: bombs.text_bomb(b"iCCP", 400 * MIB),
    "unknown chunk": lambda: bombs.chunk(b"mkBT", bytes(5 * MIB)),
}


@pytest.mark.parametrize("name", SOUND)
async def test_a_png_is_shown_whatever_its_texts(decoders: DecoderPool, name: str) -> None:
    """Texts and profiles of any size are not expanded, and the picture is the one without them."""
    plain = bombs.png(300, 200, colour_type=2)
    body = bombs.png(300, 200, colour_type=2, extra=SOUND[name]())
    assert await outcome(decoders, body) == SHOWN
    assert convert(body, LIMITS) == convert(plain, LIMITS)
    assert peak_mb(decoders_of()[0]) < BASE_MB + 100 * 1.125 + 64


@pytest.mark.parametrize("kept", ["eXIf", "eXIf at the end", "XMP", "raw profile"])
def test_the_orientation_of_a_png_is_kept(kept: str) -> None:
    """The chunks that may have the orientation are read, wherever they are."""
    exif = Image.Exif()
    exif[0x0112] = 6
    raw = exif.tobytes()
    xmp = b'XML:com.adobe.xmp\0\0\0\0\0<x tiff:Orientation="6"/>'
    profile = b"Raw profile type exif\0\nexif\n%8d\n%s\n" % (len(raw), raw.hex().encode())
    chunks = {"XMP": bombs.chunk(b"iTXt", xmp), "raw profile": bombs.chunk(b"tEXt", profile)}
    extra = chunks.get(kept, bombs.chunk(b"eXIf", raw[6:]))
    body = bombs.png(300, 200, colour_type=2, extra=b"" if kept == "eXIf at the end" else extra)
    if kept == "eXIf at the end":
        body = body[:-12] + extra + body[-12:]
    # A text that is skipped, so that the file is read through the view.
    body = body[:33] + bombs.chunk(b"tEXt", b"Comment\0nothing") + body[33:]
    assert convert(body, LIMITS)[1:] == (200, 300)


def test_a_large_jpeg_is_decoded_at_a_fraction_of_its_size() -> None:
    """Where all pixels would take too much memory, a JPEG is sent smaller instead of not at all."""
    body = encoded(Image.new("RGB", (6_000, 4_000), "red"), "JPEG")
    with as_file(body) as file:
        jpeg, _ = convert_file(file, LIMITS, memory=DecodingMemory(50_000_000, 50_000_000))
    assert jpeg[1:] == (3_000, 2_000)
    assert Image.open(io.BytesIO(jpeg.body)).getpixel((9, 9)) == (254, 0, 0)


async def test_the_largest_file_in_colour_is_converted_by_default() -> None:
    """A TIFF of 199 MB, 66 million pixels in colour, is within the default limit of memory."""
    tags = ((258, 3, 1, 8), (262, 3, 1, 2), (277, 3, 1, 3))
    head = bombs.tiff(8_100, 8_190, tags=tags, strip=b"")
    head = head.replace(struct.pack("<HHII", 279, 4, 1, 0), struct.pack("<HHII", 279, 4, 1, 8_100 * 8_190 * 3))
    with DecoderPool(processes=1) as decoders, as_file(head) as file:
        os.truncate(file.fileno(), len(head) + 8_100 * 8_190 * 3)
        result, _ = await decoders.decode(DecodeRequest(limits=LIMITS, hashes=True), file, guess_bytes=MIB)
        assert peak_mb(decoders_of()[0]) < BASE_MB + 350
    assert (result.width, result.height) == (8_100, 8_190)
