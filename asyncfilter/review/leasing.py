"""Leases of images to people. An image and those that are equal to it are leased as one."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import suppress

from asyncfilter.answers import Writing
from asyncfilter.answers.leases import LEASE_S, end_leases, leases, put_leases, renew_leases
from asyncfilter.errors import AnswersError
from asyncfilter.policy.answers.identity import Name, marks_of, name_of
from asyncfilter.records.answers import Subject
from asyncfilter.review.answer_log import AnswerLog
from asyncfilter.review.rows import CardRow

RENEWED_S = 30.0
"""A lease is renewed when the last time is so long ago."""
_MOST_RENEWALS = 10_000

WithContents = Callable[[Sequence[Subject]], Awaitable[list[Subject]]]
"""Subjects with the content of those that were read."""


class Leasing:
    """Leases images.

    Args:
        log: The answers file, which has the leases.

    Attributes:
        with_contents: Knows what was read; nothing is known by default.
    """

    def __init__(self, log: AnswerLog) -> None:
        self._log = log
        self._renewed: dict[tuple[str, Name], float] = {}
        self.with_contents: WithContents = _unchanged

    async def lease(self, rows: Sequence[CardRow], count: int, reviewer: str, until: float) -> list[int]:
        """Lease the first ``count`` of some images that nobody else holds, nor one that is equal; returns their ids."""
        now = time.time()
        held = await self._log.write(lambda writing: leases(writing, now_unix_s=now))
        others = [_subject(name) for name, (who, _) in held.items() if who != reviewer]
        known = {name_of(one): one for one in await self.with_contents(others)}

        def work(writing: Writing) -> list[CardRow]:
            names = [name for name, (who, _) in leases(writing, now_unix_s=now).items() if who != reviewer]
            taken = {mark for name in names for mark in marks_of(known.get(name) or _subject(name))}
            free = [row for row in rows if taken.isdisjoint(marks_of(row.subject))]
            chosen = list(_unequal(free))[:count]
            put_leases(writing, [row.subject for row in chosen], reviewer, until_unix_s=until)
            return chosen

        chosen = await self._log.write(work)
        self._note(chosen, reviewer)
        return [row.id for row in chosen]

    async def renew(self, rows: Sequence[CardRow], reviewer: str) -> None:
        """Renew the leases of a person on some images, those that were not renewed just now.

        A lease is a courtesy: nothing fails because one could not be renewed.
        """
        now_s, now = time.monotonic(), time.time()
        due = [row for row in rows if now_s - self._renewed.get((reviewer, name_of(row.subject)), now_s) > RENEWED_S]
        if not due:
            return
        subjects = [row.subject for row in due]
        with suppress(AnswersError):
            await self._log.write(
                lambda writing: renew_leases(writing, subjects, reviewer, now_unix_s=now, until_unix_s=now + LEASE_S)
            )
            self._note(due, reviewer)

    async def give_back(self, rows: Sequence[CardRow], reviewer: str) -> None:
        """End the leases of a person on some images."""
        if rows:
            await self._log.write(lambda writing: end_leases(writing, [row.subject for row in rows], reviewer))

    async def remember(self) -> None:
        """Note the leases that a former server left, so that they are renewed."""
        if self._log.path.exists():
            held = await self._log.write(lambda writing: leases(writing, now_unix_s=time.time()))
            self._renewed.update(((reviewer, name), 0.0) for name, (reviewer, _) in held.items())

    def _note(self, rows: Sequence[CardRow], reviewer: str) -> None:
        if len(self._renewed) > _MOST_RENEWALS:
            least_s = time.monotonic() - LEASE_S
            self._renewed = {held: at_s for held, at_s in self._renewed.items() if at_s > least_s}
        self._renewed.update(((reviewer, name_of(row.subject)), time.monotonic()) for row in rows)


async def _unchanged(subjects: Sequence[Subject]) -> list[Subject]:
    return list(subjects)


def _subject(name: Name) -> Subject:
    bucket, key, etag, size_bytes = name
    return Subject(bucket=bucket, key=key, etag=etag, size_bytes=size_bytes)


def _unequal(rows: Iterable[CardRow]) -> Iterator[CardRow]:
    """Of equal images the first one: an answer about it is one about all of them."""
    seen: set[object] = set()
    for row in rows:
        marks = set(marks_of(row.subject))
        if seen.isdisjoint(marks):
            yield row
        seen |= marks
