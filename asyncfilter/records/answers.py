"""People's answers about images: the rows of an answers file, and the current answer that they fold to.

An answer belongs to a subject: one version of an object, by bucket, key, ETag and size. Rows are never changed or
deleted; an answer is taken back by another row (``undoes``).
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from asyncfilter.model import Verdict


class PersonVerdict(StrEnum):
    """What a person says about an image."""

    KEEP = "keep"
    REJECT = "reject"
    UNSURE = "unsure"


class CurrentVerdict(StrEnum):
    """What the answers of all people about an image fold to."""

    KEEP = "keep"
    REJECT = "reject"
    UNSURE = "unsure"
    UNRESOLVED = "unresolved"
    """As many people say keep as reject."""


class How(StrEnum):
    """How an answer was given."""

    KEY = "key"
    SHEET = "sheet"
    GROUP = "group"
    SET = "set"
    IMPORT = "import"


class AskedAs(StrEnum):
    """Why the image was shown."""

    DECIDE = "decide"
    AUDIT = "audit"
    SECOND = "second"
    """The second look of an audit, for the agreement between people."""
    ADJUDICATE = "adjudicate"
    """The decision between people who disagree: stronger than all others."""
    FREE = "free"


class LabelledBox(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A labelled bounding box: fractions (0 to 1) of the upright image, origin at the top left."""

    label: str
    left: float
    top: float
    width: float
    height: float


class Subject(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The version of an object that an answer is about.

    Attributes:
        bucket: As ``ObjectRef.bucket``.
        etag: Without quotes.
        content: blake2b-256 of the bytes in hexadecimal digits; None where they were never read.
    """

    bucket: str
    key: str
    etag: str
    size_bytes: int
    content: str | None = None


class Saw(msgspec.Struct, frozen=True, kw_only=True):
    """What the machine said about the image when the person answered.

    Attributes:
        verdict: keep, review or reject.
        rule: Number of the rule that decided, from 0; None for ``otherwise``.
        score: Percent; None where the rule has no score.
    """

    verdict: str | None = None
    rule: int | None = None
    score: float | None = None
    model_version: str | None = None


class NewAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A row that is to be written.

    Attributes:
        uid: 8 to 64 of ``A-Za-z0-9_-``, made by the writer: the same uid again changes nothing.
        reviewer: Name of the person: 1 to 64 characters.
        at_unix_s: When the person answered.
        verdict: None where only labels, boxes or a note are given.
        labels: The image-level labels; None where nothing is said about them, empty for "none of them".
        boxes: Likewise.
        shown_ms: How long the image was shown, in milliseconds.
        blind: True when the machine's opinion was hidden.
        undoes: The uid of the row that this row takes back.
    """

    uid: str
    subject: Subject
    reviewer: str
    at_unix_s: float
    verdict: PersonVerdict | None = None
    labels: tuple[str, ...] | None = None
    boxes: tuple[LabelledBox, ...] | None = None
    note: str | None = None
    shown_ms: int | None = None
    how: How = How.KEY
    asked_as: AskedAs = AskedAs.DECIDE
    blind: bool = False
    saw: Saw | None = None
    undoes: str | None = None


class Answer(NewAnswer, frozen=True, kw_only=True):
    """A row of an answers file.

    Attributes:
        serial: Its number in the file: rising, never used again.
    """

    serial: int


class CurrentAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What all rows about an image fold to.

    Attributes:
        serial: Of the newest row about the image, undo rows included.
        verdict: None where nobody gave one (only labels, boxes or a note).
        labels: Of the newest row that says something about them; None where none does. Likewise ``boxes``.
        reviewer: The newest person whose word is the verdict; of an unresolved image, the newest of all.
        at_unix_s: Time of that person's row.
    """

    serial: int
    verdict: CurrentVerdict | None
    labels: tuple[str, ...] | None = None
    boxes: tuple[LabelledBox, ...] | None = None
    reviewer: str
    at_unix_s: float

    @property
    def label(self) -> str | None:
        """The person's first label."""
        return self.labels[0] if self.labels else None

    @property
    def decides(self) -> Verdict | None:
        """The verdict that the image gets, whatever the rules say; None where the rules decide.

        Images of which nobody could tell are to be reviewed, so that none of them is removed.
        """
        return None if self.verdict is None else _DECIDES[self.verdict]


_DECIDES = {
    CurrentVerdict.KEEP: Verdict.KEEP,
    CurrentVerdict.REJECT: Verdict.REJECT,
    CurrentVerdict.UNSURE: Verdict.REVIEW,
    CurrentVerdict.UNRESOLVED: Verdict.REVIEW,
}


class TakenOver(msgspec.Struct, frozen=True, kw_only=True):
    """How far a checkpoint follows an answers file.

    Attributes:
        id: The id of the answers file.
        serial: Of the last answer taken over.
        acted: Of the last one on which a run or refilter has acted; None for ``serial``. What ``apply`` has taken over
            beyond it is to be acted on.
    """

    id: str
    serial: int
    acted: int | None = None

    @property
    def acted_to(self) -> int:
        """The serial of the last answer on which a run or refilter has acted."""
        return self.serial if self.acted is None else self.acted


class ImageRows(msgspec.Struct, frozen=True, kw_only=True):
    """All that an answers file has about one image.

    Attributes:
        subjects: All versions of objects that are known to be this image.
        rows: Everything that was said about any of them, by serial.
    """

    subjects: tuple[Subject, ...]
    rows: tuple[Answer, ...]
