"""What an answer may hold: names, labels, boxes, notes and uids, checked and trimmed.

The one place for it: the command line, imports and the review page all ask here.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from asyncfilter.printable import is_text
from asyncfilter.records.answers import LabelledBox, NewAnswer, Subject

MAX_REVIEWER_CHARS = 64
MAX_LABEL_CHARS = 255
MAX_LABELS = 50
MAX_BOXES = 1000
MAX_NOTE_CHARS = 10_000
BOX_DIGITS = 6
"""Decimals of the fractions of a box."""

_CONTENT = re.compile(r"[0-9a-f]{64}")
_LAST_UNIX_S = 253_402_300_799.0
"""The last second of the year 9999."""
_MAX_INTEGER = 2**63 - 1
_UID = re.compile(r"[A-Za-z0-9_-]{8,64}")


class BadAnswerError(ValueError):
    """A part of an answer is not what it may be.

    Args:
        code: ``bad_reviewer``, ``bad_label``, ``too_many_labels``, ``bad_box``, ``too_many_boxes``, ``bad_note``,
            ``bad_uid``, ``bad_subject``, ``bad_time`` or ``bad_row``.
        message: What is wrong, with the value seen and the values allowed.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class CheckedBox(NamedTuple):
    """A box within the picture.

    Attributes:
        box: None when nothing of it is in the picture: its width or height is 0 to six decimals.
        is_clamped: Whether a part of it was outside.
    """

    box: LabelledBox | None
    is_clamped: bool


def checked_reviewer(name: str) -> str:
    """A reviewer's name without white space around it.

    Raises:
        BadAnswerError: It has no character or more than 64, or a control character.
    """
    found = name.strip()
    if not 1 <= len(found) <= MAX_REVIEWER_CHARS:
        raise BadAnswerError("bad_reviewer", f"expected a name of 1 to {MAX_REVIEWER_CHARS} characters, found {name!r}")
    has_control = not found.isprintable() and any(unicodedata.category(character) == "Cc" for character in found)
    if has_control or not is_text(found):
        raise BadAnswerError("bad_reviewer", f"expected a name without control characters, found {name!r}")
    return found


def checked_label(label: str) -> str:
    """A label without white space around it, otherwise verbatim.

    Raises:
        BadAnswerError: It has no character or more than 255.
    """
    found = label.strip()
    if not 1 <= len(found) <= MAX_LABEL_CHARS or not is_text(found):
        raise BadAnswerError(
            "bad_label", f"expected a label of 1 to {MAX_LABEL_CHARS} characters, found {label[:300]!r}"
        )
    return found


def checked_labels(labels: Iterable[str]) -> tuple[str, ...]:
    """The labels of an image, each once, in their order.

    Raises:
        BadAnswerError: One cannot be a label, or there are more than 50.
    """
    found = tuple(dict.fromkeys(checked_label(label) for label in labels))
    if len(found) > MAX_LABELS:
        raise BadAnswerError("too_many_labels", f"expected at most {MAX_LABELS} labels an image, found {len(found)}")
    return found


def checked_box(label: str, *, left: float, top: float, width: float, height: float) -> CheckedBox:
    """A box with its edges clamped to the picture and rounded to six decimals.

    Args:
        label: The label.
        left: Left edge, a fraction of the picture's width; likewise the others.
        top: Top edge.
        width: Width.
        height: Height.

    Raises:
        BadAnswerError: A value is no finite number, or the label cannot be one.
    """
    found = checked_label(label)
    if not all(math.isfinite(value) for value in (left, top, width, height)):
        raise BadAnswerError("bad_box", f"expected four finite numbers, found {left}, {top}, {width}, {height}")
    edges = (left, top, left + width, top + height)
    x1, y1, x2, y2 = (round(min(max(edge, 0.0), 1.0), BOX_DIGITS) + 0.0 for edge in edges)  # + 0.0: no negative zero
    is_clamped = any(not 0 <= round(edge, BOX_DIGITS) <= 1 for edge in edges)
    # A difference of rounded edges: a box never leaves the picture, and boxes that touch still touch.
    across, down = round(x2 - x1, BOX_DIGITS), round(y2 - y1, BOX_DIGITS)
    if across <= 0 or down <= 0:
        return CheckedBox(None, is_clamped)
    return CheckedBox(LabelledBox(label=found, left=x1, top=y1, width=across, height=down), is_clamped)


def checked_boxes(boxes: Sequence[LabelledBox]) -> tuple[LabelledBox, ...]:
    """The boxes of an image that are in the picture, in their order.

    Raises:
        BadAnswerError: One cannot be a box, or there are more than 1,000.
    """
    if len(boxes) > MAX_BOXES:
        raise BadAnswerError("too_many_boxes", f"expected at most {MAX_BOXES:,} boxes an image, found {len(boxes):,}")
    checked = (
        checked_box(box.label, left=box.left, top=box.top, width=box.width, height=box.height).box for box in boxes
    )
    return tuple(box for box in checked if box is not None)


def checked_note(note: str | None) -> str | None:
    """A note, verbatim; None for one without any character but white space.

    Raises:
        BadAnswerError: It has more than 10,000 characters.
    """
    if note is None or not note.strip():
        return None
    if len(note) > MAX_NOTE_CHARS or not is_text(note):
        raise BadAnswerError("bad_note", f"expected a note of at most {MAX_NOTE_CHARS:,} characters")
    return note


def checked_uid(uid: str) -> str:
    """The uid of a row.

    Raises:
        BadAnswerError: It is not 8 to 64 of ``A-Za-z0-9_-``.
    """
    if _UID.fullmatch(uid) is None:
        raise BadAnswerError("bad_uid", f"expected a uid of 8 to 64 of A-Z, a-z, 0-9, _ and -, found {uid[:100]!r}")
    return uid


def checked_subject(subject: Subject) -> Subject:
    """A subject as it is.

    Raises:
        BadAnswerError: It has no key, no size, or a content that is no hash.
    """
    texts = (subject.bucket, subject.key, subject.etag)
    if not subject.key or not all(map(is_text, texts)) or not 0 <= subject.size_bytes <= _MAX_INTEGER:
        raise BadAnswerError("bad_subject", f"expected a bucket, key, ETag and size in bytes, found {subject}")
    if subject.content is not None and _CONTENT.fullmatch(subject.content) is None:
        raise BadAnswerError(
            "bad_subject", f"expected 64 hexadecimal digits as content, found {subject.content[:100]!r}"
        )
    return subject


def checked_answer(row: NewAnswer) -> NewAnswer:
    """A row whose parts have all been checked and trimmed.

    Raises:
        BadAnswerError: One of them is not what it may be; or the row says nothing; or it takes another row back and
            says something besides.
    """
    checked = msgspec.structs.replace(
        row,
        uid=checked_uid(row.uid),
        subject=checked_subject(row.subject),
        reviewer=checked_reviewer(row.reviewer),
        labels=None if row.labels is None else checked_labels(row.labels),
        boxes=None if row.boxes is None else checked_boxes(row.boxes),
        note=checked_note(row.note),
        undoes=None if row.undoes is None else checked_uid(row.undoes),
    )
    _check_row(checked)
    return checked


def _check_row(row: NewAnswer) -> None:
    """Check what concerns several parts of a row, and its times.

    Raises:
        BadAnswerError: It says nothing, or too much, or at no time.
    """
    if not 0 <= row.at_unix_s <= _LAST_UNIX_S or not 0 <= (row.shown_ms or 0) <= _MAX_INTEGER:
        raise BadAnswerError("bad_time", "expected a time from 1970 to 9999, and a time shown of at least 0 ms")
    says = any(part is not None for part in (row.verdict, row.labels, row.boxes))
    if not says and row.note is None and row.undoes is None:
        raise BadAnswerError("bad_row", "expected a verdict, labels, boxes, a note or a row to take back, found none")
    if row.undoes is not None and says:
        raise BadAnswerError("bad_row", "expected a row that takes another one back to say nothing besides")
