"""The answers file as the server uses it: one transaction a batch, and the file as the judge.

One thread at a time writes, and another one reads: a writer that waits for other programs keeps no card back.

Whether an answer is stored is decided by what the file holds at that moment, so that several servers, and other
programs, may write to it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.to_thread
import msgspec

from asyncfilter.answers import AnswersFile, AnswersReader, Writing, open_answers, open_reader
from asyncfilter.answers.leases import LEASE_S, follow_answers
from asyncfilter.policy.answers.checks import BadAnswerError, checked_answer
from asyncfilter.policy.answers.fold import fold
from asyncfilter.records.answers import AskedAs, CurrentAnswer, ImageRows, NewAnswer, Subject
from asyncfilter.review.book import newest_of_others

T = TypeVar("T")

_UNJUDGED = frozenset({AskedAs.SECOND, AskedAs.ADJUDICATE})
"""Answers that are wanted although somebody else gave one."""


class AnswerStatus(StrEnum):
    """What became of an answer."""

    STORED = "stored"
    REPEATED = "repeated"
    CONFLICT = "conflict"
    CHANGED = "changed"
    UNKNOWN = "unknown"
    NOT_YOURS = "not_yours"
    INVALID = "invalid"


class Result(msgspec.Struct, kw_only=True):
    """What became of one answer.

    Attributes:
        serial: Of its row; None where it has none.
        about: What the row that has its uid is about, where that was there before.
        said: All that was said about the image afterwards.
    """

    uid: str
    status: AnswerStatus
    serial: int | None = None
    about: Subject | None = None
    said: ImageRows | None = None

    @property
    def current(self) -> CurrentAnswer | None:
        """The current answer about the image."""
        return None if self.said is None else fold(self.said.rows)


class Draft(msgspec.Struct, kw_only=True):
    """An answer that is to be stored.

    Attributes:
        row: None where it cannot be one; ``status`` says why.
        subject: What it is about, as far as that is known.
        base: The serial of the newest row that the person had seen.
    """

    uid: str
    row: NewAnswer | None = None
    subject: Subject | None = None
    base: int = 0
    status: AnswerStatus = AnswerStatus.INVALID


class AnswerLog:
    """An answers file that is open for reading and writing, once it is needed for writing.

    Args:
        path: The file; it is made with the first answer.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writing, self._reading = anyio.CapacityLimiter(1), anyio.CapacityLimiter(1)
        self._writer: AnswersFile | None = None
        self._reader: AnswersReader | None = None

    async def close(self) -> None:
        """Close the file, once what is being written is on disk."""
        with anyio.CancelScope(shield=True):
            if self._writer is not None:
                await anyio.to_thread.run_sync(self._writer.close, limiter=self._writing)
            if self._reader is not None:
                await anyio.to_thread.run_sync(self._reader.close, limiter=self._reading)

    # -- Reading -------------------------------------------------------------------------------------------------------

    async def last_serial(self) -> int:
        """The serial of the newest row; 0 without one."""
        return await self._read(lambda reader: reader.last_serial(), 0)

    async def everything(self, take: Callable[[Sequence[ImageRows]], object]) -> int:
        """Call ``take`` with all images, some at a time; returns the serial up to which rows count."""

        def read(reader: AnswersReader) -> int:
            up_to = reader.last_serial()
            some: list[ImageRows] = []
            for image in reader.all_images(up_to=up_to):
                some.append(image)
                if len(some) == 1000:
                    take(some)
                    some = []
            take(some)
            return up_to

        return await self._read(read, 0)

    async def since(self, serial: int) -> tuple[int, Sequence[ImageRows]]:
        """The images with newer rows, and the serial up to which rows count."""

        def read(reader: AnswersReader) -> tuple[int, Sequence[ImageRows]]:
            up_to = reader.last_serial()
            subjects = list(dict.fromkeys(row.subject for row in reader.all_rows(after=serial, up_to=up_to)))
            found = reader.images_of(subjects, up_to=up_to) if subjects else []
            return up_to, [image for image in found if image is not None]

        return await self._read(read, (serial, ()))

    async def said_about(self, subjects: Sequence[Subject]) -> list[ImageRows | None]:
        """All that was said about some images."""
        return await self._read(
            lambda reader: reader.images_of(subjects, up_to=reader.last_serial()), [None] * len(subjects)
        )

    async def rows_with(self, uids: Sequence[str]) -> dict[str, tuple[Subject, str]]:
        """Subject and reviewer of the rows with these uids, as far as there are any."""
        return await self._read(
            lambda reader: {uid: (row.subject, row.reviewer) for uid, row in reader.rows_with(uids).items()}, {}
        )

    # -- Writing -------------------------------------------------------------------------------------------------------

    async def store(self, drafts: Sequence[Draft]) -> list[Result]:
        """Store answers in one transaction; what is ``stored`` is on disk when this returns.

        Raises:
            AnswersLockedError: Another program kept the file locked; nothing was stored.
        """
        return await self.write(lambda writing: _stored(writing, drafts))

    async def write(self, work: Callable[[Writing], T]) -> T:
        """Call ``work`` in a transaction, which a lost connection or the end of the server does not interrupt.

        Raises:
            AnswersLockedError: Another program kept the file locked; nothing was written.
        """

        def write() -> None:
            if self._writer is None:
                self._writer = open_answers(self.path)
            with self._writer.transaction() as writing:
                found.append(work(writing))

        found: list[T] = []
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(write, limiter=self._writing)
        return found[0]

    async def _read(self, work: Callable[[AnswersReader], T], otherwise: T) -> T:
        """The result of ``work`` with a reader; ``otherwise`` while there is no file."""

        def read() -> T:
            if self._reader is None:
                self._reader = open_reader(self.path)
            return otherwise if self._reader is None else work(self._reader)

        return await anyio.to_thread.run_sync(read, limiter=self._reading)


def _stored(writing: Writing, drafts: Sequence[Draft]) -> list[Result]:
    """Judge drafts one after the other, each by the file with those before it, and add what may be added."""
    results: list[Result] = []
    added: list[NewAnswer] = []
    for draft in drafts:
        result = _judged(writing, draft)
        if result.status is AnswerStatus.STORED and draft.row is not None:
            result = _added(writing, draft.row)
            added += [draft.row] if result.status is AnswerStatus.STORED else []
        results.append(result)
    if added:
        follow_answers(writing, added, until_unix_s=time.time() + LEASE_S)
    subjects = [_about(draft, result) for draft, result in zip(drafts, results, strict=True)]
    asked = [subject for subject in subjects if subject is not None]
    said = iter(writing.images_of(asked) if asked else [])
    for result, subject in zip(results, subjects, strict=True):
        if subject is not None:
            result.said = next(said)
    return results


def _about(draft: Draft, result: Result) -> Subject | None:
    """What the current answer is told of."""
    if result.about is not None:
        return result.about
    return draft.subject if draft.row is None else draft.row.subject


def _judged(writing: Writing, draft: Draft) -> Result:
    """What becomes of a draft; ``stored`` means that it may be added."""
    known = writing.rows_with([draft.uid]).get(draft.uid)
    if known is not None:
        return Result(uid=draft.uid, status=AnswerStatus.REPEATED, serial=known.serial, about=known.subject)
    if draft.row is None:
        return Result(uid=draft.uid, status=draft.status)
    if draft.row.undoes is None and draft.row.asked_as not in _UNJUDGED:
        (said,) = writing.images_of([draft.row.subject])
        if newest_of_others(said, draft.row.reviewer) > draft.base:
            return Result(uid=draft.uid, status=AnswerStatus.CONFLICT)
    return Result(uid=draft.uid, status=AnswerStatus.STORED)


def _added(writing: Writing, row: NewAnswer) -> Result:
    try:
        (stored,) = writing.add([row])
    except BadAnswerError as error:
        codes = {"unknown_uid": AnswerStatus.UNKNOWN, "not_yours": AnswerStatus.NOT_YOURS}
        return Result(uid=row.uid, status=codes.get(error.code, AnswerStatus.INVALID))
    return Result(uid=row.uid, status=AnswerStatus.STORED, serial=stored.serial)


def checked(row: NewAnswer) -> NewAnswer | None:
    """A row that may be stored; None where it may not."""
    try:
        return checked_answer(row)
    except BadAnswerError:
        return None


def now_unix_s() -> float:
    """The time, as answers have it."""
    return time.time()
