"""One line of a test snapshot: labels and predictions of one image.

The labels are in attributes ``rekognition-custom-labels-training``, the predictions in
``rekognition-custom-labels-evaluation``, both with or without a number behind the name. How a prediction was judged
stands in the metadata of a label of the whole image, and at each object, or in the metadata, of boxes. All other keys
are ignored.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from asyncfilter.custom_labels.evaluation.model import (
    MAX_LABEL_CHARS,
    Frame,
    Prediction,
    PredictionOutcome,
    SnapshotImage,
    Truth,
)
from asyncfilter.datasets.manifests.attribute_checks import is_number, size_of
from asyncfilter.datasets.manifests.json_object import kind_of
from asyncfilter.datasets.manifests.model import METADATA, SOURCE_REF, ImageSize

MAX_OBJECTS = 1_000
"""Most labels and most predictions of one image that are read."""

MAX_ADDRESS_CHARS = 2_048
"""Longest address of an image; one in S3 has at most 1,024 bytes of key."""

_ATTRIBUTE = re.compile(r"rekognition-custom-labels-(training|evaluation)(?:-[0-9]{1,9})?")
_DETAILS = "rekognition-custom-labels-evaluation-details"
_FLAGS = {
    PredictionOutcome.TRUE_POSITIVE: "is-true-positive",
    PredictionOutcome.TRUE_NEGATIVE: "is-true-negative",
    PredictionOutcome.FALSE_POSITIVE: "is-false-positive",
    PredictionOutcome.FALSE_NEGATIVE: "is-false-negative",
}
_PRESENT = "is-present-in-ground-truth"
_SIDES = ("left", "top", "width", "height")
_FOUND = frozenset({PredictionOutcome.TRUE_POSITIVE, PredictionOutcome.FALSE_NEGATIVE})


class BadSnapshotLineError(Exception):
    """A line cannot be read; the message has the reason."""


class ParsedLine(NamedTuple):
    """What one line holds; ``is_evaluated`` is False where it has no predictions, not even an empty list of them."""

    image: SnapshotImage
    is_evaluated: bool


def parse_line(document: dict[str, Any], *, line: int) -> ParsedLine:
    """The image of one line.

    Args:
        document: The line.
        line: Its number, from 1.

    Raises:
        BadSnapshotLineError: It cannot be read.
    """
    source_ref = document.get(SOURCE_REF)
    if not isinstance(source_ref, str) or not 0 < len(source_ref) <= MAX_ADDRESS_CHARS:
        raise BadSnapshotLineError(_seen(SOURCE_REF, document.get(SOURCE_REF), "an address"))
    attributes = [(found[1], name) for name in document if (found := _ATTRIBUTE.fullmatch(name))]
    truths: list[Truth] = []
    predictions: list[Prediction] = []
    size: ImageSize | None = None
    for kind, name in attributes:
        pair = _Pair.of(document, name)
        size = size or pair.size()
        if kind == "training":
            truths += pair.truths()
        else:
            predictions += pair.predictions()
    if max(len(truths), len(predictions)) > MAX_OBJECTS:
        raise BadSnapshotLineError(f"it has more than {MAX_OBJECTS:,} labels or predictions")
    missed = _missed(truths, predictions) if predictions else truths
    image = SnapshotImage(
        source_ref=source_ref,
        line=line,
        size=size,
        truths=tuple(truths),
        predictions=tuple(predictions),
        missed=tuple(missed),
    )
    return ParsedLine(image, any(kind == "evaluation" for kind, _ in attributes))


def _missed(truths: list[Truth], predictions: list[Prediction]) -> list[Truth]:
    """The labels that no prediction found, not even below its threshold; boxes are distinguished by their overlap."""
    rest = list(truths)
    for found in predictions:
        if found.outcome in _FOUND:
            same = [number for number, truth in enumerate(rest) if truth.label == found.label]
            if same:
                del rest[max(same, key=lambda number: overlap(rest[number].frame, found.frame))]
    return rest


def overlap(one: Frame | None, other: Frame | None) -> float:
    """Intersection over union of two boxes; 0 where one of them is none."""
    if one is None or other is None:
        return 0
    width = min(one.left + one.width, other.left + other.width) - max(one.left, other.left)
    height = min(one.top + one.height, other.top + other.height) - max(one.top, other.top)
    if width <= 0 or height <= 0:
        return 0
    both = width * height
    if not both > 0:  # too small for a float
        return 0
    return both / (one.width * one.height + other.width * other.height - both)


class _Pair(NamedTuple):
    """An attribute and its metadata."""

    name: str
    value: Any
    metadata: dict[str, Any]

    @classmethod
    def of(cls, document: dict[str, Any], name: str) -> _Pair:
        metadata = document.get(f"{name}{METADATA}")
        if not isinstance(metadata, dict):
            raise BadSnapshotLineError(_seen(f"{name}{METADATA}", metadata, "an object"))
        return cls(name, document[name], metadata)

    @property
    def meta_name(self) -> str:
        return f"{self.name}{METADATA}"

    @property
    def has_boxes(self) -> bool:
        return isinstance(self.value, dict)

    def size(self) -> ImageSize | None:
        """The image's size, which attributes with boxes have."""
        return size_of(self.value.get("image_size")) if self.has_boxes else None

    def truths(self) -> Iterator[Truth]:
        """Labels or boxes that people gave."""
        if not self.has_boxes:
            yield Truth(self._class_name())
            return
        for label, frame in self._boxes():
            yield Truth(label, frame)

    def predictions(self) -> Iterator[Prediction]:
        """The predictions of the model."""
        if not self.has_boxes:
            found = _Judged.of(self.metadata, self.metadata, self.meta_name)
            number = self.name.rpartition("-")[2]
            index = int(number) if number.isdecimal() else None
            yield Prediction(self._class_name(), found.confidence, found.outcome, found.is_in_truth, index=index)
            return
        boxes, objects = list(self._boxes()), self.metadata.get("objects")
        if not isinstance(objects, list):
            raise BadSnapshotLineError(_seen(f"{self.meta_name}: objects", objects, "a list"))
        if len(objects) != len(boxes):
            raise BadSnapshotLineError(f"{self.name}: {len(boxes)} boxes, and {len(objects)} objects about them")
        for index, ((label, frame), entry) in enumerate(zip(boxes, objects, strict=True)):
            place = f"{self.meta_name}: objects[{index}]"
            if not isinstance(entry, dict):
                raise BadSnapshotLineError(_seen(place, entry, "an object"))
            found = _Judged.of(entry, self.metadata, place)
            yield Prediction(label, found.confidence, found.outcome, found.is_in_truth, frame, index)

    def _class_name(self) -> str:
        name = self.metadata.get("class-name")
        if not isinstance(name, str) or not 0 < len(name) <= MAX_LABEL_CHARS:
            raise BadSnapshotLineError(_seen(f"{self.meta_name}: class-name", name, "a label"))
        return name

    def _boxes(self) -> Iterator[tuple[str, Frame]]:
        annotations = self.value.get("annotations")
        if annotations is None:
            return
        if not isinstance(annotations, list):
            raise BadSnapshotLineError(_seen(f"{self.name}: annotations", annotations, "a list"))
        for index, annotation in enumerate(annotations):
            place = f"{self.name}: annotations[{index}]"
            if not isinstance(annotation, dict):
                raise BadSnapshotLineError(_seen(place, annotation, "an object"))
            yield self._label(annotation, place), _frame(annotation, place)

    def _label(self, annotation: dict[str, Any], place: str) -> str:
        class_map, class_id = self.metadata.get("class-map"), annotation.get("class_id")
        if type(class_id) is not int:
            raise BadSnapshotLineError(_seen(f"{place}: class_id", class_id, "a whole number"))
        if not isinstance(class_map, dict):
            raise BadSnapshotLineError(_seen(f"{self.meta_name}: class-map", class_map, "an object"))
        label = class_map.get(str(class_id)) if class_id.bit_length() < 64 else None
        if not isinstance(label, str) or not 0 < len(label) <= MAX_LABEL_CHARS:
            raise BadSnapshotLineError(f"{self.meta_name}: class-map has no class_id {kind_of(class_id)}")
        return label


class _Judged(NamedTuple):
    """The confidence of a prediction, and what the service made of it."""

    confidence: float
    outcome: PredictionOutcome | None
    is_in_truth: bool

    @classmethod
    def of(cls, entry: dict[str, Any], metadata: dict[str, Any], place: str) -> _Judged:
        """The judgement in an entry; what the entry does not have may stand in the metadata."""
        confidence = entry.get("confidence", metadata.get("confidence"))
        if not is_number(confidence) or not 0 <= confidence <= 1:
            raise BadSnapshotLineError(_seen(f"{place}: confidence", confidence, "a number from 0 to 1"))
        details = entry.get(_DETAILS, metadata.get(_DETAILS))
        if not isinstance(details, dict):
            raise BadSnapshotLineError(_seen(f"{place}: {_DETAILS}", details, "an object"))
        flags = {name: _flag(details, name, place) for name in (*_FLAGS.values(), _PRESENT)}
        outcomes = [outcome for outcome, name in _FLAGS.items() if flags[name]]
        if len(outcomes) > 1:
            names = " and ".join(_FLAGS[outcome] for outcome in outcomes)
            raise BadSnapshotLineError(f"{place}: {_DETAILS}: {names} contradict each other")
        outcome = outcomes[0] if outcomes else None
        is_in_truth = flags[_PRESENT] if _PRESENT in details else outcome in _FOUND
        return cls(float(confidence), outcome, is_in_truth)


def _flag(details: dict[str, Any], name: str, place: str) -> bool:
    found = details.get(name, False)
    if not isinstance(found, bool):
        raise BadSnapshotLineError(_seen(f"{place}: {name}", found, "true or false"))
    return found


def _frame(annotation: dict[str, Any], place: str) -> Frame:
    sides = []
    for name in _SIDES:
        side = annotation.get(name)
        if not is_number(side):
            raise BadSnapshotLineError(_seen(f"{place}: {name}", side, "a number"))
        sides.append(float(side))
    return Frame(*sides)


def _seen(place: str, found: object, expected: str) -> str:
    return f"{place} is missing" if found is None else f"{place} is {kind_of(found)}, not {expected}"
