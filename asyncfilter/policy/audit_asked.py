"""Which images audits ask about now: those that lack an answer, and those that are to be looked at twice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from asyncfilter.policy.answers.fold import counting_rows
from asyncfilter.policy.audit_progress import DrawStandings, PartStandings
from asyncfilter.policy.audit_words import ASKED_TWICE_EVERY, word_pair
from asyncfilter.records.answers import Answer
from asyncfilter.records.draws import DrawnImage

Rows = Mapping[DrawnImage, Sequence[Answer]]
"""All rows about each image that has some, by serial."""


class SecondLook(msgspec.Struct, frozen=True, kw_only=True):
    """An image that is to be looked at a second time.

    Attributes:
        reviewers: Who gave a verdict so far: best somebody else looks now, else one of them later.
        at_unix_s: When the newest of them did.
    """

    image: DrawnImage
    reviewers: frozenset[str]
    at_unix_s: float


class AskedNow(msgspec.Struct, frozen=True, kw_only=True):
    """What audits ask at one moment.

    Attributes:
        first: Images without an answer up to the next milestone of their part, by draw, part and rank; each once.
        second: Answered images that are due a second look, in the same order.
    """

    first: tuple[DrawnImage, ...]
    second: tuple[SecondLook, ...]


def asked_now(draws: Iterable[DrawStandings], rows: Rows) -> AskedNow:
    """What these draws ask."""
    parts = [part for draw in draws for part in draw.parts.values()]
    first = dict.fromkeys(image for part in parts for _, image in part.asked(is_all=False))
    second = {look.image: look for part in parts for look in _second_looks(part, rows)}
    return AskedNow(first=tuple(first), second=tuple(second.values()))


def _second_looks(part: PartStandings, rows: Rows) -> Iterator[SecondLook]:
    for position, image in part.asked(is_all=True):
        if position % ASKED_TWICE_EVERY == 0 and image in rows and word_pair(rows[image]) is None:
            words = [row for row in counting_rows(rows[image]) if row.verdict is not None]
            if words:
                reviewers = frozenset(row.reviewer for row in words)
                yield SecondLook(image=image, reviewers=reviewers, at_unix_s=words[-1].at_unix_s)
