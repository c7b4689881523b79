"""One attribute of a line and its metadata, judged as the service does.

The service reports the first error of a pair (Custom Labels guide, *Fixing training errors*), except for boxes: each of
them has its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from functools import lru_cache
from math import ceil, isfinite
from typing import Any, Final, NamedTuple, TypeGuard

from asyncfilter.sandbox.custom_labels import messages
from asyncfilter.sandbox.custom_labels.limits import MAX_LABEL_CHARS, SCALED_SIDE_PX

IMAGE_TYPE: Final = "groundtruth/image-classification"
BOX_TYPE: Final = "groundtruth/object-detection"
_SIDES: Final = ("left", "top", "width", "height")
_MOMENT: Final = re.compile(r"[0-9]{4}(?:-[0-9]{2}-[0-9]{2}|[0-9]{4})[T ][0-9]{2}")
_SLACK_PX: Final = 1e-6
_LARGEST: Final = 2**53


class Box(NamedTuple):
    """A box in pixels that can be used, with the number of its annotation."""

    label: str
    left: float
    top: float
    width: float
    height: float
    number: int


class Fault(NamedTuple):
    """An error, or a warning, and where it belongs.

    Attributes:
        code: The service's.
        name: The attribute; empty for the line.
        is_metadata: Whether it belongs to the attribute's metadata.
        box: Number of the annotation that it belongs to; None for none.
    """

    code: str
    name: str = ""
    is_metadata: bool = False
    box: int | None = None


class Pair:
    """An attribute with its metadata.

    Attributes:
        is_usable: Whether training can use it.
        is_empty: Whether it has no boxes, and is sound otherwise.
        label: The image-level label of a usable one.
        boxes: The boxes that can be used.
        size: Width and height that a sound set of boxes gives for its image.
        given_size: The same of any set of boxes, sound or not.
        annotations: The number of its boxes, usable or not.
        faults: What is wrong with it.
    """

    __slots__ = (
        "_metadata",
        "_value",
        "annotations",
        "boxes",
        "faults",
        "given_size",
        "is_empty",
        "is_usable",
        "label",
        "name",
        "size",
    )

    def __init__(self, name: str, value: Any, metadata: Any) -> None:  # noqa: ANN401 - JSON
        self.name, self._value, self._metadata = name, value, metadata
        self.is_usable = self.is_empty = False
        self.label = ""
        self.boxes: list[Box] = []
        self.size: tuple[int, int] | None = None
        self.given_size: tuple[int, int] | None = None
        self.annotations = 0
        self.faults: list[Fault] = []
        self._judge()

    @property
    def is_labeled(self) -> bool:
        """Whether somebody has labelled the image, soundly or not."""
        return self.annotations > 0 or not isinstance(self._value, dict)

    def _judge(self) -> None:
        kind = self._metadata.get("type") if isinstance(self._metadata, dict) else None
        if kind == BOX_TYPE or (kind != IMAGE_TYPE and isinstance(self._value, dict)):
            self._judge_boxes(kind)
        else:
            self._judge_label(kind)

    def _add(self, code: str, *, is_metadata: bool = False) -> None:
        self.faults.append(Fault(code, self.name, is_metadata))

    def _judge_label(self, kind: object) -> None:
        if not self._has_common(kind):
            return
        if type(self._value) is not int:
            self._add(messages.FORMAT)
            return
        label, confidence = self._metadata.get("class-name"), self._metadata.get("confidence")
        if not isinstance(label, str) or not label or not _is_number(confidence) or not 0 <= confidence <= 1:
            self._add(messages.METADATA_FORMAT, is_metadata=True)
        elif len(label) > MAX_LABEL_CHARS:
            self._add(messages.NAME_LENGTH, is_metadata=True)
        else:
            self.label, self.is_usable = label, True

    def _has_common(self, kind: object) -> bool:
        """Whether the metadata has what metadata of both kinds have; adds the error otherwise."""
        if isinstance(kind, str) and kind not in {IMAGE_TYPE, BOX_TYPE}:
            self._add(messages.UNSUPPORTED_TYPE, is_metadata=True)
            return False
        metadata = self._metadata
        sound = (
            isinstance(metadata, dict)
            and isinstance(kind, str)
            and metadata.get("human-annotated") in ("yes", "no")
            and isinstance(created := metadata.get("creation-date"), str)
            and _is_moment(created)
            and isinstance(metadata.get("job-name", ""), str)
        )
        if not sound:
            self._add(messages.METADATA_FORMAT, is_metadata=True)
        return sound

    def _judge_boxes(self, kind: object) -> None:
        found = self._value.get("annotations") if isinstance(self._value, dict) else None
        self.annotations = len(found) if isinstance(found, list) else 0
        size = self.given_size = _size(self._value.get("image_size")) if isinstance(self._value, dict) else None
        if not self._has_common(kind):
            return
        annotations = [] if found is None else found
        if size is None or not isinstance(annotations, list) or not all(map(_is_annotation, annotations)):
            self._add(messages.FORMAT)
            return
        if not self._has_classes(annotations):
            return
        self.size = size
        if not annotations:
            self.is_empty = True
            self._add(messages.NO_ATTRIBUTE_ANNOTATIONS)
            return
        self._use_boxes(annotations, size)

    def _has_classes(self, annotations: list[dict[str, Any]]) -> bool:
        """Whether the metadata has a class and a confidence for each box; adds the error otherwise."""
        classes, objects = self._metadata.get("class-map"), self._metadata.get("objects")
        code = ""
        if not _is_class_map(classes) or not isinstance(objects, list):
            code = messages.METADATA_FORMAT
        elif len(objects) < len(annotations) or not all(map(_has_confidence, objects[: len(annotations)])):
            code = messages.MISSING_CONFIDENCE
        elif any(str(annotation["class_id"]) not in classes for annotation in annotations):
            code = messages.MISSING_CLASS
        elif any(len(label) > MAX_LABEL_CHARS for label in classes.values()):
            code = messages.NAME_LENGTH
        if code:
            self._add(code, is_metadata=True)
        return not code

    def _use_boxes(self, annotations: list[dict[str, Any]], size: tuple[int, int]) -> None:
        classes = self._metadata["class-map"]
        for number, annotation in enumerate(annotations):
            codes = list(_box_faults(annotation, size))
            self.faults += [Fault(code, self.name, box=number) for code in codes]
            if not codes:
                left, top, width, height = (annotation[side] for side in _SIDES)
                self.boxes.append(Box(classes[str(annotation["class_id"])], left, top, width, height, number))
        self.is_usable = bool(self.boxes)


def _is_number(value: object) -> TypeGuard[float]:
    if type(value) is int:
        return -_LARGEST <= value <= _LARGEST
    return isinstance(value, float) and isfinite(value)


@lru_cache(maxsize=1024)
def _is_moment(text: str) -> bool:
    try:
        return _MOMENT.match(text) is not None and bool(datetime.fromisoformat(text))
    except ValueError:
        return False


def _size(found: object) -> tuple[int, int] | None:
    """Width and height in ``image_size``: a list of one object with three sides above 0."""
    size = found[0] if isinstance(found, list) and len(found) == 1 else None
    if not isinstance(size, dict):
        return None
    sides = [side for name in ("width", "height", "depth") if _is_number(side := size.get(name)) and side > 0]
    return (ceil(sides[0]), ceil(sides[1])) if len(sides) == 3 else None


def _is_class_map(found: object) -> bool:
    return isinstance(found, dict) and all(isinstance(label, str) and label for label in found.values())


def _is_annotation(annotation: object) -> bool:
    return (
        isinstance(annotation, dict)
        and type(annotation.get("class_id")) is int
        and all(_is_number(annotation.get(side)) for side in _SIDES)
    )


def _has_confidence(entry: object) -> bool:
    return isinstance(entry, dict) and _is_number(entry.get("confidence"))


def _box_faults(annotation: dict[str, Any], size: tuple[int, int]) -> Iterator[str]:
    left, top, width, height = (annotation[side] for side in _SIDES)
    beyond = left + width > size[0] + _SLACK_PX or top + height > size[1] + _SLACK_PX
    if min(left, top, width, height) < 0 or beyond:
        yield messages.INVALID_BOX
    scale = min(1.0, SCALED_SIDE_PX / max(size))
    if min(width, height) >= 0 and min(width, height) * scale <= 1:
        yield messages.SMALL_BOX
