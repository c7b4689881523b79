"""Conversion of images for the service: decoded, rotated upright, flattened to RGB, reduced in size, encoded as JPEG.

Files are not trusted: only the decoder of the format that the first bytes show is used, no image with more pixels than
Pillow's limit is decoded, and every exception of a decoder becomes an ``ImageError``. All functions compute on bytes
and should run in a worker thread.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from math import cos, pi
from operator import mul
from typing import NamedTuple

from PIL import Image, ImageOps, UnidentifiedImageError

from asyncfilter.errors import ImageError
from asyncfilter.policy.header import Format, format_of
from asyncfilter.policy.image_limits import ImageLimits, fit

_DECODERS = {
    Format.JPEG: "JPEG",
    Format.PNG: "PNG",
    Format.GIF: "GIF",
    Format.WEBP: "WEBP",
    Format.BMP: "BMP",
    Format.TIFF: "TIFF",
    Format.HEIC: "HEIF",
    Format.AVIF: "AVIF",
}
"""Pillow's names of the formats; HEIF needs the package pillow-heif."""

_QUALITIES = (92, 85, 75)
_SHRINK = 0.75
_SIDE = 32
_WAVES = [[cos(pi / _SIDE * (at + 0.5) * times) for at in range(_SIDE)] for times in range(1, 9)]
_CONTRAST = 8
"""Least span of grey levels for a meaningful perceptual hash."""


class Jpeg(NamedTuple):
    """An image in the form that is sent; size in pixels."""

    body: bytes
    width: int
    height: int


def convert(body: bytes, limits: ImageLimits) -> Jpeg:
    """The image in ``body``, of an animation the first frame, as a JPEG that the service accepts.

    Raises:
        ImageError: ``decompression_bomb``, ``invalid_image_format``, or ``image_rejected`` when no size fits.
    """
    with _decoding(body) as picture:
        size = fit(*picture.size, limits)
        if size is None:
            why = f"{picture.width} x {picture.height} px, at least {limits.min_px} px a side needed"
            raise ImageError(why, code="image_rejected")
        flat = _flat(_upright(picture))
        size = size if flat.size == picture.size else (size[1], size[0])
        return _fitting(flat if flat.size == size else flat.resize(size, Image.Resampling.LANCZOS), limits)


def perceptual_hash(body: bytes) -> int | None:
    """The perceptual hash of the picture in ``body``: 64 of its low spatial frequencies, each over or under the median.

    Size, compression, and small changes of colour and detail change few bits of it (Christoph Zauner, *Implementation
    and Benchmarking of Perceptual Image Hash Functions*, 2010, on the hash by discrete cosine transform).

    Returns:
        None when the picture has hardly any contrast, or cannot be decoded.
    """
    try:
        with _decoding(body) as picture:
            picture.draft("L", (2 * _SIDE, 2 * _SIDE))
            grey = _flat(_upright(picture)).convert("L").resize((_SIDE, _SIDE), Image.Resampling.BOX).tobytes()
    except ImageError:
        return None
    if max(grey) - min(grey) < _CONTRAST:
        return None
    rows = [grey[at : at + _SIDE] for at in range(0, _SIDE * _SIDE, _SIDE)]
    across = [[sum(map(mul, row, wave)) for row in rows] for wave in _WAVES]
    powers: list[float] = [sum(map(mul, column, wave)) for column in across for wave in _WAVES]
    middle = sorted(powers)[len(powers) // 2]
    return sum((power >= middle) << place for place, power in enumerate(powers))


@contextmanager
def _decoding(body: bytes) -> Iterator[Image.Image]:
    kind = format_of(body)
    # Pillow warns of odd metadata and of large sizes below its limit; a size above the limit raises an error.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    if kind is Format.HEIC:
        _register_heif()
    if kind is Format.UNKNOWN:
        raise ImageError("not a known image format", code="invalid_image_format")
    try:
        with Image.open(io.BytesIO(body), formats=[_DECODERS[kind]]) as picture:
            yield picture
    except ImageError:
        raise
    except (Image.DecompressionBombError, MemoryError) as exc:
        raise ImageError(f"decoding it would take too much memory ({exc})", code="decompression_bomb") from exc
    except KeyError as exc:
        raise ImageError(f"{kind.upper()} cannot be decoded here", code="invalid_image_format") from exc
    except Exception as exc:  # Pillow's decoders raise exceptions of any type for a broken file
        cause = "its header is not valid" if isinstance(exc, UnidentifiedImageError) else str(exc) or type(exc).__name__
        raise ImageError(f"not a {kind.upper()} that can be decoded ({cause})", code="invalid_image_format") from exc


def _register_heif() -> None:
    """Register the HEIC decoder of pillow-heif with Pillow, where it is installed."""
    with suppress(ImportError):
        import_module("pillow_heif").register_heif_opener()


def _upright(picture: Image.Image) -> Image.Image:
    picture.load()
    try:
        return ImageOps.exif_transpose(picture)
    except Exception:  # noqa: BLE001  broken metadata: the image is used as stored
        return picture


def _flat(picture: Image.Image) -> Image.Image:
    """The image in RGB: transparency on white, 16-bit and floating-point grey scaled to 8 bits."""
    if picture.mode in {"I", "F"} or picture.mode.startswith("I;16"):
        return _grey(picture).convert("RGB")
    if picture.has_transparency_data:
        layered = picture.convert("RGBA")
        ground = Image.new("RGBA", layered.size, "white")
        ground.alpha_composite(layered)
        return ground.convert("RGB")
    return picture.convert("RGB")


def _grey(picture: Image.Image) -> Image.Image:
    """The image in 8-bit grey: 16-bit values scaled by their range, 32-bit values by their minimum and maximum."""
    if picture.mode.startswith("I;16"):
        return picture.convert("I").point(lambda value: value * (1 / 257)).convert("L")
    low, high = picture.getextrema()
    if not (isinstance(low, int | float) and isinstance(high, int | float)):
        return picture.convert("L")
    scale = 255 / (high - low) if high > low else 1.0
    return picture.point(lambda value: value * scale + -low * scale).convert("L")


def _fitting(picture: Image.Image, limits: ImageLimits) -> Jpeg:
    """The JPEG of the highest quality and size that is within the limit of bytes.

    Raises:
        ImageError: ``image_too_large`` when none is before the image is too small.
    """
    while min(picture.size) >= limits.min_px:
        for quality in _QUALITIES:
            out = io.BytesIO()
            picture.save(out, "JPEG", quality=quality)
            if out.tell() <= limits.max_inline_bytes:
                return Jpeg(out.getvalue(), *picture.size)
        picture = picture.resize(
            (int(picture.width * _SHRINK), int(picture.height * _SHRINK)), Image.Resampling.LANCZOS
        )
    raise ImageError("too many bytes to be sent at any size that the service accepts", code="image_too_large")
