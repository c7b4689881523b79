"""Pictures are converted for the service without a visible change, and hostile files are recorded failures."""

from __future__ import annotations

import io
import struct
import sys
import zlib
from types import ModuleType

import pytest
from msgspec.structs import replace
from PIL import Image, ImageDraw

from asyncfilter.errors import ImageError
from asyncfilter.job.spec import DetectorKind
from asyncfilter.pictures.convert import convert, perceptual_hash
from asyncfilter.policy.detectors import PROFILES
from asyncfilter.policy.image_limits import ImageLimits, fit
from asyncfilter.policy.near_duplicates import distance
from tests.kit.pictures import encoded

LABELS = PROFILES[DetectorKind.REKOGNITION].image_limits
CUSTOM = PROFILES[DetectorKind.CUSTOM_LABELS].image_limits


def drawing(width: int = 200, height: int = 100, mode: str = "RGB") -> Image.Image:
    """A picture, red on the left, blue on the right, with a green spot at the top left."""
    picture = Image.new("RGB", (width, height), "red")
    draw = ImageDraw.Draw(picture)
    draw.rectangle((width // 2, 0, width, height), fill="blue")
    draw.ellipse((0, 0, width // 4, height // 2), fill="lime")
    return picture.convert(mode)


def decoded(body: bytes) -> Image.Image:
    """The JPEG in ``body``."""
    with Image.open(io.BytesIO(body)) as picture:
        assert (picture.format, picture.mode) == ("JPEG", "RGB")
        return picture.copy()


def colour(picture: Image.Image, x: float, y: float) -> str:
    """The main colour of the spot at a fraction of the picture's sides."""
    pixel = picture.getpixel((int(x * picture.width), int(y * picture.height)))
    assert isinstance(pixel, tuple)
    names = {(1, 0, 0): "red", (0, 0, 1): "blue", (0, 1, 0): "lime", (1, 1, 1): "white", (0, 0, 0): "black"}
    return names.get((int(pixel[0] > 127), int(pixel[1] > 127), int(pixel[2] > 127)), str(pixel))


@pytest.mark.parametrize("kind", ["WEBP", "GIF", "TIFF", "BMP", "AVIF", "PNG", "JPEG"])
def test_every_format_becomes_the_same_picture(kind: str) -> None:
    """A picture that the service cannot read becomes a JPEG of the same size and colours."""
    jpeg = convert(encoded(drawing(), kind), LABELS)
    picture = decoded(jpeg.body)
    assert (jpeg.width, jpeg.height) == picture.size == (200, 100)
    assert (colour(picture, 0.3, 0.9), colour(picture, 0.9, 0.5), colour(picture, 0.1, 0.25)) == ("red", "blue", "lime")


def test_only_the_first_frame_of_a_film_is_shown() -> None:
    """An animated GIF is converted from its first frame."""
    film = encoded(drawing(), "GIF", save_all=True, append_images=[Image.new("RGB", (200, 100), "white")])
    assert colour(decoded(convert(film, LABELS).body), 0.9, 0.5) == "blue"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_upright(orientation: int) -> None:
    """With any EXIF orientation the converted picture is upright."""
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = drawing().transpose(undo[orientation]) if orientation in undo else drawing()
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = decoded(convert(encoded(stored, "TIFF", exif=exif), LABELS).body)
    assert picture.size == (200, 100)
    assert (colour(picture, 0.9, 0.5), colour(picture, 0.1, 0.25)) == ("blue", "lime")


def test_what_is_transparent_is_white() -> None:
    """Alpha, palettes with a transparent colour, and grey with alpha get a white background."""
    layered = drawing(mode="RGBA")
    layered.paste((0, 0, 0, 0), (100, 0, 200, 100))
    for picture in (layered, layered.quantize(), layered.convert("LA")):
        assert colour(decoded(convert(encoded(picture, "PNG"), LABELS).body), 0.9, 0.5) == "white"


@pytest.mark.parametrize(
    ("mode", "kind"), [("I;16", "PNG"), ("I", "TIFF"), ("F", "TIFF"), ("CMYK", "TIFF"), ("1", "PNG")]
)
def test_deep_and_odd_pixels_keep_their_light(mode: str, kind: str) -> None:
    """Dark and bright parts of 16-bit, 32-bit, floating-point, CMYK and bilevel pictures stay so."""
    if mode in {"I;16", "I", "F"}:
        picture = Image.new(mode, (100, 100))
        picture.putdata(([1000] * 50 + [64_000] * 50) * 100)
    else:
        grey = Image.new("RGB", (100, 100), "black")
        grey.paste("white", (50, 0, 100, 100))
        picture = grey.convert(mode)
    shown = decoded(convert(encoded(picture, kind), LABELS).body)
    assert (colour(shown, 0.2, 0.5), colour(shown, 0.8, 0.5)) == ("black", "white")


def test_too_many_pixels_are_shrunk_to_fit() -> None:
    """The longer side is reduced to the limit, the shape stays, and a rotated picture is measured upright."""
    small = replace(LABELS, min_px=20, max_px=100)
    assert convert(encoded(drawing(400, 200), "PNG"), small)[1:] == (100, 50)
    exif = Image.Exif()
    exif[0x0112] = 6
    assert convert(encoded(drawing(400, 200), "TIFF", exif=exif), small)[1:] == (50, 100)


def test_too_many_bytes_are_saved_until_they_fit() -> None:
    """A picture too large at every quality is scaled down, but never below the service's minimum."""
    noise = Image.effect_noise((400, 400), 200)
    jpeg = convert(encoded(noise, "PNG"), replace(LABELS, max_inline_bytes=30_000))
    assert len(jpeg.body) <= 30_000
    assert 80 <= jpeg.width == jpeg.height < 400
    with pytest.raises(ImageError) as caught:
        convert(encoded(noise, "PNG"), replace(LABELS, max_inline_bytes=2_000))
    assert caught.value.code == "image_too_large"


@pytest.mark.parametrize(
    ("size", "limits", "fitting"),
    [
        ((80, 80), LABELS, (80, 80)),
        ((79, 500), LABELS, None),
        ((10_000, 80), LABELS, (10_000, 80)),
        ((20_000, 5_000), LABELS, (10_000, 2_500)),
        ((20_000, 120), LABELS, None),
        ((64, 1280), CUSTOM, (64, 1280)),
        ((64, 1281), CUSTOM, None),
        ((8192, 4096), CUSTOM, (4096, 2048)),
    ],
)
def test_sizes_that_fit(size: tuple[int, int], limits: ImageLimits, fitting: tuple[int, int] | None) -> None:
    """Sides, shapes and sizes after shrinking are those of the guides."""
    assert fit(*size, limits) == fitting


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header has many pixels."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(text)) + name + text + struct.pack(">I", zlib.crc32(name + text)) for name, text in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (bomb(30_000, 30_000), "decompression_bomb"),
        (encoded(drawing(), "WEBP")[:200], "invalid_image_format"),
        (encoded(drawing(), "PNG")[:120], "invalid_image_format"),
        (b"RIFF\0\0\0\0WEBP", "invalid_image_format"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "invalid_image_format"),
        (b"<Error><Code>AccessDenied</Code></Error>", "invalid_image_format"),
        (b"", "invalid_image_format"),
        (encoded(drawing(40, 40), "GIF"), "image_rejected"),
    ],
)
def test_what_cannot_be_shown_has_its_cause(body: bytes, code: str) -> None:
    """Bombs, truncated files, other files and small pictures each have an error code of their own."""
    with pytest.raises(ImageError) as caught:
        convert(body, LABELS)
    assert caught.value.code == code


def test_heic_is_read_as_soon_as_its_package_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plug-in for HEIC is registered with Pillow at the first such file."""
    registered: list[str] = []
    plugin = ModuleType("pillow_heif")
    plugin.__dict__["register_heif_opener"] = lambda: registered.append("HEIF")
    monkeypatch.setitem(sys.modules, "pillow_heif", plugin)
    with pytest.raises(ImageError, match="HEIC cannot be decoded here: install the package pillow-heif"):
        convert(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", LABELS)
    assert registered == ["HEIF"]


def test_perceptual_hash_survives_size_format_and_quality() -> None:
    """The hash of a picture stays near after usual changes of copies, and far from another picture's."""
    photo = Image.effect_noise((16, 12), 120).resize((640, 480), Image.Resampling.BICUBIC).convert("RGB")
    other = photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    known = perceptual_hash(encoded(photo, "PNG"))
    other_hash = perceptual_hash(encoded(other, "PNG"))
    assert known is not None
    assert other_hash is not None
    copies = [
        encoded(photo, "JPEG", quality=40),
        encoded(photo, "WEBP"),
        encoded(photo.resize((320, 240)), "PNG"),
        encoded(photo.convert("L"), "GIF"),
    ]
    for copy in copies:
        found = perceptual_hash(copy)
        assert found is not None
        assert distance(found, known) <= 6
    assert distance(other_hash, known) > 16


def test_a_picture_of_one_colour_has_no_perceptual_hash() -> None:
    """A picture of one colour gets no hash, since all of them would be near; nor does an undecodable one."""
    assert perceptual_hash(encoded(Image.new("RGB", (100, 100), "red"), "PNG")) is None
    assert perceptual_hash(b"\xff\xd8\xff nothing") is None
