"""What an answers file holds, in figures and by image: the content of ``answers list``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from asyncfilter.policy.answers.fold import counting_rows, fold, taken_back
from asyncfilter.records.answers import Answer, CurrentAnswer, CurrentVerdict, ImageRows, Subject

MOST_IMAGES = 1000
"""Images that are listed; all are counted."""


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Which images are listed.

    Attributes:
        key: Only objects with this key; None for any.
        bucket: Only objects in this bucket; None for any.
        reviewer: Only images about which this person has said something that counts; None for anybody.
        verdict: Only images with this current verdict; None for any.
    """

    key: str | None = None
    bucket: str | None = None
    reviewer: str | None = None
    verdict: CurrentVerdict | None = None

    def has_name(self, subject: Subject) -> bool:
        """Whether a subject has the key and the bucket."""
        return self.key in {None, subject.key} and self.bucket in {None, subject.bucket}

    def has_answer(self, image: ImageRows, current: CurrentAnswer) -> bool:
        """Whether what was said about an image is selected."""
        if self.verdict is not None and current.verdict is not self.verdict:
            return False
        return self.reviewer is None or any(row.reviewer == self.reviewer for row in counting_rows(image.rows))


class ListedImage(msgspec.Struct, frozen=True, kw_only=True):
    """One version of an object with a current answer."""

    subject: Subject
    current: CurrentAnswer


class ReviewerFigures(msgspec.Struct, kw_only=True):
    """What one person said.

    Attributes:
        answers: Their rows that say something and are not taken back.
        last_at_unix_s: Time of their newest row.
    """

    name: str
    answers: int = 0
    last_serial: int = 0
    last_at_unix_s: float = 0.0


class HistoryRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row about the images that have the selected key."""

    row: Answer
    is_undone: bool


@dataclass(slots=True)
class AnswerList:
    """Images as they are added, and the figures of all of them.

    Attributes:
        selection: Which images are listed.
        rows: Rows of all images, undo rows included.
        undone: Rows of all images that are taken back.
        current: Images by current verdict, whatever is selected.
        reviewers: By name.
        images: The selected ones.
        history: Where a key is selected, the rows about the images that have it.
        has_key: Whether an object with the selected key is in the file.
    """

    selection: Selection
    rows: int = 0
    undone: int = 0
    current: Counter[CurrentVerdict] = field(default_factory=Counter)
    reviewers: dict[str, ReviewerFigures] = field(default_factory=dict)
    images: list[ListedImage] = field(default_factory=list)
    history: list[HistoryRow] = field(default_factory=list)
    has_key: bool = False

    def add_all(self, images: Iterable[ImageRows]) -> None:
        """Add every image of a file."""
        for image in images:
            self._add(image)
        self.images.sort(key=lambda one: (one.subject.bucket, one.subject.key, one.subject.etag))
        self.history.sort(key=lambda one: one.row.serial)

    def people(self) -> list[ReviewerFigures]:
        """The people who said something, by name."""
        return [self.reviewers[name] for name in sorted(self.reviewers)]

    def _add(self, image: ImageRows) -> None:
        gone = taken_back(image.rows)
        self.rows += len(image.rows)
        self.undone += len(gone)
        self._add_people(image.rows)
        found = fold(image.rows)
        if found is not None and found.verdict is not None:
            self.current[found.verdict] += 1
        named = [subject for subject in image.subjects if self.selection.has_name(subject)]
        if self.selection.key is not None and named:
            self.has_key = True
            self.history += [HistoryRow(row=row, is_undone=row.uid in gone) for row in image.rows]
        if found is not None and named and self.selection.has_answer(image, found):
            self.images += [ListedImage(subject=subject, current=found) for subject in named]

    def _add_people(self, rows: Sequence[Answer]) -> None:
        for row in rows:
            person = self.reviewers.setdefault(row.reviewer, ReviewerFigures(name=row.reviewer))
            if row.serial > person.last_serial:
                person.last_serial, person.last_at_unix_s = row.serial, row.at_unix_s
        for row in counting_rows(rows):
            self.reviewers[row.reviewer].answers += 1


class FoundAnswers(msgspec.Struct, frozen=True, kw_only=True):
    """The content of an answers file at one moment.

    Attributes:
        file: The file, which need not exist.
        id: Its id; None where there is no file. Likewise ``format``.
        serial: Of the newest row.
        subjects: Versions of objects in it.
        pending: Rows that the checkpoint has not taken over; None where there is no checkpoint.
        answers: Figures and images.
        are_current: For each of the listed images, whether it is what is known under its key; None where nothing is.
    """

    file: Path
    id: str | None
    format: int | None
    serial: int
    subjects: int
    pending: int | None
    answers: AnswerList
    are_current: tuple[bool | None, ...]

    @property
    def shown(self) -> list[ListedImage]:
        """The images that are listed."""
        return self.answers.images[:MOST_IMAGES]
