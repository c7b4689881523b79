"""What is sent of measurements shows the picture: light of any depth is scaled over the values that mean something."""

from __future__ import annotations

import io
import math
import struct
from array import array
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, TiffImagePlugin

from asyncfilter.job.spec import DetectorKind
from asyncfilter.pictures.convert import convert
from asyncfilter.pictures.deep_pixels import GDAL_NODATA, value_range
from asyncfilter.policy.detectors import PROFILES
from tests.kit.pictures import encoded

LIMITS = PROFILES[DetectorKind.REKOGNITION].image_limits
SIDE = 120


def slope(low: float, high: float) -> list[float]:
    """Values that rise from left to right."""
    return [low + (high - low) * (x / (SIDE - 1)) for _ in range(SIDE) for x in range(SIDE)]


def tiff(kind: str, values: list[float], *, bits: int, sample: int, order: str = "<", photometric: int = 1) -> bytes:
    """An uncompressed grey TIFF of ``values``, packed as ``struct`` packs ``kind``."""
    pixels = b"".join(struct.pack(order + kind, value) for value in values)
    tags = {256: SIDE, 257: SIDE, 258: bits, 259: 1, 262: photometric, 273: 0, 277: 1, 278: SIDE, 279: len(pixels)}
    tags |= {339: sample}
    at = 8 + 2 + 12 * len(tags) + 4
    directory = struct.pack(order + "H", len(tags))
    for number, value in sorted(tags.items()):
        directory += struct.pack(order + "HHII", number, 4, 1, at if number == 273 else value)
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8)
    return head + directory + struct.pack(order + "I", 0) + pixels


def shown(body: bytes) -> Image.Image:
    """What is sent, in grey."""
    return Image.open(io.BytesIO(convert(body, LIMITS).body)).convert("L")


def assert_slope(body: bytes) -> None:
    """The picture rises from black to white, with most levels of grey between."""
    picture = shown(body)
    row = [picture.getpixel((x, SIDE // 2)) for x in range(SIDE)]
    assert all(isinstance(value, int) for value in row)
    assert row[0] < 12  # type: ignore[operator]  # one channel
    assert row[-1] > 243  # type: ignore[operator]  # likewise
    assert all(abs(value - 255 * x / (SIDE - 1)) < 12 for x, value in enumerate(row))  # type: ignore[operator]
    assert len(set(picture.tobytes())) > 60


WHOLE = [float(int(value)) for value in slope(0, 65_535)]
TWELVE = [float(int(value)) for value in slope(0, 4_095)]


def ints(values: list[float]) -> list[float]:
    """The same values as integers, for ``struct``."""
    return [int(value) for value in values]


KINDS: dict[str, Callable[[], bytes]] = {
    "16 bits": lambda: tiff("H", ints(WHOLE), bits=16, sample=1),
    "16 bits, big-endian": lambda: tiff("H", ints(WHOLE), bits=16, sample=1, order=">"),
    "12 of 16 bits": lambda: tiff("H", ints(TWELVE), bits=16, sample=1),
    "12 of 16 bits, big-endian": lambda: tiff("H", ints(TWELVE), bits=16, sample=1, order=">"),
    "16 bits with a sign": lambda: tiff("h", ints(slope(-2_000, 2_000)), bits=16, sample=2),
    "16 bits, black at the top": lambda: tiff("H", ints(slope(4_000, 0)), bits=16, sample=1, photometric=0),
    "16 bits far from zero": lambda: tiff("H", ints(slope(30_000, 31_000)), bits=16, sample=1),
    "32 bits": lambda: tiff("i", ints(slope(-2_000_000_000, 2_000_000_000)), bits=32, sample=2),
    "32 bits without a sign": lambda: tiff("I", ints(slope(0, 100_000)), bits=32, sample=1),
    "floats": lambda: tiff("f", slope(0, 1), bits=32, sample=3),
    "floats, big-endian": lambda: tiff("f", slope(0, 1), bits=32, sample=3, order=">"),
    "floats of any size": lambda: tiff("f", slope(-1e30, 1e30), bits=32, sample=3),
    "small floats": lambda: tiff("f", slope(2e-7, 3e-7), bits=32, sample=3),
    "png": lambda: encoded(Image.frombytes("I;16", (SIDE, SIDE), array("H", map(int, TWELVE)).tobytes()), "PNG"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_light_of_any_depth_is_shown_from_black_to_white(kind: str) -> None:
    """Whatever range of numbers a picture uses, it is shown with all levels of grey."""
    assert_slope(KINDS[kind]())


@pytest.mark.parametrize(
    "odd", [math.nan, math.inf, -math.inf, -9_999.0, -32_768.0, 1e20, -3.4028234663852886e38, 9.969209968386869e36]
)
@pytest.mark.parametrize("number", [1, 40, 2_000])
@pytest.mark.parametrize("order", ["<", ">"])
def test_values_that_are_not_light_do_not_flatten_a_picture(odd: float, number: int, order: str) -> None:
    """One pixel without a value, or hundreds of them, leave the rest as it is."""
    values = slope(0.2, 0.9)
    values[:number] = [odd] * number
    assert_slope(tiff("f", values, bits=32, sample=3, order=order))


@pytest.mark.parametrize("odd", [0, 40_000, 65_535])
@pytest.mark.parametrize("number", [1, 3_000])
def test_dead_and_hot_pixels_do_not_flatten_a_picture(odd: int, number: int) -> None:
    """A value far from all others is no light, also in integers."""
    values = ints(slope(9_000, 10_000))
    values[:number] = [odd] * number
    assert_slope(tiff("H", values, bits=16, sample=1))


@pytest.mark.parametrize("text", ["0", "-9999", " 7.5e3 ", "nan", "none"])
def test_the_value_of_gdal_is_no_light(text: str) -> None:
    """The value that GDAL's tag names is left out, also where it is near to others; a tag without one does no harm."""
    values = slope(1_000, 2_000)
    no_data = {"0": 0.0, "-9999": -9_999.0, " 7.5e3 ": 7_500.0}.get(text, 1_000.0)
    values[: SIDE * 40] = [no_data] * SIDE * 40
    picture = Image.frombytes("F", (SIDE, SIDE), array("f", values).tobytes())
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[GDAL_NODATA] = text
    assert_slope(encoded(picture, "TIFF", tiffinfo=tags))


def test_no_data_near_to_the_light_needs_its_tag() -> None:
    """A value below all others by half of their range is left out only where the tag names it."""
    values = slope(1_000, 2_000)
    values[: SIDE * 40] = [600.0] * SIDE * 40
    picture = Image.frombytes("F", (SIDE, SIDE), array("f", values).tobytes())
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[GDAL_NODATA] = "600"
    assert_slope(encoded(picture, "TIFF", tiffinfo=tags))
    row = shown(encoded(picture, "TIFF"))
    assert row.getpixel((0, SIDE - 1)) == pytest.approx(255 * 400 / 1_400, abs=12)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize(("top", "level"), [(4_095, 255), (65_535, 255), (40_000, 156)])
def test_colours_of_16_bits_are_bright(mode: str, top: int, level: int) -> None:
    """Colours that use 12 of 16 bits are shown bright; those that use the upper bits as they are."""
    channels = len(mode)
    samples = array("H", [value for x in slope(0, top) for value in [int(x)] * 3 + [65_535] * (channels - 3)])
    tags = {256: SIDE, 257: SIDE, 258: 0, 259: 1, 262: 2, 273: 0, 277: channels, 278: SIDE, 279: len(samples) * 2}
    if mode == "RGBA":
        tags[338] = 2
    at = 8 + 2 + 12 * len(tags) + 4
    directory = struct.pack("<H", len(tags))
    for number, value in sorted(tags.items()):
        count = channels if number == 258 else 1
        directory += struct.pack(
            "<HHII", number, 3 if number == 258 else 4, count, at if number in {258, 273} else value
        )
    bits = struct.pack(f"<{channels}H", *[16] * channels)
    directory = directory.replace(struct.pack("<HHII", 273, 4, 1, at), struct.pack("<HHII", 273, 4, 1, at + len(bits)))
    body = b"II*\0" + struct.pack("<I", 8) + directory + struct.pack("<I", 0) + bits + samples.tobytes()
    picture = shown(body)
    assert picture.getpixel((SIDE - 1, 5)) == pytest.approx(level, abs=4)
    assert picture.getpixel((0, 5)) == pytest.approx(0, abs=4)


def test_one_value_is_shown_as_it_is() -> None:
    """A picture of one value has no range: it keeps its light."""
    assert shown(tiff("H", [32_768] * SIDE**2, bits=16, sample=1)).getextrema() == (128, 128)
    assert shown(tiff("f", [0.5] * SIDE**2, bits=32, sample=3)).getextrema() == (128, 128)
    assert shown(tiff("f", [math.nan] * SIDE**2, bits=32, sample=3)).getextrema() == (0, 0)


FINITE = st.floats(-1e30, 1e30, allow_nan=False)


@given(st.lists(st.floats(width=32) | FINITE, max_size=300), st.none() | FINITE)
def test_a_range_is_always_a_range(values: list[float], no_data: float | None) -> None:
    """Any values have a range, whose ends are finite and differ."""
    low, high = value_range(values, no_data=no_data)
    assert math.isfinite(low)
    assert math.isfinite(high)
    assert low < high


@given(st.lists(st.floats(0, 1), min_size=100, max_size=300, unique=True), st.floats(2.5, 1e30), st.booleans())
def test_an_outlier_is_left_out(values: list[float], odd: float, is_low: bool) -> None:
    """One value that is farther away than the others' range does not count."""
    known = value_range(values)
    assert value_range([*values, -odd if is_low else odd]) == known
