"""What is known about the images of a review, as the page's index and its cards need it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol

import msgspec

from asyncfilter.model import Detection, Verdict
from asyncfilter.records.answers import Subject

FAR = float("inf")
"""Distance of an image whose score is near no threshold, or that has none."""


class IndexRow(NamedTuple):
    """One image in the index.

    Attributes:
        id: Number of the card; never that of another image.
        verdict: Of the rules; None for an image that could not be examined, or where there are no rules.
        distance: Of its score from the nearest threshold of the rules, percent; only of images to review.
        twin: The id of an earlier image with the same content; 0 without one.
        subject: The version of the object.
        waits: Whether a person has to decide it, if nobody did.
    """

    id: int
    verdict: Verdict | None
    distance: float
    twin: int
    subject: Subject
    waits: bool


class CardRow(msgspec.Struct, frozen=True, kw_only=True):
    """All that a card shows about one image.

    Attributes:
        rule: Number of the rule that decided, from 0; None for ``otherwise``.
        detection: The labels; None where there are none.
        failure: Why it could not be examined, as in ``failed`` of the summary.
        copy: Address of its copy; None without one.
        is_gone: Whether it was taken out of the source.
    """

    id: int
    subject: Subject
    verdict: Verdict | None = None
    rule: int | None = None
    detection: Detection | None = None
    failure: str | None = None
    copy: str | None = None
    is_gone: bool = False


class Part(StrEnum):
    """A part of the images."""

    BAND = "band"
    """Those to review: they are shown first."""
    REST = "rest"


class Mark(NamedTuple):
    """The state of a source of rows at one moment: when it is the same, so are the rows.

    Attributes:
        origin: Which file it is; another one has other rows under the same ids.
        version: Changes with every change.
        last_id: Rows behind it are new.
    """

    origin: str
    version: str
    last_id: int


class Rows(Protocol):
    """The images of a review. All methods wait for files: they are called in other threads, several at a time."""

    def mark(self) -> Mark | None:
        """The present state; None while there are no images yet."""
        ...

    def scan(self, part: Part, *, after: int = 0) -> Iterator[Sequence[IndexRow]]:
        """The rows of one part, some at a time; only those with ids above ``after``."""
        ...

    def cards(self, ids: Sequence[int]) -> Sequence[CardRow]:
        """The images with these ids, as far as they exist."""
        ...

    def find(self, subjects: Sequence[Subject]) -> Sequence[int]:
        """The ids of the images that are one of ``subjects`` by bucket, key, ETag and size."""
        ...

    def count(self) -> int:
        """How many images there are, after ``mark``."""
        ...

    def pulse(self) -> Mapping[str, float] | None:
        """Figures of the run that works on the images, by name; None where there is no run."""
        ...

    def is_running(self) -> bool:
        """Whether a run works on the images."""
        ...
