"""Deep pixels: 16-bit, 32-bit and floating-point light as 8-bit grey, scaled over the values that show something.

A measurement has values that are not light: NaN, infinity, a value that stands for "no data" (-9999, or the one that
GDAL's tag names), dead and hot pixels. They are left out of the range, so that a single one cannot make the picture one
grey; they become black or white.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from contextlib import suppress

from PIL import Image, TiffImagePlugin

GDAL_NODATA = 42113
"""TIFF tag with the value that stands for "no data", as text."""

_PHOTOMETRIC = 262
_WHITE_IS_ZERO = 0
_SAMPLE_SIDE = 512
_TAIL = 0.001
"""Share of the darkest and of the brightest sampled pixels that may be clipped."""
_FEWEST = 16
"""Least number of different values that a range must have for values beside it to count as outliers."""
_BAND_PIXELS = 1 << 20


def is_deep(picture: Image.Image) -> bool:
    """Whether a pixel is one number of more than 8 bits."""
    return picture.mode in {"I", "F"} or picture.mode.startswith("I;16")


def to_grey(picture: Image.Image) -> Image.Image:
    """A deep picture in 8-bit grey; in bands, so that no second deep copy of it exists."""
    low, high = value_range(_sample(picture), no_data=_no_data(picture))
    scale = 255 / (high - low)
    offset = 0.5 - low * scale
    if _tag(picture, _PHOTOMETRIC) == _WHITE_IS_ZERO:
        scale, offset = -scale, 256 - offset
    grey = Image.new("L", picture.size)
    rows = max(1, _BAND_PIXELS // picture.width)
    for top in range(0, picture.height, rows):
        band = picture.crop((0, top, picture.width, min(top + rows, picture.height)))
        if band.mode.startswith("I;16"):
            band = band.convert("I")
        # In floating point: a product of 32-bit integers would overflow.
        grey.paste(band.convert("F").point(lambda value: value * scale + offset).convert("L"), (0, top))
    return grey


def brightened(picture: Image.Image) -> Image.Image:
    """A colour picture of 16-bit samples that leave upper bits unused (12 bits of 16) with its full brightness.

    Pillow keeps the upper 8 bits of each sample, so that few levels are left; a picture that uses the upper bits is
    returned as it is.
    """
    if picture.mode not in {"RGB", "RGBA"}:
        return picture
    extremes = picture.getextrema()[:3]
    brightest = max(high for _, high in extremes if isinstance(high, int))  # type: ignore[misc]  # one pair a channel
    if not 0 < brightest < 128:
        return picture
    light = [min(255, round(value * 255 / brightest)) for value in range(256)]
    kept = list(range(256))
    return picture.point(light * 3 + (kept if picture.mode == "RGBA" else []))


def value_range(values: Sequence[float], *, no_data: float | None = None) -> tuple[float, float]:
    """The lowest and highest value that show the picture; the higher one is above the lower one.

    Args:
        values: Of sampled pixels.
        no_data: Stands for no value.
    """
    finite = sorted(value for value in values if math.isfinite(value) and value != no_data)
    if not finite:
        return 0.0, 1.0
    tail = int(len(finite) * _TAIL)
    trimmed = finite[tail : len(finite) - tail]
    kept = _without_outliers(trimmed) if trimmed[0] < trimmed[-1] else finite
    low, high = kept[0], kept[-1]
    # One value only: the scale of 16-bit light, or of light from 0 to 1.
    return (low, high) if low < high else (0.0, 65_535.0 if high > 1 else 1.0)


def _without_outliers(values: Sequence[float]) -> Sequence[float]:
    """Sorted ``values`` without an extreme value that is farther from all others than these are from each other."""
    different = sorted(set(values))
    low, high = 0, len(different) - 1
    while high - low >= _FEWEST:
        if different[low + 1] - different[low] > different[high] - different[low + 1]:
            low += 1
        elif different[high] - different[high - 1] > different[high - 1] - different[low]:
            high -= 1
        else:
            break
    return different[low : high + 1]


def _sample(picture: Image.Image) -> array[float]:
    """The values of at most 512 x 512 pixels, evenly spread."""
    size = (min(picture.width, _SAMPLE_SIDE), min(picture.height, _SAMPLE_SIDE))
    picked = picture if size == picture.size else picture.resize(size, Image.Resampling.NEAREST)
    if picked.mode.startswith("I;16"):
        picked = picked.convert("I")
    values: array[float] = array("f" if picked.mode == "F" else "i")
    values.frombytes(picked.tobytes())
    return values


def _no_data(picture: Image.Image) -> float | None:
    text = _tag(picture, GDAL_NODATA)
    with suppress(ValueError, TypeError):
        value = float(str(text).strip("\0 "))
        # As the pixels store it: in single precision.
        return array("f", [value])[0] if picture.mode == "F" else value
    return None


def _tag(picture: Image.Image, number: int) -> object:
    return picture.tag_v2.get(number) if isinstance(picture, TiffImagePlugin.TiffImageFile) else None
