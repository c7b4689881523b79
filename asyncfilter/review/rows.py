"""What is known about the images of a review, as the page's index and its cards need it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

import msgspec

from asyncfilter.model import Detection, Verdict
from asyncfilter.records.answers import Subject
from asyncfilter.review.book import Book, ImageState

FAR = float("inf")
"""Distance of an image whose score is near no threshold, or that has none."""


VERDICT_CODES: Mapping[Verdict | None, int] = {Verdict.KEEP: 0, Verdict.REVIEW: 1, Verdict.REJECT: 2, None: 3}
"""Verdicts in the index; None is an image that could not be examined, or where there are no rules."""


class Chunk(NamedTuple):
    """Some images for the index, as columns: a million of them take seconds and not minutes.

    Attributes:
        ids: Numbers of cards; never those of other images.
        verdicts: Of the rules, as in ``VERDICT_CODES``.
        distances: Of each score from the nearest threshold of the rules, percent, for images that a person has to
            decide if nobody did; None where these images wait for nobody.
        duplicates: Ids, each with that of an earlier image with the same content.
        states: Ids, each with what people said.
    """

    ids: Sequence[int]
    verdicts: bytes
    distances: Sequence[float] | None = None
    duplicates: Sequence[tuple[int, int]] = ()
    states: Sequence[tuple[int, ImageState]] = ()


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

    def scan(self, part: Part, book: Book, *, after: int = 0) -> Iterator[Chunk]:
        """The images of one part, some at a time, with their states in ``book``; only ids above ``after``."""
        ...

    def cards(self, ids: Sequence[int]) -> Sequence[CardRow]:
        """The images with these ids, as far as they exist."""
        ...

    def find(self, subjects: Sequence[Subject]) -> Sequence[Sequence[int]]:
        """The ids of the images that are each of ``subjects`` by bucket, key, ETag and size."""
        ...

    def count(self) -> int:
        """How many images there are, after ``mark``."""
        ...

    def pulse(self) -> Mapping[str, Any] | None:
        """Figures of the run that works on the images, by name; None where there is no run."""
        ...

    def is_running(self) -> bool:
        """Whether a run works on the images."""
        ...
