"""What people said about images, in memory: as much as queues need. All rows are in the answers file."""

from __future__ import annotations

from collections.abc import Hashable

import msgspec

from asyncfilter.policy.answers.fold import counting_rows, fold
from asyncfilter.policy.answers.identity import marks_of
from asyncfilter.records.answers import Answer, AskedAs, CurrentVerdict, ImageRows, Subject


class ImageState(msgspec.Struct, frozen=True, kw_only=True):
    """What people said about one image, in short.

    Attributes:
        verdict: The folded verdict; None where nobody gave one.
        says_anything: Whether there is a verdict, labels or boxes.
        voters: Everybody whose verdict counts.
        second_looks: Verdicts that were given as a second look.
    """

    verdict: CurrentVerdict | None
    says_anything: bool
    voters: frozenset[str]
    second_looks: int


def state_of(image: ImageRows) -> ImageState:
    """The state of an image with these rows."""
    current = fold(image.rows)
    words = [row for row in counting_rows(image.rows) if row.verdict is not None]
    return ImageState(
        verdict=None if current is None else current.verdict,
        says_anything=current is not None
        and not (current.verdict is None and current.labels is None and current.boxes is None),
        voters=frozenset(row.reviewer for row in words),
        second_looks=sum(row.asked_as is AskedAs.SECOND for row in words),
    )


def newest_of_others(image: ImageRows | None, reviewer: str) -> int:
    """The serial of the newest row about an image that counts and is of another person; 0 without one."""
    if image is None:
        return 0
    return max((row.serial for row in counting_rows(image.rows) if row.reviewer != reviewer), default=0)


def deciding_row(image: ImageRows) -> Answer | None:
    """The row whose person and time the current answer has; None where nothing counts."""
    current = fold(image.rows)
    if current is None:
        return None
    rows = counting_rows(image.rows)
    return next(
        row for row in reversed(rows) if row.reviewer == current.reviewer and row.at_unix_s == current.at_unix_s
    )


class Book:
    """The states of all images that people said something about.

    Attributes:
        keys: Of all subjects, so that other images need not be looked up; ``etags`` likewise.
    """

    def __init__(self) -> None:
        self.keys: set[str] = set()
        self.etags: set[str] = set()
        self._states: dict[Hashable, ImageState] = {}

    def put(self, image: ImageRows) -> ImageState:
        """Note the state of an image, in place of the former one."""
        state = state_of(image)
        for subject in image.subjects:
            self.keys.add(subject.key)
            self.etags.add(subject.etag)
            for mark in marks_of(subject):
                self._states[mark] = state
        return state

    def of(self, subject: Subject) -> ImageState | None:
        """The state of the image that a subject is; None where nobody said anything."""
        return next((self._states[mark] for mark in marks_of(subject) if mark in self._states), None)
