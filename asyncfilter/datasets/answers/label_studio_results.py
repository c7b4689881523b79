"""The results of one annotation of Label Studio: its verdict, image-level labels and boxes.

Source of the forms: Label Studio's documentation, *Label Studio JSON format of annotated tasks* and *Units of image
annotations*: percents of the picture, and rotation in degrees clockwise about the left top corner.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from asyncfilter.datasets.answers.boxes import Fractions, envelope
from asyncfilter.datasets.answers.units import ReadNotes, Reject
from asyncfilter.datasets.answers.words import VerdictWords
from asyncfilter.datasets.manifests.attribute_checks import is_number
from asyncfilter.datasets.manifests.json_object import kind_of
from asyncfilter.policy.answers.checks import BadAnswerError, checked_box, checked_labels
from asyncfilter.records.answers import LabelledBox, PersonVerdict

VERDICT, LABELS, BOXES = "verdict", "labels", "boxes"
"""``from_name`` of the controls of our own labelling configuration."""
CHOICES, RECTANGLES = "choices", "rectanglelabels"
"""Types of results that are read, beside ``labels``."""

_SIDES = ("x", "y", "width", "height")


class BadResultError(Exception):
    """An annotation cannot be used.

    Args:
        code: A value of ``Reject``.
        message: What is wrong.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Results:
    """What the results of one annotation say.

    Args:
        words: Which texts are verdicts.
        notes: Counts what is beside.
        is_ours: Whether the task was written by this program, whose control ``labels`` has no verdicts.
        on_rotated: Called with what happened to a rotated box.

    Attributes:
        verdict: None where none was given.
        labels: None where nothing is said about them. Likewise ``boxes``.

    Raises:
        BadResultError: It cannot be used.
    """

    def __init__(
        self,
        results: object,
        *,
        words: VerdictWords,
        notes: ReadNotes,
        is_ours: bool,
        on_rotated: Callable[[str], object],
    ) -> None:
        self.verdict: PersonVerdict | None = None
        self._words, self._notes, self._is_ours, self._on_rotated = words, notes, is_ours, on_rotated
        self._labels: list[str] = []
        self._boxes: list[LabelledBox] = []
        if results is not None and not isinstance(results, list):
            raise BadResultError(Reject.UNREADABLE, f"result is {kind_of(results)}, not a list")
        for number, result in enumerate(results or (), start=1):
            self._add(number, result)
        self.labels = _checked_labels(self._labels) if self._labels else None
        self.boxes = tuple(self._boxes) or None
        if len(self._boxes) > _MOST_BOXES:
            raise BadResultError(Reject.BAD_BOX, f"{len(self._boxes):,} boxes, {_MOST_BOXES:,} are taken")

    def _add(self, number: int, result: object) -> None:
        if not isinstance(result, dict):
            raise BadResultError(Reject.UNREADABLE, f"result {number} is {kind_of(result)}, not an object")
        kind = result.get("type")
        if kind == CHOICES and not _is_of_region(result):
            self._add_choices(number, result)
        elif kind == LABELS:
            self._labels += _texts(number, result, LABELS)
        elif kind == RECTANGLES:
            self._add_box(number, result)
        else:
            self._notes.ignored_results[kind if isinstance(kind, str) else "unknown"] += 1

    def _add_choices(self, number: int, result: dict[str, Any]) -> None:
        has_verdict = not (self._is_ours and result.get("from_name") == LABELS)
        for text in _texts(number, result, CHOICES):
            verdict = self._words.of(text) if has_verdict else None
            if verdict is None:
                self._labels.append(text)
            elif self.verdict not in (None, verdict):
                raise BadResultError(Reject.TWO_VERDICTS, f"the verdicts {self.verdict} and {verdict}")
            else:
                self.verdict = verdict

    # -- Boxes ---------------------------------------------------------------------------------------------------------

    def _add_box(self, number: int, result: dict[str, Any]) -> None:
        value = result.get("value")
        labels = _texts(number, result, RECTANGLES)
        box = _fractions(number, value)
        turned = _number(number, result, "image_rotation", default=0)
        rotation = _number(number, value, "rotation", default=0)
        if not labels:
            raise BadResultError(Reject.BAD_BOX, f"result {number}: a box without a label")
        if turned:
            self._notes.boxes["image_rotated"] += len(labels)
            return
        if rotation % 360:
            upright = self._upright(box, rotation, result)
            if upright is None:
                self._notes.boxes["no_size"] += len(labels)
                return
            box = upright
            self._notes.boxes["rotated"] += len(labels)
            self._on_rotated(f"result {number}: a box rotated by {rotation:g} degrees became its envelope")
        for label in labels:
            self._take(number, label, box)

    def _upright(self, box: Fractions, rotation_deg: float, result: dict[str, Any]) -> Fractions | None:
        """The envelope of a rotated box; None where the picture's size is not known."""
        width, height = result.get("original_width"), result.get("original_height")
        if not (is_number(width) and is_number(height) and width > 0 and height > 0):
            return None
        return envelope(box, rotation_deg, width_px=width, height_px=height)

    def _take(self, number: int, label: str, box: Fractions) -> None:
        try:
            found = checked_box(label, left=box.left, top=box.top, width=box.width, height=box.height)
        except BadAnswerError as error:
            code = Reject.BAD_LABEL if error.code == "bad_label" else Reject.BAD_BOX
            raise BadResultError(code, f"result {number}: {error.message}") from error
        if found.box is None:
            self._notes.boxes["too_small"] += 1
            return
        self._notes.boxes["clamped"] += found.is_clamped
        self._boxes.append(found.box)


_MOST_BOXES = 1000


def _is_of_region(result: dict[str, Any]) -> bool:
    """Whether a result is about a region, whose place it repeats, and not about the whole picture."""
    value = result.get("value")
    return isinstance(value, dict) and "x" in value and "width" in value


def _checked_labels(labels: list[str]) -> tuple[str, ...]:
    try:
        return checked_labels(labels)
    except BadAnswerError as error:
        raise BadResultError(Reject.BAD_LABEL, error.message) from error


def _texts(number: int, result: dict[str, Any], kind: str) -> list[str]:
    """The texts in the value of a result."""
    value = result.get("value")
    texts = value.get(kind) if isinstance(value, dict) else None
    if texts is None and isinstance(value, dict):
        return []
    if isinstance(texts, str):
        return [texts]
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise BadResultError(Reject.UNREADABLE, f"result {number}: its value has no list of texts {kind}")
    return texts


def _fractions(number: int, value: object) -> Fractions:
    left, top, width, height = (_number(number, value, side) / 100 for side in _SIDES)
    return Fractions(left, top, width, height)


def _number(number: int, members: object, name: str, *, default: float | None = None) -> float:
    """A number in a box or its result; one with a default may be missing."""
    found = members.get(name, default) if isinstance(members, dict) else None
    if found is None and default is not None:
        return default
    if not is_number(found):
        is_there = isinstance(members, dict) and name in members
        seen = f"{name} is {kind_of(found)}" if is_there else f"there is no {name}"
        raise BadResultError(Reject.BAD_BOX, f"result {number}: {seen}, not a number")
    return found
