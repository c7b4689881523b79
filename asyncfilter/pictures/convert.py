"""Conversion of images for the service: decoded, rotated upright, flattened to RGB, reduced in size, encoded as JPEG.

Files are not trusted: only the decoder of the format that the first bytes show is used, no image with more pixels than
Pillow's limit is decoded, and every exception of a decoder becomes an ``ImageError``. A decoder may still crash, take
long or fill the memory: runs call these functions in a process of their own (``pool``).

An image is decoded once, and large copies are made in bands, so that it is in memory hardly more than once.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from math import cos, pi
from operator import mul
from typing import BinaryIO, NamedTuple

from PIL import Image, ImageFile, UnidentifiedImageError

from asyncfilter.errors import ImageError
from asyncfilter.onnx.frames import Frame
from asyncfilter.pictures.decoding_cost import canvas_bytes, decoding_bytes, spare_bytes
from asyncfilter.pictures.deep_pixels import brightened, is_deep, to_grey
from asyncfilter.pictures.jpeg_checks import check_frame, check_scans
from asyncfilter.pictures.png_chunks import without_texts
from asyncfilter.policy.header import Format, read_header
from asyncfilter.policy.image_limits import ImageLimits, fit

_DECODERS = {
    Format.JPEG: ("JPEG", "Jpeg"),
    Format.PNG: ("PNG", "Png"),
    Format.GIF: ("GIF", "Gif"),
    Format.WEBP: ("WEBP", "WebP"),
    Format.BMP: ("BMP", "Bmp"),
    Format.TIFF: ("TIFF", "Tiff"),
    Format.HEIC: ("HEIF", ""),
    Format.AVIF: ("AVIF", "Avif"),
}
"""Pillow's names of the formats and of their modules; HEIF needs the package pillow-heif."""

_OTHER_DECODERS = (
    ("DDS", "Dds"),
    ("ICO", "Ico"),
    ("JPEG2000", "Jpeg2K"),
    ("PCX", "Pcx"),
    ("PPM", "Ppm"),
    ("QOI", "Qoi"),
    ("SGI", "Sgi"),
    ("TGA", "Tga"),
)
"""Other pictures that Pillow reads by itself, for models that take pixels: no service has a say in their formats."""

_QUALITIES = (92, 85, 75)
_SHRINK = 0.75
_LEAST_GAIN = 0.3
"""The lowest quality never takes less than this share of the bytes of the highest."""
_BAND_PIXELS = 1 << 20
_LARGE_JPEG_BYTES = 6
"""Memory for a pixel of a large JPEG: the picture, and a smaller copy."""
_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

_SIDE = 32
_WAVES = [[cos(pi / _SIDE * (at + 0.5) * times) for at in range(_SIDE)] for times in range(1, 9)]
_CONTRAST = 8
"""Least span of grey levels for a meaningful perceptual hash."""


class Jpeg(NamedTuple):
    """An image in the form that is sent; size in pixels."""

    body: bytes
    width: int
    height: int


class DecodingMemory(NamedTuple):
    """Memory for decoding.

    Attributes:
        granted_bytes: What may be taken now.
        most_bytes: What could be granted at the most; a JPEG that takes more is decoded at a fraction of its size.
    """

    granted_bytes: int
    most_bytes: int


class _Loaded(NamedTuple):
    """What is known of a picture only before its pixels are decoded.

    Attributes:
        turn: How its pixels must be turned.
        has_deep_colour: Whether its samples have 16 bits in the file.
    """

    turn: Image.Transpose | None
    has_deep_colour: bool


class MemoryNeededError(Exception):
    """Decoding takes more memory than was granted.

    Args:
        needed_bytes: How much it takes.
    """

    def __init__(self, needed_bytes: int) -> None:
        super().__init__(f"decoding takes up to {needed_bytes:,} bytes")
        self.needed_bytes = needed_bytes


def convert(body: bytes, limits: ImageLimits) -> Jpeg:
    """The image in ``body``, of an animation the first frame, as a JPEG that the service accepts.

    Raises:
        ImageError: ``decompression_bomb``, ``invalid_image_format``, or ``image_rejected`` when no size fits.
    """
    jpeg, _ = convert_file(io.BytesIO(body), limits)
    return jpeg


def perceptual_hash(body: bytes) -> int | None:
    """As ``hash_file``; None also when the picture cannot be decoded."""
    try:
        return hash_file(io.BytesIO(body))
    except ImageError:
        return None


def convert_file(
    file: BinaryIO, limits: ImageLimits, *, hashes: bool = False, memory: DecodingMemory | None = None
) -> tuple[Jpeg, int | None]:
    """The image in ``file`` as a JPEG that the service accepts, and its perceptual hash if ``hashes`` is set.

    Raises:
        ImageError: See ``convert``.
        MemoryNeededError: It takes more than was granted; nothing was decoded.
    """
    with _opened(file, memory) as picture:
        size = fit(*picture.size, limits)
        if size is None:
            why = f"{picture.width} x {picture.height} px, at least {limits.min_px} px a side needed"
            raise ImageError(why, code="image_rejected")
        source_pixels = picture.width * picture.height
        picture.draft(None, _decoded_size(picture, size, memory))
        loaded = _load(picture, file, source_pixels, limits, hashes=hashes, memory=memory)
        flat = _flat(picture, loaded)
    # A JPEG may have been decoded smaller, and a TIFF is turned when it is decoded.
    size = fit(*flat.size, limits) or flat.size
    found = _hash(flat, loaded.turn) if hashes else None
    return _fitting(flat, size, loaded.turn, limits), found


def frame_file(
    file: BinaryIO, frame: Frame, *, hashes: bool = False, memory: DecodingMemory | None = None
) -> tuple[bytes, int | None]:
    """The image in ``file`` as the pixels of a model, and its perceptual hash if ``hashes`` is set.

    Upright, in RGB without its alpha, decoded at its full size, so that the pixels are those of any program that uses
    Pillow.

    Raises:
        ImageError: See ``convert``.
        MemoryNeededError: It takes more than was granted; nothing was decoded.
    """
    with _opened(file, memory, takes_others=True) as picture:
        width, height = picture.size
        # Turned by a quarter, its sides are the other way round.
        beside = max(frame.needed_bytes(width, height), frame.needed_bytes(height, width))
        loaded = _load(picture, file, width * height, None, hashes=hashes, memory=memory, beside_bytes=beside)
        upright = _turned(_in_rgb(picture), loaded.turn)
    return frame.of(upright), _hash(upright, None) if hashes else None


def hash_file(file: BinaryIO, *, memory: DecodingMemory | None = None) -> int | None:
    """The perceptual hash of a picture: 64 of its low spatial frequencies, each over or under the median.

    Size, compression, and small changes of colour and detail change few bits of it (Christoph Zauner, *Implementation
    and Benchmarking of Perceptual Image Hash Functions*, 2010, on the hash by discrete cosine transform).

    Returns:
        None when the picture has hardly any contrast.

    Raises:
        ImageError: It cannot be decoded.
        MemoryNeededError: It takes more than was granted; nothing was decoded.
    """
    with _opened(file, memory) as picture:
        source_pixels = picture.width * picture.height
        picture.draft("L", (2 * _SIDE, 2 * _SIDE))
        loaded = _load(picture, file, source_pixels, None, hashes=True, memory=memory)
        return _hash(_flat(picture, loaded), loaded.turn)


def _hash(flat: Image.Image, turn: Image.Transpose | None) -> int | None:
    grey = _turned(flat.convert("L").resize((_SIDE, _SIDE), Image.Resampling.BOX), turn).tobytes()
    if max(grey) - min(grey) < _CONTRAST:
        return None
    rows = [grey[at : at + _SIDE] for at in range(0, _SIDE * _SIDE, _SIDE)]
    across = [[sum(map(mul, row, wave)) for row in rows] for wave in _WAVES]
    powers: list[float] = [sum(map(mul, column, wave)) for column in across for wave in _WAVES]
    middle = sorted(powers)[len(powers) // 2]
    return sum((power >= middle) << place for place, power in enumerate(powers))


# -- Decoding ----------------------------------------------------------------------------------------------------------


@contextmanager
def _opened(file: BinaryIO, memory: DecodingMemory | None, *, takes_others: bool = False) -> Iterator[Image.Image]:
    """The picture in a file, not decoded yet; errors inside of the context are those of the decoder.

    ``takes_others``: also of a format that no service reads, and that nothing is converted from.
    """
    file.seek(0)
    header = read_header(file.read(64))
    file.seek(0)
    kind = header.format
    # Pillow warns of odd metadata and of large sizes below its limit; a size above the limit raises an error.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    if kind is Format.UNKNOWN and not takes_others:
        raise ImageError("not a known image format", code="invalid_image_format")
    if kind is Format.JPEG:
        check_frame(file)
    if kind is Format.WEBP:
        _grant(canvas_bytes(header, _file_bytes(file)), memory)
    formats = _registered(kind)
    try:
        with Image.open(without_texts(file) if kind is Format.PNG else file, formats=formats) as picture:
            yield picture
    except (ImageError, MemoryNeededError):
        raise
    except (Image.DecompressionBombError, MemoryError) as exc:
        why = str(exc) or "the memory limit"
        raise ImageError(f"decoding it would take too much memory ({why})", code="decompression_bomb") from exc
    except KeyError as exc:
        remedy = ": install the package pillow-heif" if kind is Format.HEIC else ""
        raise ImageError(f"{kind.upper()} cannot be decoded here{remedy}", code="invalid_image_format") from exc
    except Exception as exc:  # Pillow's decoders raise exceptions of any type for a broken file
        cause = "its header is not valid" if isinstance(exc, UnidentifiedImageError) else str(exc) or type(exc).__name__
        what = "an image" if kind is Format.UNKNOWN else f"a {kind.upper()}"
        raise ImageError(f"not {what} that can be decoded ({cause})", code="invalid_image_format") from exc


def _registered(kind: Format) -> list[str]:
    """Import the decoder of a format; otherwise Pillow would import those of all formats. Returns Pillow's names.

    A decoder may use one thread: others would take the cores of other pictures, and each has a stack of 8 MB.
    """
    if kind is Format.HEIC:
        with suppress(ImportError):
            import_module("pillow_heif").register_heif_opener()
            vars(import_module("pillow_heif.options"))["DECODE_THREADS"] = 1
        return [_DECODERS[kind][0]]
    if kind is Format.UNKNOWN:
        for _, module in _OTHER_DECODERS:
            import_module(f"PIL.{module}ImagePlugin")
        return [name for name, _ in _OTHER_DECODERS]
    plugin = import_module(f"PIL.{_DECODERS[kind][1]}ImagePlugin")
    if kind is Format.AVIF:
        vars(plugin)["DEFAULT_MAX_THREADS"] = 1
    return [_DECODERS[kind][0]]


def _load(
    picture: Image.Image,
    file: BinaryIO,
    source_pixels: int,
    limits: ImageLimits | None,
    *,
    hashes: bool,
    memory: DecodingMemory | None,
    beside_bytes: int = 0,
) -> _Loaded:
    """Decode a picture; ``beside_bytes`` is memory that it takes afterwards, beside what is decoded."""
    is_turned = _may_be_turned(picture)
    needed_bytes = decoding_bytes(
        picture,
        file_bytes=_file_bytes(file),
        source_pixels=source_pixels,
        limits=limits,
        hashes=hashes,
        is_turned=is_turned,
    )
    _grant(needed_bytes + beside_bytes, memory)
    if picture.format == "JPEG" and "progressive" in picture.info:
        check_scans(file)
    has_deep_colour = isinstance(picture, ImageFile.ImageFile) and ";16" in str(picture.tile[:1])
    picture.load()
    return _Loaded(_turn(picture), has_deep_colour)


def _grant(needed_bytes: int, memory: DecodingMemory | None) -> None:
    """Check that decoding may take so much memory.

    Raises:
        MemoryNeededError: More than was granted.
    """
    if memory is not None and needed_bytes > memory.granted_bytes:
        raise MemoryNeededError(needed_bytes)


def _file_bytes(file: BinaryIO) -> int:
    at = file.tell()
    size_bytes = file.seek(0, io.SEEK_END)
    file.seek(at)
    return size_bytes


def _decoded_size(picture: Image.Image, size: tuple[int, int], memory: DecodingMemory | None) -> tuple[int, int]:
    """The least size at which a JPEG should be decoded: ``size``, or less where that takes too much memory."""
    factor, needed_bytes = 1, _LARGE_JPEG_BYTES * picture.width * picture.height
    while memory is not None and factor < 8 and needed_bytes > memory.most_bytes * factor**2:
        factor *= 2
    return min(size[0], picture.width // factor) or 1, min(size[1], picture.height // factor) or 1


def _may_be_turned(picture: Image.Image) -> bool:
    """Whether decoding may be followed by a turn; also reads the metadata of a TIFF, whose file decoding closes."""
    if picture.format == "PNG":  # whose plugin decodes the picture to look for metadata behind it
        return any(name in picture.info for name in ("exif", "Raw profile type exif", "XML:com.adobe.xmp"))
    return _turn(picture) is not None


def _turn(picture: Image.Image) -> Image.Transpose | None:
    try:
        return _TURNS.get(picture.getexif().get(_ORIENTATION, 1))
    except Exception:  # noqa: BLE001  broken metadata: the image is used as stored
        return None


def _turned(picture: Image.Image, turn: Image.Transpose | None) -> Image.Image:
    return picture if turn is None else picture.transpose(turn)


def _flat(picture: Image.Image, loaded: _Loaded) -> Image.Image:
    """The image in RGB or 8-bit grey: transparency on white, deep light scaled to 8 bits."""
    if is_deep(picture):
        return to_grey(picture)
    if loaded.has_deep_colour:
        picture = brightened(picture)
    if picture.has_transparency_data:
        return _on_white(picture)
    return picture if picture.mode in {"RGB", "L"} else picture.convert("RGB")


def _in_rgb(picture: Image.Image) -> Image.Image:
    """The image in RGB, without its transparency; light of more than 8 bits in grey, of which Pillow makes white."""
    picture = to_grey(picture) if is_deep(picture) else picture
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def _on_white(picture: Image.Image) -> Image.Image:
    flat = Image.new("RGB", picture.size)
    rows = max(1, _BAND_PIXELS // picture.width)
    for top in range(0, picture.height, rows):
        band = picture.crop((0, top, picture.width, min(top + rows, picture.height))).convert("RGBA")
        ground = Image.new("RGBA", band.size, "white")
        ground.alpha_composite(band)
        flat.paste(ground.convert("RGB"), (0, top))
    return flat


# -- Encoding ----------------------------------------------------------------------------------------------------------


def _fitting(flat: Image.Image, size: tuple[int, int], turn: Image.Transpose | None, limits: ImageLimits) -> Jpeg:
    """The JPEG of the highest quality and size that is within the limit of bytes.

    Args:
        flat: In RGB or grey.
        size: Largest size to try, as ``flat`` is stored.
        turn: How it must be turned.
        limits: Of the detector.

    Raises:
        ImageError: ``image_too_large`` when none is before the image is too small.
    """
    room_bytes = spare_bytes(flat.size, size)
    least_bytes_a_pixel = 0.0
    while min(size) >= limits.min_px:
        pixels = size[0] * size[1]
        is_possible = pixels * least_bytes_a_pixel <= limits.max_inline_bytes
        if is_possible and (size == flat.size or 4 * pixels <= room_bytes):
            shown = _turned(_scaled(flat, size).convert("RGB") if flat.mode != "RGB" else _scaled(flat, size), turn)
            for quality in _QUALITIES:
                out = io.BytesIO()
                shown.save(out, "JPEG", quality=quality)
                if out.tell() <= limits.max_inline_bytes:
                    return Jpeg(out.getvalue(), *shown.size)
                if out.tell() * _LEAST_GAIN > limits.max_inline_bytes:
                    least_bytes_a_pixel = max(least_bytes_a_pixel, out.tell() * _LEAST_GAIN / pixels)
                    break
            del shown  # before the next one is made
        size = int(size[0] * _SHRINK), int(size[1] * _SHRINK)
    raise ImageError("too many bytes to be sent at any size that the service accepts", code="image_too_large")


def _scaled(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The picture in another size; in bands, since a scaling needs a copy that is only narrower beside the result."""
    if size == picture.size:
        return picture
    scaled = Image.new(picture.mode, size)
    rows = max(1, _BAND_PIXELS // size[0])
    for top in range(0, size[1], rows):
        bottom = min(top + rows, size[1])
        box = (0, top * picture.height / size[1], picture.width, bottom * picture.height / size[1])
        scaled.paste(picture.resize((size[0], bottom - top), Image.Resampling.LANCZOS, box=box), (0, top))
    return scaled
