"""The settings of an image processor, as ``preprocessor_config.json`` of Hugging Face has them, and what they come to.

In the order resize, crop, rescale, normalise. What a processor would do by its class and the file does not say is not
guessed, with one exception: of some classes a plain number as ``size`` is the shorter side (``default_to_square``).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import msgspec

from asyncfilter.onnx.errors import OwnModelError
from asyncfilter.onnx.files import MAX_TEXT_BYTES, read_file
from asyncfilter.onnx.frames import MAX_SIDE, Frame

KEY = "preprocess"
BILINEAR = 2
_FILTERS = 6
_SHOWN = 200
"""Characters of a message that may quote a file."""
_COLORS = ("RGB", "BGR")
_SILENT = frozenset(
    {
        "_processor_class",
        "_valid_processor_keys",
        "feature_extractor_type",
        "image_processor_type",
        "processor_class",
    }
)
"""Keys of a file that name what wrote it, and ask for nothing."""
_SHORTEST_EDGE = (
    "Bit",
    "CLIP",
    "ChineseCLIP",
    "ConvNext",
    "Levit",
    "MobileNetV1",
    "MobileNetV2",
    "MobileViT",
    "PoolFormer",
)
"""Beginnings of the classes of processors to which a plain number as ``size`` is the shorter side."""

Three = tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocess:
    """Settings as they were given; None for what was not given.

    Attributes:
        size: (width, height); ``shortest``: the length of the shorter side; at most one of them.
        crop_size: (width, height).
    """

    do_resize: bool | None = None
    size: tuple[int, int] | None = None
    shortest: int | None = None
    resample: int = BILINEAR
    do_center_crop: bool | None = None
    crop_size: tuple[int, int] | None = None
    do_rescale: bool | None = None
    rescale_factor: float = 1 / 255
    do_normalize: bool | None = None
    image_mean: Three | None = None
    image_std: Three | None = None
    color: str = "RGB"

    def described(self) -> str:
        """All that differs from the defaults, as text: equal for equal settings."""
        return " ".join(
            f"{field.name}={value}" for field in fields(self) if (value := getattr(self, field.name)) != field.default
        )


class Tensor(NamedTuple):
    """What a model takes.

    Attributes:
        width, height: In pixels; None where the model leaves them open.
        is_uint8: Whether it takes the pixels as they are.
    """

    width: int | None
    height: int | None
    is_uint8: bool


class Steps(NamedTuple):
    """What happens to a picture.

    Attributes:
        frame: From the picture to its pixels.
        factor: What each pixel is multiplied with; None to leave it.
        mean: What is subtracted then, by channel; ``std``: what the rest is divided by. None for neither.
        is_bgr: Whether the channels are reversed before.
    """

    frame: Frame
    factor: float | None = None
    mean: Three | None = None
    std: Three | None = None
    is_bgr: bool = False


# -- Reading -----------------------------------------------------------------------------------------------------------


def read_preprocess_file(path: str) -> tuple[Preprocess, list[str]]:
    """The settings in a file, and what it has beside these, as cautions.

    Raises:
        OwnModelError: It cannot be read, or a value in it cannot be used.
    """
    content = read_file(path, key=KEY, most_bytes=MAX_TEXT_BYTES)
    try:
        document: Any = msgspec.json.decode(content.removeprefix(b"\xef\xbb\xbf"))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise OwnModelError(KEY, f"{path}: expected JSON in UTF-8 ({exc})") from exc
    if not isinstance(document, dict):
        raise OwnModelError(KEY, f"{path}: expected a mapping, as in preprocessor_config.json of Hugging Face")
    kind = str(document.get("image_processor_type") or document.get("feature_extractor_type") or "")
    known = {name: value for name, value in document.items() if name in NAMES and value is not None}
    ignored = sorted(name for name, value in document.items() if _is_ignored(name, value))
    cautions = [f"{path}: {name} is not known, and has no effect on what the model is given" for name in ignored]
    return preprocess_of(known, where=path, is_shortest=kind.startswith(_SHORTEST_EDGE)), cautions


def _is_ignored(name: str, value: object) -> bool:
    """Whether a key asks for something that does not happen; ``do_convert_rgb`` does, always."""
    asks = value is not None and not (name.startswith("do_") and value is False)
    if name == "do_convert_rgb":
        return value is False
    return asks and name not in NAMES and name not in _SILENT


def preprocess_of(values: Mapping[str, Any], *, where: str, is_shortest: bool = False) -> Preprocess:
    """The settings in a mapping with the keys of Hugging Face.

    Args:
        values: Without unknown keys, and without nulls.
        where: The file or the key, for messages.
        is_shortest: Whether a plain number as ``size`` is the shorter side, and not both sides.

    Raises:
        OwnModelError: A value cannot be used.
    """
    found: dict[str, Any] = {}
    for name, value in values.items():
        try:
            found.update(_READERS[name](name, value))
        except ValueError as exc:
            raise OwnModelError(KEY, f"{where}: {name}: {str(exc)[:_SHOWN]}") from exc
    if is_shortest and isinstance(values.get("size"), int):
        found["shortest"] = found.pop("size")[0]
    return Preprocess(**found)


def check_value(name: str, value: object) -> None:
    """Check one value.

    Raises:
        ValueError: It cannot be used; the text is the whole message.
    """
    dict(_READERS[name](name, value))


def _flag(name: str, value: object) -> Iterator[tuple[str, object]]:
    if not isinstance(value, bool):
        raise ValueError(f"expected true or false, found {value!r}")  # noqa: TRY004  one kind of error for all
    yield name, value


def _sides(name: str, value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping) and set(value) == {"height", "width"}:
        yield name, (_side(value["width"]), _side(value["height"]))
    elif isinstance(value, Mapping) and set(value) == {"shortest_edge"} and name == "size":
        yield "shortest", _side(value["shortest_edge"])
    elif isinstance(value, Mapping):
        forms = "{height, width}, {shortest_edge} or a number" if name == "size" else "{height, width} or a number"
        raise ValueError(f"expected {forms}, found a mapping with {', '.join(map(str, value)) or 'nothing'}")
    else:
        yield name, (_side(value), _side(value))


def _side(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MAX_SIDE:
        raise ValueError(f"expected a whole number of pixels from 1 to {MAX_SIDE}, found {value!r}")
    return value


def _filter(name: str, value: object) -> Iterator[tuple[str, object]]:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < _FILTERS:
        raise ValueError(f"expected the number of a filter of Pillow, 0 to {_FILTERS - 1}, found {value!r}")
    yield name, value


def _factor(name: str, value: object) -> Iterator[tuple[str, object]]:
    found = _number(value)
    if found <= 0:
        raise ValueError(f"expected a number above 0, found {value!r}")
    yield name, found


def _by_channel(name: str, value: object) -> Iterator[tuple[str, object]]:
    values = list(value) if isinstance(value, list | tuple) else [value] * 3
    if len(values) != 3:
        raise ValueError(f"expected 3 numbers, found {len(values)}")
    found = tuple(_number(one) for one in values)
    if name == "image_std" and not all(found):
        raise ValueError("expected numbers other than 0, by which pixels are divided")
    yield name, found


def _number(value: object) -> float:
    try:
        found = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    except OverflowError:  # a whole number beyond those of ``float``
        found = math.inf
    if not math.isfinite(found):
        raise ValueError(f"expected a number, found {value!r}")
    return found


def _color(name: str, value: object) -> Iterator[tuple[str, object]]:
    if value not in _COLORS:
        raise ValueError(f"expected {' or '.join(_COLORS)}, found {value!r}")
    yield name, value


_READERS = {
    "do_resize": _flag,
    "size": _sides,
    "resample": _filter,
    "do_center_crop": _flag,
    "crop_size": _sides,
    "do_rescale": _flag,
    "rescale_factor": _factor,
    "do_normalize": _flag,
    "image_mean": _by_channel,
    "image_std": _by_channel,
    "color": _color,
}
NAMES = frozenset(_READERS)
"""The keys."""


# -- What they come to -------------------------------------------------------------------------------------------------


def steps_for(wanted: Preprocess | None, taken: Tensor) -> Steps:
    """What happens to each picture.

    Args:
        wanted: The settings; None where there are none.
        taken: What the model takes.

    Raises:
        OwnModelError: They do not lead to what the model takes.
    """
    if wanted is None:
        if not taken.is_uint8:
            raise OwnModelError(
                KEY,
                "it is missing; the model takes numbers and not pixels, and how these were made is not in it",
                hint="Set detector.preprocess to the model's preprocessor_config.json, or to a mapping.",
            )
        wanted = Preprocess()
    frame = _frame(wanted, taken)
    _check_size(frame, taken)
    return _with_arithmetic(wanted, frame, taken)


def _frame(wanted: Preprocess, taken: Tensor) -> Frame:
    own = None if taken.width is None or taken.height is None else (taken.width, taken.height)
    is_cropped = wanted.crop_size is not None if wanted.do_center_crop is None else wanted.do_center_crop
    has_size = wanted.size is not None or wanted.shortest is not None
    is_resized = has_size or not is_cropped if wanted.do_resize is None else wanted.do_resize
    if is_resized and not has_size and own is None:
        raise OwnModelError(KEY, "expected size, as the model leaves the size of its input open, found none")
    if is_cropped and wanted.crop_size is None and own is None:
        raise OwnModelError(KEY, "expected crop_size beside do_center_crop, found none")
    return Frame(
        size=(wanted.size or (own if wanted.shortest is None else None)) if is_resized else None,
        shortest=wanted.shortest if is_resized else None,
        crop=(wanted.crop_size or own) if is_cropped else None,
        resample=wanted.resample,
    )


def _check_size(frame: Frame, taken: Tensor) -> None:
    if frame.pixels is None:
        how = "shortest_edge alone" if frame.shortest is not None else "do_resize: false without a crop"
        message = f"expected settings after which all images have one size, found {how}"
        raise OwnModelError(KEY, message, hint="Add do_center_crop and crop_size, or size with height and width.")
    width, height = frame.pixels
    if (taken.width or width, taken.height or height) != (width, height):
        raise OwnModelError(
            KEY,
            f"gives {height} x {width} pixels (height x width), and the model takes "
            f"{taken.height or 'any'} x {taken.width or 'any'}",
            hint="Correct size or crop_size under detector.preprocess.",
        )
    if max(width, height) > MAX_SIDE:
        raise OwnModelError("model", f"takes images of {height} x {width} pixels, expected at most {MAX_SIDE} a side")


def _with_arithmetic(wanted: Preprocess, frame: Frame, taken: Tensor) -> Steps:
    is_normalised = wanted.do_normalize
    if is_normalised is None:
        is_normalised = wanted.image_mean is not None or wanted.image_std is not None
    is_rescaled = not taken.is_uint8 if wanted.do_rescale is None else wanted.do_rescale
    if taken.is_uint8 and (is_normalised or is_rescaled):
        what = "do_rescale" if is_rescaled else "do_normalize"
        message = f"{what}: the model takes pixels from 0 to 255 (uint8), which are neither rescaled nor normalised"
        raise OwnModelError(KEY, message, hint="Set do_rescale and do_normalize to false.")
    if is_normalised and (wanted.image_mean is None or wanted.image_std is None):
        lacks = "image_mean" if wanted.image_mean is None else "image_std"
        raise OwnModelError(KEY, f"expected {lacks} beside do_normalize, found none")
    return Steps(
        frame=frame,
        factor=wanted.rescale_factor if is_rescaled else None,
        mean=wanted.image_mean if is_normalised else None,
        std=wanted.image_std if is_normalised else None,
        is_bgr=wanted.color == "BGR",
    )
