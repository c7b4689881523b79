"""Images that are taken while others answer: nobody is given what somebody answered in that moment."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import anyio

from asyncfilter.answers.leases import leases
from asyncfilter.policy.audit_asked import AskedNow
from asyncfilter.records.answers import NewAnswer, PersonVerdict, Subject
from asyncfilter.review.answer_log import AnswerLog, Draft
from asyncfilter.review.asked import Asked
from asyncfilter.review.events import Events
from asyncfilter.review.folder_rows import FolderRows
from asyncfilter.review.queues import Queues
from asyncfilter.review.review import Review

FILES = [Subject(bucket="", key=f"{number}.jpg", etag=f"{number:032x}", size_bytes=100) for number in range(4)]


async def _listed() -> Sequence[Subject]:
    return FILES


async def test_an_answer_of_this_moment_frees_nothing(tmp_path: Path) -> None:
    """Ben's answer, which ends his lease, comes while Anna takes images: she is given others."""
    log, rows = AnswerLog(tmp_path / "one.answers.db"), FolderRows(_listed)
    asked = Asked(lambda: AskedNow(first=(), second=()), rows, ("anna", "ben"))
    review = Review(rows, log, asked=asked, events=Events(), of_folder=True, warn=print)
    queues = Queues(review)

    async def take(reviewer: str, count: int) -> list[int]:
        offered = queues.offered("waiting", reviewer, answered=False)
        return (await review.take(offered.ids, count, reviewer, is_free=offered.is_free))[0]

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(review.follow)
        while not review.index.is_whole:  # noqa: ASYNC110  read by another thread
            await anyio.sleep(0.01)
        (held,) = await take("ben", 1)
        looks = 0

        async def answered_meanwhile(subjects: Sequence[Subject]) -> list[Subject]:
            nonlocal looks
            looks += 1
            if looks == 2:  # behind the look at what is free, before anything is leased
                (row,) = await review.card_rows([held])
                await log.store([Draft(uid="answer-01", row=_answer(row.subject), subject=row.subject)])
            return list(subjects)

        review.leasing.with_contents = answered_meanwhile
        taken = await take("anna", 4)
        tasks.cancel_scope.cancel()
    assert looks == 2
    assert len(taken) == 3
    assert held not in taken
    left = await log.write(lambda writing: leases(writing, now_unix_s=time.time()))
    assert {key for _, key, _, _ in left} == {row.subject.key for row in await review.card_rows(taken)}
    await log.close()


def _answer(subject: Subject) -> NewAnswer:
    return NewAnswer(uid="answer-01", subject=subject, reviewer="ben", at_unix_s=1.0, verdict=PersonVerdict.KEEP)
