"""Answers and their undoing: from what a page sends to rows, and what became of each."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
from aiohttp import web
from msgspec import Meta

from asyncfilter.policy.answers.identity import Name, name_of
from asyncfilter.records.answers import AskedAs, How, LabelledBox, NewAnswer, PersonVerdict
from asyncfilter.review.answer_log import AnswerStatus, Draft, Result, checked
from asyncfilter.review.cards import Cards, answer_json
from asyncfilter.review.gate import Call
from asyncfilter.review.pictures import Renditions
from asyncfilter.review.replies import json_reply
from asyncfilter.review.requests import body_of
from asyncfilter.review.review import Review
from asyncfilter.review.rows import CardRow

MOST_ANSWERS = 200
_HOW = frozenset({How.KEY, How.SHEET, How.GROUP})
"""How a page takes answers; the others are those of the commands."""


class Given(msgspec.Struct):
    """One answer; what it may hold is checked for each by itself."""

    uid: str
    id: int
    base: int = 0
    verdict: str | None = None
    labels: list[str] | None = None
    boxes: list[LabelledBox] | None = None
    note: str | None = None
    shown_ms: float | None = None
    how: str = How.KEY.value
    asked_as: str = AskedAs.DECIDE.value


class GivenAnswers(msgspec.Struct):
    """The body of ``/api/answers``."""

    answers: Annotated[list[Given], Meta(min_length=1, max_length=MOST_ANSWERS)]


class TakenBack(msgspec.Struct):
    """One row that takes another one back."""

    uid: str
    undoes: str


class TakenBackAnswers(msgspec.Struct):
    """The body of ``/api/undo``."""

    undo: Annotated[list[TakenBack], Meta(min_length=1, max_length=MOST_ANSWERS)]


class Answering:
    """Serves what changes answers.

    Args:
        review: The state.
        cards: Know what the machine says.
        pictures: Know what was replaced, and the content of what was read.
    """

    def __init__(self, review: Review, cards: Cards, pictures: Renditions) -> None:
        self._review, self._cards, self._pictures = review, cards, pictures

    async def answer(self, call: Call) -> web.StreamResponse:
        """``POST /api/answers``."""
        given = body_of(call, GivenAnswers).answers
        rows = {row.id: row for row in await self._review.card_rows([one.id for one in given])}
        changed = await self._pictures.versions.replaced(list(rows.values()))
        facts = dict(zip(rows, await self._pictures.facts([row.subject for row in rows.values()]), strict=True))
        contents = {id_: None if fact is None else fact.content for id_, fact in facts.items()}
        drafts = [self._draft(one, rows.get(one.id), call.reviewer, changed, contents) for one in given]
        results = await self._review.log.store(drafts)
        await self._review.leasing.renew(list(rows.values()), call.reviewer)
        return await self._results(results, {name_of(row.subject): row.id for row in rows.values()})

    async def undo(self, call: Call) -> web.StreamResponse:
        """``POST /api/undo``."""
        given = body_of(call, TakenBackAnswers).undo
        known = await self._review.log.rows_with([one.undoes for one in given])
        drafts = []
        for one in given:
            if one.undoes not in known:
                drafts.append(Draft(uid=one.uid, status=AnswerStatus.UNKNOWN))
                continue
            subject, owner = known[one.undoes]
            row = checked(
                NewAnswer(
                    uid=one.uid, subject=subject, reviewer=call.reviewer, at_unix_s=time.time(), undoes=one.undoes
                )
            )
            is_own = owner == call.reviewer
            if is_own:
                known[one.uid] = (subject, owner)  # a later one of this batch may take it back
            drafts.append(Draft(uid=one.uid, row=row if is_own else None, subject=subject,
                                status=AnswerStatus.INVALID if is_own else AnswerStatus.NOT_YOURS))  # fmt: skip
        return await self._results(await self._review.log.store(drafts), {})

    def _draft(
        self,
        given: Given,
        row: CardRow | None,
        reviewer: str,
        changed: frozenset[int],
        contents: Mapping[int, str | None],
    ) -> Draft:
        """The row that an answer becomes."""
        if row is None:
            is_replaced = given.id in self._review.replaced
            return Draft(uid=given.uid, status=AnswerStatus.CHANGED if is_replaced else AnswerStatus.UNKNOWN)
        if row.id in changed:
            return Draft(uid=given.uid, subject=row.subject, status=AnswerStatus.CHANGED)
        if given.base < 0 or given.how not in _HOW:
            return Draft(uid=given.uid, subject=row.subject)
        try:
            answer = NewAnswer(
                uid=given.uid,
                subject=msgspec.structs.replace(row.subject, content=contents.get(row.id)),
                reviewer=reviewer,
                at_unix_s=time.time(),
                verdict=None if given.verdict is None else PersonVerdict(given.verdict),
                labels=None if given.labels is None else tuple(given.labels),
                boxes=None if given.boxes is None else tuple(given.boxes),
                note=given.note,
                shown_ms=None if given.shown_ms is None else round(given.shown_ms),
                how=How(given.how),
                asked_as=AskedAs(given.asked_as),
                blind=self._review.is_blind(row.id, reviewer),
                saw=self._cards.saw(row),
            )
        except ValueError:
            return Draft(uid=given.uid, subject=row.subject)
        return Draft(uid=given.uid, row=checked(answer), subject=row.subject, base=given.base)

    async def _results(self, results: Sequence[Result], known: Mapping[Name, int]) -> web.StreamResponse:
        """The answer to a batch; what it changed is taken over first, so that the next call sees it."""
        await self._review.take_answers(known)
        serial = max([self._review.serial, *(result.serial or 0 for result in results)])
        return json_reply({"results": [_result_json(result) for result in results], "serial": serial})


def _result_json(result: Result) -> dict[str, Any]:
    return {
        "uid": result.uid,
        "status": result.status.value,
        "serial": result.serial,
        "current": answer_json(result.said),
    }
