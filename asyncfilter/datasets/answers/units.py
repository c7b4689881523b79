"""What a reader makes of each annotation, row or line of a file of answers: exactly one unit.

A unit says something about an image, or is left out on purpose (``skipped``), or cannot be used (``rejected``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

import msgspec

from asyncfilter.records.answers import AskedAs, How, LabelledBox, PersonVerdict, Saw


class SkipReason:
    """Why a unit is left out on purpose: the keys of ``skipped``."""

    BLANK = "blank"
    CANCELLED = "cancelled"
    """The person skipped the task (``was_cancelled``)."""
    EMPTY = "empty"
    """It says nothing that can be used."""
    MACHINE = "machine"
    """A machine gave it (``human-annotated: no``)."""
    NO_ANNOTATION = "no_annotation"
    UNRESOLVED = "unresolved"


class Reject:
    """Why a unit cannot be used: the keys of ``rejected``."""

    BAD_BOX = "bad_box"
    BAD_LABEL = "bad_label"
    BAD_LABELS = "bad_labels"
    BAD_LINE = "bad_line"
    BAD_REVIEWER = "bad_reviewer"
    BAD_ROW = "bad_row"
    BAD_VERDICT = "bad_verdict"
    NO_IMAGE = "no_image"
    NO_TASK_DATA = "no_task_data"
    NOT_YOURS = "not_yours"
    """It takes back an answer of another person."""
    SHORT_ROW = "short_row"
    TWO_VERDICTS = "two_verdicts"
    UNKNOWN_UID = "unknown_uid"
    UNREADABLE = "unreadable"


Place = int | str
"""Where a unit stands: the number of its line, from 1, or words such as ``task 3, annotation 1``."""


class Address(NamedTuple):
    """An image that a unit may mean.

    Attributes:
        bucket: None for that of the job.
        key: As the store has it.
    """

    bucket: str | None
    key: str


class Left(msgspec.Struct, frozen=True):
    """A unit that is not used.

    Attributes:
        at: Where it stands.
        code: A value of ``SkipReason`` or ``Reject``.
        message: What is wrong; empty for one that is skipped.
        key: The image that it names, where it names one.
    """

    at: Place
    code: str
    message: str = ""
    key: str | None = None

    @property
    def is_rejected(self) -> bool:
        """Whether it cannot be used; otherwise it is left out on purpose."""
        return bool(self.message)


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """What a unit says about an image.

    Attributes:
        at: Where it stands.
        images: The images that it may mean; the first that is known is meant.
        etag: The version that it names, without quotes; None where it names none. Likewise ``size_bytes``.
        reviewer: None where the file names nobody.
        at_unix_s: When the person answered; None where the file does not say.
        uid: Of the row that it was written from; None where it has none.
        keeps_uid: Whether a row with this uid is this unit, whatever it says. False where an annotation carries the
            uid of the row that it was made from, and may have been edited since.
    """

    at: Place
    images: tuple[Address, ...]
    etag: str | None = None
    size_bytes: int | None = None
    content: str | None = None
    reviewer: str | None = None
    at_unix_s: float | None = None
    verdict: PersonVerdict | None = None
    labels: tuple[str, ...] | None = None
    boxes: tuple[LabelledBox, ...] | None = None
    note: str | None = None
    uid: str | None = None
    keeps_uid: bool = False
    shown_ms: int | None = None
    how: How = How.IMPORT
    asked_as: AskedAs = AskedAs.DECIDE
    blind: bool = False
    saw: Saw | None = None
    undoes: str | None = None


Unit = Said | Left
Units = Iterator[Unit]


class RotatedBox(NamedTuple):
    """A rotated box that became its envelope."""

    at: Place
    key: str | None
    message: str


class ReadNotes:
    """What readers count beside the units.

    Attributes:
        boxes: What became of boxes: ``rotated, clamped, too_small, no_size, image_rotated``.
        ignored_results: Results of types that are not read, by type.
        ignored_columns: Columns of a CSV file that are not read.
        on_rotated: Called with each rotated box.
    """

    def __init__(self, on_rotated: Callable[[RotatedBox], object] | None = None) -> None:
        self.boxes: Counter[str] = Counter()
        self.ignored_results: Counter[str] = Counter()
        self.ignored_columns: list[str] = []
        self.on_rotated = on_rotated or (lambda _: None)
