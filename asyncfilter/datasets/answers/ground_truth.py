"""Manifests of Ground Truth and Custom Labels as answers: one line is what people say about one image.

More is read than ``manifest validate`` lets pass, since old labelling jobs wrote it: ids as text, fractional pixels,
metadata without a confidence. Metadata is what names the classes; the numbers are not looked at but in boxes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

from asyncfilter.datasets.answers.addresses import Addresses
from asyncfilter.datasets.answers.boxes import Fractions
from asyncfilter.datasets.answers.json_lines import json_lines
from asyncfilter.datasets.answers.units import Left, ReadNotes, Reject, Said, SkipReason, Unit
from asyncfilter.datasets.answers.words import VerdictWords, moment_unix_s
from asyncfilter.datasets.manifests.attribute_checks import is_number
from asyncfilter.datasets.manifests.json_object import kind_of
from asyncfilter.datasets.manifests.model import (
    BOX_TYPE,
    IMAGE_TYPE,
    METADATA,
    MULTI_LABEL_TYPE,
    SERVICE_KEYS,
    SOURCE_REF,
)
from asyncfilter.policy.answers.checks import MAX_BOXES, BadAnswerError, checked_box, checked_label, checked_labels
from asyncfilter.records.answers import LabelledBox, PersonVerdict

NAME = "ground-truth"
"""Reviewer of its answers."""
VERDICT = "verdict"
"""The attribute in which this program writes the verdict."""

_SIDES = ("left", "top", "width", "height")


class _BadLineError(Exception):
    """A line cannot be used; the message says why."""

    def __init__(self, message: str, code: str = Reject.BAD_LINE) -> None:
        super().__init__(message)
        self.code = code


class GroundTruthReader:
    """Reads manifests.

    Args:
        words: Which classes are verdicts.
        addresses: What addresses mean.
        notes: Counts what is beside the units.
        takes_machine: Whether attributes that a machine gave are read, too.
    """

    def __init__(self, *, words: VerdictWords, addresses: Addresses, notes: ReadNotes, takes_machine: bool) -> None:
        self._words, self._addresses, self._notes, self._takes_machine = words, addresses, notes, takes_machine

    def read(self, stream: BinaryIO) -> Iterator[Unit]:
        """The units of a file: its lines."""
        for number, found in json_lines(stream):
            if found is None:
                yield Left(number, SkipReason.BLANK)
            elif isinstance(found, str):
                yield Left(number, Reject.BAD_LINE, f"the line {found}")
            else:
                yield self._unit(number, found)

    def _unit(self, number: int, document: dict[str, Any]) -> Unit:
        source_ref = document.get(SOURCE_REF)
        images = self._addresses.of(source_ref) if isinstance(source_ref, str) else ()
        if not images:
            problem = f"source-ref is {kind_of(source_ref)}" if SOURCE_REF in document else "there is no source-ref"
            return Left(number, Reject.BAD_LINE, f"{problem}, not s3://BUCKET/KEY")
        key = images[0].key
        line = _Line(self._words, self._notes, takes_machine=self._takes_machine)
        try:
            line.add_all(document)
        except _BadLineError as error:
            return Left(number, error.code, str(error), key=key)
        if line.says_nothing:
            return Left(number, SkipReason.MACHINE if line.has_machine else SkipReason.EMPTY, key=key)
        return Said(
            at=number,
            images=images,
            reviewer=NAME,
            at_unix_s=line.at_unix_s,
            verdict=line.verdict,
            labels=tuple(line.labels) or None,
            boxes=None if line.boxes is None else tuple(line.boxes),
        )


class _Line:
    """What one line says.

    Attributes:
        has_machine: Whether an attribute was left out because a machine gave it.
        at_unix_s: The newest creation date of what is used.
    """

    def __init__(self, words: VerdictWords, notes: ReadNotes, *, takes_machine: bool) -> None:
        self._words, self._notes, self._takes_machine = words, notes, takes_machine
        self.verdict: PersonVerdict | None = None
        self.labels: tuple[str, ...] = ()
        self.boxes: list[LabelledBox] | None = None
        self.has_machine = False
        self.at_unix_s: float | None = None
        self._classes: list[tuple[str, str]] = []

    @property
    def says_nothing(self) -> bool:
        """Whether nothing of it can be used."""
        return self.verdict is None and not self.labels and self.boxes is None

    def add_all(self, document: dict[str, Any]) -> None:
        """Add all attributes that have metadata.

        Raises:
            _BadLineError: One of them cannot be read.
        """
        for name, value in document.items():
            metadata = document.get(name + METADATA)
            if name + METADATA not in document or name in SERVICE_KEYS or name == SOURCE_REF:
                continue
            if not isinstance(metadata, dict):
                raise _BadLineError(f"{name}-metadata is {kind_of(metadata)}, not an object")
            if metadata.get("human-annotated") == "no" and not self._takes_machine:
                self.has_machine = True
                continue
            self._add(name, value, metadata)
        self._settle()

    def _add(self, name: str, value: object, metadata: dict[str, Any]) -> None:
        kind = metadata.get("type")
        if kind == BOX_TYPE or (kind is None and isinstance(value, dict)):
            self._add_boxes(name, value, metadata)
        elif kind == MULTI_LABEL_TYPE:
            self._add_several(name, value, metadata)
        elif kind == IMAGE_TYPE or kind is None:
            self._classes.append((name, _text(metadata.get("class-name"), f"{name}-metadata: class-name")))
        else:
            self._notes.ignored_results[kind if isinstance(kind, str) else "unknown"] += 1
            return
        created = moment_unix_s(metadata.get("creation-date"))
        if created is not None:
            self.at_unix_s = max(created, self.at_unix_s or 0)

    def _add_several(self, name: str, value: object, metadata: dict[str, Any]) -> None:
        if not isinstance(value, list):
            raise _BadLineError(f"{name} is {kind_of(value)}, not a list of classes")
        for class_id in value:
            self._classes.append((name, _class_of(name, class_id, metadata)))

    def _settle(self) -> None:
        """Tell verdicts from labels.

        Where the attribute ``verdict`` has one, as in our own lines, the classes of the others are labels, whatever
        they are called.
        """
        is_ours = any(name == VERDICT and self._words.of(text) is not None for name, text in self._classes)
        labels = []
        for name, text in self._classes:
            verdict = self._words.of(text) if name == VERDICT or not is_ours else None
            if verdict is None:
                labels.append(text)
            elif self.verdict not in (None, verdict):
                raise _BadLineError(f"the verdicts {self.verdict} and {verdict}", Reject.TWO_VERDICTS)
            else:
                self.verdict = verdict
        try:
            self.labels = checked_labels(labels)
        except BadAnswerError as error:
            raise _BadLineError(error.message) from error

    # -- Boxes ---------------------------------------------------------------------------------------------------------

    def _add_boxes(self, name: str, value: object, metadata: dict[str, Any]) -> None:
        annotations = value.get("annotations") if isinstance(value, dict) else value
        if annotations is None:
            return
        if not isinstance(annotations, list):
            raise _BadLineError(f"{name} is {kind_of(annotations)}, not a list of annotations")
        sides = [_box(name, number, annotation) for number, annotation in enumerate(annotations)]
        labels = [_class_of(name, annotation["class_id"], metadata) for annotation in annotations]
        size = _size(value)
        if annotations and size is None:
            self._notes.boxes["no_size"] += len(annotations)
            return
        boxes = [] if self.boxes is None else self.boxes
        for label, box in zip(labels, sides, strict=True):
            boxes += self._taken(name, label, box, size)
        if boxes or not annotations:  # "none of them", unless some were there and none is in the picture
            self.boxes = boxes
        if len(boxes) > MAX_BOXES:
            raise _BadLineError(f"{len(boxes):,} boxes, {MAX_BOXES:,} are taken")

    def _taken(self, name: str, label: str, box: Fractions, size: tuple[float, float] | None) -> Iterator[LabelledBox]:
        if size is None:
            return
        width, height = size
        try:
            found = checked_box(
                label,
                left=box.left / width,
                top=box.top / height,
                width=box.width / width,
                height=box.height / height,
            )
        except BadAnswerError as error:
            raise _BadLineError(f"{name}: {error.message}") from error
        if found.box is None:
            self._notes.boxes["too_small"] += 1
        else:
            self._notes.boxes["clamped"] += found.is_clamped
            yield found.box


def _box(name: str, number: int, annotation: object) -> Fractions:
    """One annotation, in pixels."""
    if not isinstance(annotation, dict):
        raise _BadLineError(f"{name}: box {number} is {kind_of(annotation)}, not an object")
    for member in ("class_id", *_SIDES):
        if member not in annotation:
            raise _BadLineError(f"{name}: box {number} has no {member}")
    sides = [annotation[side] for side in _SIDES]
    for side, found in zip(_SIDES, sides, strict=True):
        if not is_number(found):
            raise _BadLineError(f"{name}: box {number} has {side} {kind_of(found)}, not a number")
    return Fractions(*sides)


def _class_of(name: str, class_id: object, metadata: dict[str, Any]) -> str:
    """The class with a number, which may be written as text."""
    classes = metadata.get("class-map")
    is_id = type(class_id) is int or isinstance(class_id, str)
    found = classes.get(str(class_id)) if isinstance(classes, dict) and is_id else None
    return _text(found, f"{name}-metadata: class {kind_of(class_id)} in class-map")


def _text(found: object, what: str) -> str:
    if not isinstance(found, str):
        raise _BadLineError(f"{what} is {'missing' if found is None else kind_of(found)}")
    try:
        return checked_label(found)
    except BadAnswerError as error:
        raise _BadLineError(f"{what}: {error.message}") from error


def _size(value: object) -> tuple[float, float] | None:
    """Width and height in ``image_size``; None where they are not known."""
    sizes = value.get("image_size") if isinstance(value, dict) else None
    size = sizes[0] if isinstance(sizes, list) and len(sizes) == 1 else sizes
    if not isinstance(size, dict):
        return None
    width, height = size.get("width"), size.get("height")
    if not (is_number(width) and is_number(height) and width > 0 and height > 0):
        return None
    return width, height
