"""What the rows about drawn images say beside their verdicts: how far people agree, and how fast they are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median

from asyncfilter.policy.answers.fold import counting_rows
from asyncfilter.policy.calibrated import ReviewerPace
from asyncfilter.records.answers import Answer, AskedAs

ASKED_TWICE_EVERY = 20
"""Positions divisible by this are asked twice."""


def word_pair(rows: Sequence[Answer]) -> tuple[str, str] | None:
    """The first and the second word about an image; None where it was not asked twice.

    The second word is the newest that was asked as such, the first the newest before anything was. Adjudications are
    neither: they decide between people.

    Args:
        rows: All rows about one image, by serial.
    """
    words = [row for row in counting_rows(rows) if row.verdict is not None]
    second = [row for row in words if row.asked_as is AskedAs.SECOND]
    if not second:
        return None
    others = {AskedAs.SECOND, AskedAs.ADJUDICATE}
    first = [row for row in words if row.serial < second[0].serial and row.asked_as not in others]
    return (str(first[-1].verdict), str(second[-1].verdict)) if first else None


class Paces:
    """How many answers people gave, and how long they took for one.

    Args:
        images: All rows about each image, by serial; several may share rows.
    """

    def __init__(self, images: Iterable[Sequence[Answer]]) -> None:
        counting = {row.uid: row for rows in images for row in counting_rows(rows) if row.verdict is not None}
        self._rows = counting.values()

    def reviewers(self) -> tuple[ReviewerPace, ...]:
        """Everybody, by name."""
        rows: dict[str, list[Answer]] = {}
        for row in self._rows:
            rows.setdefault(row.reviewer, []).append(row)
        return tuple(
            ReviewerPace(name=name, answers=len(own), seconds=_median_s(own)) for name, own in sorted(rows.items())
        )

    def seconds(self) -> float | None:
        """The median of all answers; None where no row says how long its image was shown."""
        return _median_s(self._rows)


def _median_s(rows: Iterable[Answer]) -> float | None:
    shown_ms = [row.shown_ms for row in rows if row.shown_ms is not None]
    return median(shown_ms) / 1000 if shown_ms else None
