"""One attribute of a line and its metadata: what is wrong with the pair, and the labels or boxes in it.

Rules: Custom Labels guide, *Non-terminal JSON line validation errors*, *Image-level labels in manifest files*, *Object
localization in manifest files*. A pair with an error of its own is not used; a box with one is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum, auto
from math import ceil, isfinite
from typing import Any, TypeGuard

from asyncfilter.datasets.manifests.codes import Finding, Scope, finding
from asyncfilter.datasets.manifests.json_object import kind_of
from asyncfilter.datasets.manifests.line_form import attribute_problem
from asyncfilter.datasets.manifests.model import (
    BOX_TYPE,
    IMAGE_TYPE,
    MAX_LABEL_CHARS,
    MULTI_LABEL_TYPE,
    BoxAttribute,
    ImageLabel,
    ImageSize,
    PixelBox,
)
from asyncfilter.datasets.manifests.moments import moment_of
from asyncfilter.datasets.manifests.pixels import is_too_small

_FORMAT = "ERROR_INVALID_LABEL_ATTRIBUTE_FORMAT"
_METADATA = "ERROR_INVALID_LABEL_ATTRIBUTE_METADATA_FORMAT"
_SIDES = ("top", "left", "width", "height")
_LARGEST = 2**53
_SLACK_PX = 1e-6
"""How far sums of fractional pixels may go beyond the frame, because floats are not exact."""


class PairState(Enum):
    """What can be used of a pair."""

    USABLE = auto()
    BROKEN = auto()
    """It has an error of its own."""
    EMPTY = auto()
    """It has no boxes."""
    NO_VALID_BOX = auto()


class Pair:
    """An attribute of a line with its metadata, checked.

    Args:
        name: Of the attribute.
        value: Of the attribute.
        metadata: Of its metadata.

    Attributes:
        is_boxes: Whether it is, or is meant to be, a set of boxes.
        state: What of it can be used.
        label: The image-level label, of a usable one.
        boxes: The boxes with their size, of a usable set.
        size: The image's size that a set of boxes gives, where it is one.
        annotations: How many boxes there are, valid or not.
        findings: What is wrong.
        metadata: As given.
    """

    __slots__ = (
        *("_value", "annotations", "boxes", "findings", "is_boxes", "label", "metadata", "name", "size", "state"),
        "type",
    )

    def __init__(self, name: str, value: Any, metadata: Any) -> None:  # noqa: ANN401  JSON
        self.name = name
        self.label: ImageLabel | None = None
        self.boxes: BoxAttribute | None = None
        self.size: ImageSize | None = None
        self.annotations = 0
        self.findings: list[Finding] = []
        self.state = PairState.BROKEN
        self._value, self.metadata = value, metadata
        self.type = metadata.get("type") if isinstance(metadata, dict) else None
        self.is_boxes = self.type == BOX_TYPE or (self.type != IMAGE_TYPE and isinstance(value, dict))
        if (problem := attribute_problem(name)) is not None:
            self._add("BAD_ATTRIBUTE_NAME", f"attribute {name!r}: {problem}")
        self._check()

    # -- The pair ------------------------------------------------------------------------------------------------------

    def _check(self) -> None:
        noted = len(self.findings)
        if not isinstance(self.metadata, dict):
            self._add(_METADATA, f"{self.name}-metadata is {kind_of(self.metadata)}, not an object", Scope.METADATA)
        elif isinstance(self.type, str) and self.type not in {IMAGE_TYPE, BOX_TYPE}:
            self._check_common(self.metadata)
            self._refuse_type(self.type)
            return
        else:
            self._check_common(self.metadata)
        if self.is_boxes:
            self._check_boxes(noted)
        else:
            self._check_image(noted)

    def _refuse_type(self, kind: str) -> None:
        self._add(
            "ERROR_UNSUPPORTED_USE_CASE_TYPE",
            f"{self.name}-metadata: type is {kind_of(kind)}",
            Scope.METADATA,
            hint="Convert the file: asyncfilter manifest convert IN --to custom-labels."
            if kind == MULTI_LABEL_TYPE
            else None,
        )

    def _check_common(self, metadata: dict[str, Any]) -> None:
        if not isinstance(self.type, str):
            self._bad_field("type", self.type, "a string")
        human = metadata.get("human-annotated")
        if not isinstance(human, str) or human not in {"yes", "no"}:
            self._bad_field("human-annotated", human, '"yes" or "no"')
        created = metadata.get("creation-date")
        if not isinstance(created, str) or moment_of(created) is None:
            self._bad_field("creation-date", created, "a date and time in ISO 8601")
        if "job-name" in metadata and not isinstance(metadata["job-name"], str):
            self._bad_field("job-name", metadata["job-name"], "a string")

    def _bad_field(self, name: str, value: object, expected: str) -> None:
        is_there = isinstance(self.metadata, dict) and name in self.metadata
        seen = f"is {kind_of(value)}, not {expected}" if is_there else "is missing"
        self._add(_METADATA, f"{self.name}-metadata: {name} {seen}", Scope.METADATA)

    def _add(
        self,
        code: str,
        message: str,
        scope: Scope = Scope.ATTRIBUTE,
        *,
        index: int | None = None,
        hint: str | None = None,
    ) -> None:
        self.findings.append(finding(code, message, scope=scope, attribute=self.name, index=index, hint=hint))

    # -- Image-level labels --------------------------------------------------------------------------------------------

    def _check_image(self, noted: int) -> None:
        if type(self._value) is not int:
            self._add(_FORMAT, f"{self.name} is {kind_of(self._value)}, not a whole number")
        if not isinstance(self.metadata, dict):
            return
        name, confidence = self.metadata.get("class-name"), self.metadata.get("confidence")
        if not isinstance(name, str) or not name:
            self._bad_field("class-name", name, "a label")
        elif len(name) > MAX_LABEL_CHARS:
            self._too_long(name)
        if not is_number(confidence) or not 0 <= confidence <= 1:
            self._bad_field("confidence", confidence, "a number from 0 to 1")
        if len(self.findings) == noted and isinstance(name, str) and is_number(confidence):
            self.state = PairState.USABLE
            self.label = ImageLabel(
                attribute=self.name, name=name, value=self._value, confidence=confidence, metadata=self.metadata
            )

    def _too_long(self, label: str) -> None:
        self._add(
            "ERROR_INVALID_LABEL_NAME_LENGTH",
            f"{self.name}-metadata: a label of {len(label):,} characters, {MAX_LABEL_CHARS} are allowed",
            Scope.METADATA,
        )

    # -- Boxes ---------------------------------------------------------------------------------------------------------

    def _check_boxes(self, noted: int) -> None:
        annotations = self._annotations()
        has_none = isinstance(self._value, dict) and self._value.get("annotations") in (None, [])
        self._check_class_map()
        self._check_objects(annotations)
        self._check_class_ids(annotations)
        is_sound = len(self.findings) == noted
        if has_none:
            self._add("WARNING_NO_ATTRIBUTE_ANNOTATIONS", f"{self.name} has no boxes")
        if not is_sound or self.size is None:
            return
        if has_none:
            self.state = PairState.EMPTY
            return
        self._use_boxes(annotations, self.size)

    def _annotations(self) -> list[Any]:
        """The list of annotations, checked with the size; empty where there is none."""
        if not isinstance(self._value, dict):
            self._add(_FORMAT, f"{self.name} is {kind_of(self._value)}, not an object with image_size and annotations")
            return []
        self._check_size(self._value.get("image_size"))
        annotations = self._value.get("annotations")
        if annotations is None:
            return []
        if not isinstance(annotations, list):
            self._add(_FORMAT, f"{self.name}: annotations is {kind_of(annotations)}, not a list")
            return []
        self.annotations = len(annotations)
        for index, annotation in enumerate(annotations):
            if (problem := _annotation_problem(annotation)) is not None:
                self._add(_FORMAT, f"{self.name}: box {index} {problem}", Scope.ANNOTATION, index=index)
        return annotations

    def _check_size(self, found: object) -> None:
        self.size = size_of(found)
        if self.size is not None:
            return
        seen = f"is {kind_of(found)}, not a list of one object"
        if isinstance(found, list) and len(found) == 1 and isinstance(found[0], dict):
            seen = "has no width, height or depth above 0"
        self._add(_FORMAT, f"{self.name}: image_size {seen}")

    def _check_class_map(self) -> None:
        if not isinstance(self.metadata, dict):
            return
        class_map = self.metadata.get("class-map")
        if not isinstance(class_map, dict):
            self._bad_field("class-map", class_map, "an object")
            return
        if any(not isinstance(label, str) or not label for label in class_map.values()):
            self._add(_METADATA, f"{self.name}-metadata: class-map has a class without a name", Scope.METADATA)
        for label in class_map.values():
            if isinstance(label, str) and len(label) > MAX_LABEL_CHARS:
                self._too_long(label)

    def _check_objects(self, annotations: list[Any]) -> None:
        if not isinstance(self.metadata, dict):
            return
        objects = self.metadata.get("objects")
        if not isinstance(objects, list):
            self._bad_field("objects", objects, "a list")
            return
        missing = [index for index in range(len(annotations)) if not _has_confidence(objects, index)]
        if missing:
            self._add(
                "ERROR_MISSING_BOUNDING_BOX_CONFIDENCE",
                f"{self.name}-metadata: {len(missing)} of {len(annotations)} boxes have no confidence in objects",
                Scope.METADATA,
                index=missing[0],
            )

    def _check_class_ids(self, annotations: list[Any]) -> None:
        class_map = self.metadata.get("class-map") if isinstance(self.metadata, dict) else None
        if not isinstance(class_map, dict):
            return
        unknown: dict[int, int] = {}
        for index, annotation in enumerate(annotations):
            class_id = annotation.get("class_id") if isinstance(annotation, dict) else None
            if type(class_id) is int and str(class_id) not in class_map:
                unknown.setdefault(class_id, index)
        for class_id, index in unknown.items():
            self._add(
                "ERROR_MISSING_CLASS_MAP_ID",
                f"{self.name}-metadata: class-map has no class_id {class_id}",
                Scope.METADATA,
                index=index,
            )

    def _use_boxes(self, annotations: list[dict[str, Any]], size: ImageSize) -> None:
        metadata: dict[str, Any] = self.metadata
        fractional = sum(
            any(annotation[side] != int(annotation[side]) for side in _SIDES) for annotation in annotations
        )
        if fractional:
            self._add(
                "FRACTIONAL_PIXELS", f"{self.name}: {fractional} of {len(annotations)} boxes have fractional pixels"
            )
        boxes = []
        for index, annotation in enumerate(annotations):
            problems = list(box_problems(annotation, size))
            for code, problem in problems:
                self._add(code, f"{self.name}: box {index} {problem}", Scope.ANNOTATION, index=index)
            if not problems:
                boxes.append(_pixel_box(annotation, metadata, index))
        self.state = PairState.USABLE if boxes else PairState.NO_VALID_BOX
        self.boxes = BoxAttribute(attribute=self.name, size=size, boxes=tuple(boxes), metadata=metadata)


def is_number(value: object) -> TypeGuard[float]:
    """Whether a JSON value is a finite number that a float holds."""
    if type(value) is int:
        return -_LARGEST <= value <= _LARGEST
    return type(value) is float and isfinite(value)


def size_of(found: object) -> ImageSize | None:
    """The size in ``image_size``: a list of one object with width, height and depth above 0; None when it is none."""
    size = found[0] if isinstance(found, list) and len(found) == 1 else None
    if not isinstance(size, dict):
        return None
    sides = [side for name in ("width", "height", "depth") if is_number(side := size.get(name)) and side > 0]
    return ImageSize(*map(ceil, sides)) if len(sides) == 3 else None


def is_sound_annotation(annotation: object) -> bool:
    """Whether an annotation has a class and four numbers."""
    return _annotation_problem(annotation) is None


def box_problems(annotation: dict[str, Any], size: ImageSize) -> Iterator[tuple[str, str]]:
    """Codes and texts of what is wrong with a box whose fields are numbers."""
    left, top, width, height = (annotation[side] for side in ("left", "top", "width", "height"))
    if left < 0 or top < 0 or width < 0 or height < 0:
        yield "ERROR_INVALID_BOUNDING_BOX", f"has a negative {_negative(annotation)}"
    elif left + width > size.width + _SLACK_PX or top + height > size.height + _SLACK_PX:
        yield (
            "ERROR_INVALID_BOUNDING_BOX",
            f"ends at {left + width:g}, {top + height:g} in an image of {size.width:g} x {size.height:g} px",
        )
    if width >= 0 and height >= 0 and is_too_small(width, height, size):
        yield (
            "ERROR_BOUNDING_BOX_TOO_SMALL",
            f"has {width:g} x {height:g} px in an image of {size.width:g} x {size.height:g} px",
        )


def _negative(annotation: dict[str, Any]) -> str:
    return next(side for side in ("left", "top", "width", "height") if annotation[side] < 0)


def _annotation_problem(annotation: object) -> str | None:
    if not isinstance(annotation, dict):
        return f"is {kind_of(annotation)}, not an object"
    class_id = annotation.get("class_id")
    if type(class_id) is not int:
        return f"has class_id {kind_of(class_id)}" if "class_id" in annotation else "has no class_id"
    for side in _SIDES:
        if not is_number(annotation.get(side)):
            return f"has {side} {kind_of(annotation[side])}" if side in annotation else f"has no {side}"
    return None


def _has_confidence(objects: list[Any], index: int) -> bool:
    entry = objects[index] if index < len(objects) else None
    return isinstance(entry, dict) and is_number(entry.get("confidence"))


def _pixel_box(annotation: dict[str, Any], metadata: dict[str, Any], index: int) -> PixelBox:
    return PixelBox(
        label=metadata["class-map"][str(annotation["class_id"])],
        left=annotation["left"],
        top=annotation["top"],
        width=annotation["width"],
        height=annotation["height"],
        confidence=metadata["objects"][index]["confidence"],
    )
