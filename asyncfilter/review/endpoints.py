"""What the routes below ``/api/`` do, and pictures."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

import anyio
import msgspec
from aiohttp import web
from msgspec import Meta

from asyncfilter.errors import ImageError, TransientError
from asyncfilter.policy.answers.identity import Name, name_of
from asyncfilter.records.answers import AskedAs, CurrentVerdict, How, LabelledBox, NewAnswer, PersonVerdict
from asyncfilter.review.answer_log import Draft, Result, Status, checked
from asyncfilter.review.applying import Applying
from asyncfilter.review.book import ImageState
from asyncfilter.review.capability import SIZES, Capabilities
from asyncfilter.review.cards import Cards, answer_json, ids_of
from asyncfilter.review.events import Events
from asyncfilter.review.gate import Call, Route
from asyncfilter.review.likeness import Likeness
from asyncfilter.review.pictures import Pictures
from asyncfilter.review.read_ahead import ReadAhead
from asyncfilter.review.replies import FOREVER, Refusal, json_reply, replied
from asyncfilter.review.review import Review
from asyncfilter.review.rows import CardRow

T = TypeVar("T")

MOST_IDS = 2000
MOST_CARDS = 200
MOST_ANSWERS = 200
MOST_TAKEN = 64
_PICTURE = re.compile(rf"/image/({'|'.join(SIZES)})/([0-9]{{1,18}})-([0-9a-f]{{32}})")

Verdicts = Mapping[str, CurrentVerdict]
_OF_OTHERS = frozenset({"second", "disagreements", "unsure"})
"""Queues of images that others answered, which is why they are in them."""
_FOLDED: Verdicts = {"disagreements": CurrentVerdict.UNRESOLVED, "unsure": CurrentVerdict.UNSURE}


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """What ``/api/job`` says that never changes while the server runs."""

    id: str
    name: str
    reviewers: Sequence[str]
    rules: Sequence[Mapping[str, Any]]
    labels: Sequence[str]
    keys: Mapping[str, Sequence[str]]


class Taken(msgspec.Struct):
    """The body of ``/api/take``."""

    queue: str
    n: Annotated[int, Meta(ge=1, le=MOST_TAKEN)]


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


class Step(msgspec.Struct):
    """The body of ``/api/apply``."""

    step: Literal["plan", "go"]
    plan: str = ""


class TakenBack(msgspec.Struct):
    """One row that takes another one back."""

    uid: str
    undoes: str


class TakenBackAnswers(msgspec.Struct):
    """The body of ``/api/undo``."""

    undo: Annotated[list[TakenBack], Meta(min_length=1, max_length=MOST_ANSWERS)]


class Endpoints:
    """Serves the calls of pages.

    Args:
        review: The state.
        description: Of the job.
        cards: Makes cards.
        capabilities: Of pictures.
        pictures: Makes renditions.
        ahead: Makes renditions that will be asked for.
        likeness: Finds images that are alike.
        figures: What ``calibrate`` tells.
        applying: Carries out what people decided; None without a job.
        events: The streams.
    """

    def __init__(
        self,
        review: Review,
        description: Description,
        *,
        cards: Cards,
        capabilities: Capabilities,
        pictures: Pictures,
        ahead: ReadAhead,
        likeness: Likeness,
        figures: Callable[[], Awaitable[Mapping[str, Any]]],
        applying: Applying | None,
        events: Events,
    ) -> None:
        self._review, self._description = review, description
        self._cards, self._capabilities, self._pictures, self._ahead = cards, capabilities, pictures, ahead
        self._asked, self._events = review.asked, events
        self._likeness, self._figures, self._applying = likeness, figures, applying

    def routes(self) -> dict[str, Route]:
        """The routes with names of their own."""
        return {
            "/api/job": Route("GET", self.job),
            "/api/queue": Route("GET", self.queue),
            "/api/cards": Route("GET", self.card_list),
            "/api/near": Route("GET", self.near),
            "/api/figures": Route("GET", self.figures),
            "/api/apply": Route("POST", self.apply),
            "/api/events": Route("GET", self.stream),
            "/api/take": Route("POST", self.take),
            "/api/answers": Route("POST", self.answer),
            "/api/undo": Route("POST", self.undo),
        }

    async def work(self) -> None:
        """Do what is done besides calls; never ends."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._ahead.work)
            if self._applying is not None:
                tasks.start_soon(self._applying.work)

    # -- Reading -------------------------------------------------------------------------------------------------------

    async def job(self, call: Call) -> web.StreamResponse:
        """``GET /api/job``."""
        review = self._review
        return json_reply(
            {
                **msgspec.structs.asdict(self._description),
                "reviewer": call.reviewer,
                "counts": review.counts(),
                "serial": review.serial,
                "ready": review.index.is_whole,
                "running": review.is_running,
            }
        )

    async def queue(self, call: Call) -> web.StreamResponse:
        """``GET /api/queue``."""
        limit = _number(call.query.get("limit", str(MOST_IDS)), 1, MOST_IDS)
        after = None if "after" not in call.query else _number(call.query["after"], 0, 1 << 62)
        name = call.query.get("name", "")
        await self._refresh(name)
        ids, rest = self._page(name, call.reviewer, after, limit)
        if after is None and name != "all":
            self._ahead.want(ids[: self._ahead.most])
        return json_reply({"ids": ids, "rest": rest, "after": ids[-1] if ids and rest else None})

    async def card_list(self, call: Call) -> web.StreamResponse:
        """``GET /api/cards``."""
        ids = ids_of(call.query.get("ids", ""), MOST_CARDS)
        if ids is None:
            raise _unfit(f"ids: expected 1 to {MOST_CARDS} numbers with commas between them")
        rows = await self._review.card_rows(ids)
        await self._review.renew(rows, call.reviewer)
        subjects = [row.subject for row in rows]
        said = await self._review.log.said_about(subjects)
        facts = await self._pictures.facts(subjects)
        cards = [
            self._cards.card(row, one, fact, is_blind=self._is_blind(row.id, call.reviewer))
            for row, one, fact in zip(rows, said, facts, strict=True)
        ]
        return json_reply({"cards": cards})

    async def stream(self, call: Call) -> web.StreamResponse:
        """``GET /api/events``."""
        return await self._events.serve(call, ("counts", self._review.state()))

    async def near(self, call: Call) -> web.StreamResponse:
        """``GET /api/near``; a blind image has no group, since it would tell what the machine says."""
        id_ = _number(call.query.get("id", ""), 0, 1 << 62)
        by, limit = call.query.get("by", ""), _number(call.query.get("limit", "24"), 1, MOST_CARDS)
        if by not in {"labels", "look"}:
            raise _unfit("by: expected labels or look")
        if id_ not in self._review.index or (by == "labels" and self._is_blind(id_, call.reviewer)):
            return json_reply({"ids": []})
        found = await self._likeness.near(id_, by_look=by == "look", limit=limit)
        return json_reply({"ids": [one for one in found if by == "look" or not self._is_blind(one, call.reviewer)]})

    async def figures(self, _: Call) -> web.StreamResponse:
        """``GET /api/figures``."""
        return json_reply(await self._figures())

    async def apply(self, call: Call) -> web.StreamResponse:
        """``POST /api/apply``."""
        wanted = _body(call, Step)
        if self._applying is None:
            raise Refusal(409, "no_job", "A folder has no job that could be applied.")
        if wanted.step == "plan":
            plan, counts = await self._applying.plan()
            return json_reply({"plan": plan, "counts": counts})
        await self._applying.agree(wanted.plan)
        return json_reply({"started": True}, status=202)

    def find_picture(self, path: str) -> Route | None:
        """The route of a picture; None for a path that is none."""
        return Route("GET", self.picture) if _PICTURE.fullmatch(path) else None

    async def picture(self, call: Call) -> web.StreamResponse:
        """``GET /image/SIZE/ID-MAC``."""
        found = _PICTURE.fullmatch(call.path)
        if found is None:
            raise _no_picture()
        size, id_, mac = found[1], int(found[2]), found[3]
        rows = await self._review.card_rows([id_])
        if not rows or not self._capabilities.holds(mac, id_, rows[0].subject):
            raise _no_picture()
        try:
            body = await self._pictures.rendition(rows[0], size)
        except ImageError as error:
            raise _not_shown(error) from error
        except TransientError as error:
            raise Refusal(502, "unreadable", "The picture cannot be read now.") from error
        return replied(body, kind="image/jpeg", cache=FOREVER)

    # -- Queues --------------------------------------------------------------------------------------------------------

    def _page(self, name: str, reviewer: str, after: int | None, limit: int) -> tuple[list[int], int]:
        """A page of a queue, and how many are behind it."""
        index = self._review.index
        if name == "waiting":
            ids = list(itertools.islice(index.waiting(after), limit))
            rest = index.waiting_behind(ids[-1]) if ids else 0
            return ids, rest
        if name == "all":
            every = index.all_ids()
            start = index.place_behind(after)
            return list(every[start : start + limit]), max(0, len(every) - start - limit)
        whole = list(self._queue(name, reviewer))
        start = whole.index(after) + 1 if after in whole else 0
        return whole[start : start + limit], max(0, len(whole) - start - limit)

    def _queue(self, name: str, reviewer: str) -> Iterable[int]:
        """The ids of a queue.

        Raises:
            Refusal: There is no such queue.
        """
        index = self._review.index
        if name == "waiting":
            return index.waiting()
        if name == "all":
            return index.all_ids()
        if name == "audit":
            return [id_ for id_ in self._asked.audit() if id_ in index and not _is_answered(index.state(id_))]
        if name == "second":
            return [id_ for id_ in self._asked.second(reviewer) if id_ in index]
        if name in _FOLDED:
            return index.with_verdict(_FOLDED[name])
        raise _unfit("name: expected waiting, audit, second, disagreements, unsure or all")

    async def take(self, call: Call) -> web.StreamResponse:
        """``POST /api/take``."""
        wanted = _body(call, Taken)
        await self._refresh(wanted.queue)
        ids = iter(self._queue(wanted.queue, call.reviewer))
        free = ids if wanted.queue in _OF_OTHERS else self._not_answered(ids, call.reviewer)
        taken, until = await self._review.take(free, wanted.n, call.reviewer)
        if wanted.queue == "second":
            self._asked.take_second(taken, call.reviewer)
        self._ahead.want(taken)
        return json_reply({"ids": taken, "until": until})

    async def _refresh(self, queue: str) -> None:
        """Bring a queue of an audit up to date: its next images follow from the last answers."""
        if queue in {"audit", "second"}:
            await self._review.take_answers()
            await self._review.refresh_asked()

    def _not_answered(self, ids: Iterable[int], reviewer: str) -> Iterator[int]:
        """Those of some ids that no other person answered."""
        for id_ in ids:
            state = self._review.index.state(id_)
            if state is None or not state.voters - {reviewer}:
                yield id_

    def _is_blind(self, id_: int, reviewer: str) -> bool:
        state = self._review.index.state(id_)
        return self._asked.is_blind(id_, reviewer, frozenset() if state is None else state.voters)

    # -- Writing -------------------------------------------------------------------------------------------------------

    async def answer(self, call: Call) -> web.StreamResponse:
        """``POST /api/answers``."""
        given = _body(call, GivenAnswers).answers
        rows = {row.id: row for row in await self._review.card_rows([one.id for one in given])}
        changed = await self._pictures.changed(list(rows.values()))
        facts = dict(zip(rows, await self._pictures.facts([row.subject for row in rows.values()]), strict=True))
        contents = {id_: None if fact is None else fact.content for id_, fact in facts.items()}
        drafts = [self._draft(one, rows.get(one.id), call.reviewer, changed, contents) for one in given]
        results = await self._review.log.store(drafts)
        await self._review.renew(list(rows.values()), call.reviewer)
        return await self._results(results, {name_of(row.subject): row.id for row in rows.values()})

    async def undo(self, call: Call) -> web.StreamResponse:
        """``POST /api/undo``."""
        given = _body(call, TakenBackAnswers).undo
        known = await self._review.log.rows_with([one.undoes for one in given])
        drafts = []
        for one in given:
            if one.undoes not in known:
                drafts.append(Draft(uid=one.uid, status=Status.UNKNOWN))
                continue
            subject, owner = known[one.undoes]
            row = checked(
                NewAnswer(
                    uid=one.uid, subject=subject, reviewer=call.reviewer, at_unix_s=time.time(), undoes=one.undoes
                )
            )
            is_own = owner == call.reviewer
            drafts.append(Draft(uid=one.uid, row=row if is_own else None,
                                status=Status.INVALID if is_own else Status.NOT_YOURS))  # fmt: skip
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
            return Draft(uid=given.uid, status=Status.CHANGED if is_replaced else Status.UNKNOWN)
        if row.id in changed:
            return Draft(uid=given.uid, status=Status.CHANGED)
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
                blind=self._is_blind(row.id, reviewer),
                saw=self._cards.saw(row),
            )
        except ValueError:
            return Draft(uid=given.uid)
        return Draft(uid=given.uid, row=checked(answer), base=given.base)

    async def _results(self, results: Sequence[Result], known: Mapping[Name, int]) -> web.StreamResponse:
        """The answer to a batch; what it changed is taken over first, so that the next call sees it."""
        await self._review.take_answers(known)
        serial = max([self._review.serial, *(result.serial or 0 for result in results)])
        return json_reply({"results": [_result_json(result) for result in results], "serial": serial})


def _is_answered(state: ImageState | None) -> bool:
    return state is not None and state.verdict is not None


def _result_json(result: Result) -> dict[str, Any]:
    return {
        "uid": result.uid,
        "status": result.status.value,
        "serial": result.serial,
        "current": answer_json(result.said),
    }


def _body(call: Call, kind: type[T]) -> T:
    """The body of a POST.

    Raises:
        Refusal: It is no JSON, or does not fit.
    """
    try:
        return msgspec.json.decode(call.body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _unfit(str(error)) from error


def _number(text: str, low: int, high: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20) or not low <= int(text) <= high:
        raise _unfit(f"expected a number from {low} to {high}")
    return int(text)


def _unfit(why: str) -> Refusal:
    return Refusal(400, "bad_request", f"The request does not fit: {why}")


def _no_picture() -> Refusal:
    return Refusal(404, "not_found", "There is nothing here.")


def _not_shown(error: ImageError) -> Refusal:
    if error.code in {"changed", "vanished"}:
        return Refusal(410, "changed", "The picture was replaced or removed.")
    if error.access:
        return Refusal(502, "unreadable", "The picture may not be read.")
    return Refusal(422, "broken", "This is no picture that can be shown.")
