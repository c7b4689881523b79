"""What the routes below ``/api/`` do, and pictures."""

from __future__ import annotations

import base64
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

import anyio
import msgspec
from aiohttp import web
from msgspec import Meta

from asyncfilter.errors import AccessError, ImageError, TransientError
from asyncfilter.review.alike import AlikeImages
from asyncfilter.review.answering import Answering
from asyncfilter.review.applying import Applying
from asyncfilter.review.capability import SIZES, Capabilities
from asyncfilter.review.cards import Cards, ids_of
from asyncfilter.review.events import Events
from asyncfilter.review.gate import Call, Route
from asyncfilter.review.pictures import Renditions, with_contents
from asyncfilter.review.queues import Queues
from asyncfilter.review.read_ahead import ReadAhead
from asyncfilter.review.replies import FOREVER, NEVER, Refusal, json_reply, replied
from asyncfilter.review.requests import body_of, number, unfit
from asyncfilter.review.review import Review
from asyncfilter.review.rows import CardRow

MOST_IDS = 2000
MOST_INDEXED = 50_000
"""Ids of a page of ``/api/ids``: a million of them in pages of ``MOST_IDS`` would be hundreds of requests."""
MOST_CARDS = 200
MOST_TAKEN = 64
_BLANK = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDABALDA4MChAODQ4SERATGCgaGBYWGDEjJR0oOjM9PDkzODdASFxOQERXRTc4UG1RV19iZ2hnPk1x"
    "eXBkeFxlZ2P/wAALCAABAAEBAREA/8QAFAABAAAAAAAAAAAAAAAAAAAAB//EABQQAQAAAAAAAAAAAAAAAAAAAAD/2gAIAQEAAD8AQH//2Q=="
)
"""A JPEG of one pixel."""
_PICTURE = re.compile(rf"/image/({'|'.join(SIZES)})/([0-9]{{1,18}})-([0-9a-f]{{32}})")


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """What ``/api/job`` says that never changes while the server runs."""

    id: str
    name: str
    reviewers: Sequence[str]
    rules: Sequence[Mapping[str, Any]]
    labels: Sequence[str]
    keys: Mapping[str, Sequence[str]]


class Taken(msgspec.Struct):
    """The body of ``/api/take``.

    Attributes:
        answered: Whether images that others answered are wanted too, in the queues ``disagreements`` and ``unsure``.
    """

    queue: str
    n: Annotated[int, Meta(ge=1, le=MOST_TAKEN)]
    answered: bool = False


class ApplyBody(msgspec.Struct):
    """The body of ``/api/apply``."""

    step: Literal["plan", "go"]
    plan: str = ""


class Endpoints:
    """Serves the calls of pages.

    Args:
        review: The state.
        description: Of the job.
        cards: Makes cards.
        capabilities: Of pictures.
        pictures: Makes renditions.
        ahead: Makes renditions that will be asked for.
        alike: Finds images that are alike.
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
        pictures: Renditions,
        ahead: ReadAhead,
        alike: AlikeImages,
        figures: Callable[[], Awaitable[Mapping[str, Any]]],
        applying: Applying | None,
        events: Events,
    ) -> None:
        self._review, self._description = review, description
        self._cards, self._capabilities, self._pictures, self._ahead = cards, capabilities, pictures, ahead
        self._queues, self._answering = Queues(review), Answering(review, cards, pictures)
        self._events = events
        self._alike, self._figures, self._applying = alike, figures, applying

    def routes(self) -> dict[str, Route]:
        """The routes with names of their own."""
        return {
            "/api/job": Route("GET", self.job),
            "/api/queue": Route("GET", self.queue),
            "/api/ids": Route("GET", self.ids),
            "/api/cards": Route("GET", self.card_list),
            "/api/near": Route("GET", self.near),
            "/api/look": Route("GET", self.look),
            "/api/figures": Route("GET", self.figures),
            "/api/apply": Route("POST", self.apply),
            "/api/events": Route("GET", self.stream),
            "/api/take": Route("POST", self.take),
            "/api/answers": Route("POST", self._answering.answer),
            "/api/undo": Route("POST", self._answering.undo),
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
        ids, rest = await self._page_of_queue(call, MOST_IDS)
        if "after" not in call.query and call.query["name"] != "all":
            self._ahead.want(ids[: self._ahead.most])
        return json_reply({"ids": ids, "rest": rest, "after": ids[-1] if ids and rest else None})

    async def ids(self, call: Call) -> web.StreamResponse:
        """``GET /api/ids``: as ``/api/queue`` with longer pages, for the page's own index; no picture is read ahead."""
        ids, rest = await self._page_of_queue(call, MOST_INDEXED)
        return json_reply({"ids": ids, "rest": rest, "after": ids[-1] if ids and rest else None})

    async def _page_of_queue(self, call: Call, most: int) -> tuple[list[int], int]:
        limit = number(call.query.get("limit", str(most)), 1, most)
        after = None if "after" not in call.query else number(call.query["after"], 0, 1 << 62)
        name = call.query.get("name", "")
        await self._queues.refresh(name)
        return self._queues.page(name, call.reviewer, after, limit)

    async def card_list(self, call: Call) -> web.StreamResponse:
        """``GET /api/cards``."""
        ids = ids_of(call.query.get("ids", ""), MOST_CARDS)
        if ids is None:
            raise unfit(f"ids: expected 1 to {MOST_CARDS} numbers with commas between them")
        rows = await self._review.card_rows(ids)
        await self._review.leasing.renew(rows, call.reviewer)
        subjects = [row.subject for row in rows]
        facts = await self._pictures.facts(subjects)
        said = await self._review.log.said_about(with_contents(subjects, facts))
        cards = [
            self._cards.card(row, one, fact, is_blind=self._review.is_blind(row.id, call.reviewer))
            for row, one, fact in zip(rows, said, facts, strict=True)
        ]
        return json_reply({"cards": cards})

    async def stream(self, call: Call) -> web.StreamResponse:
        """``GET /api/events``."""
        return await self._events.serve(call, ("counts", self._review.state()))

    async def near(self, call: Call) -> web.StreamResponse:
        """``GET /api/near``; a blind image has no group, since it would tell what the machine says."""
        id_ = number(call.query.get("id", ""), 0, 1 << 62)
        by, limit = call.query.get("by", ""), number(call.query.get("limit", "24"), 1, MOST_CARDS)
        if by not in {"labels", "look"}:
            raise unfit("by: expected labels or look")
        if id_ not in self._review.index or (by == "labels" and self._review.is_blind(id_, call.reviewer)):
            return json_reply({"ids": []})
        found = await self._alike.near(id_, by_look=by == "look", limit=limit)
        return json_reply(
            {"ids": [one for one in found if by == "look" or not self._review.is_blind(one, call.reviewer)]}
        )

    async def figures(self, _: Call) -> web.StreamResponse:
        """``GET /api/figures``."""
        return json_reply(await self._figures())

    async def apply(self, call: Call) -> web.StreamResponse:
        """``POST /api/apply``."""
        wanted = body_of(call, ApplyBody)
        if self._applying is None:
            raise Refusal(409, "no_job", "A folder has no job that could be applied.")
        if wanted.step == "plan":
            plan, counts = await self._applying.plan()
            return json_reply({"plan": plan, "counts": counts})
        await self._applying.agree(wanted.plan)
        return json_reply({"started": True}, status=202)

    async def take(self, call: Call) -> web.StreamResponse:
        """``POST /api/take``."""
        wanted = body_of(call, Taken)
        await self._queues.refresh(wanted.queue)
        offered = self._queues.offered(wanted.queue, call.reviewer, answered=wanted.answered)
        taken, until = await self._review.take(offered.ids, wanted.n, call.reviewer, is_free=offered.is_free)
        if wanted.queue == "second":
            self._review.asked.take_second(taken, call.reviewer)
        self._ahead.want(taken)
        return json_reply({"ids": taken, "until": until})

    async def look(self, call: Call) -> web.StreamResponse:
        """``GET /api/look``: whether the picture of an image can be shown, or the error that says why not."""
        rows = await self._review.card_rows([number(call.query.get("id", ""), 0, 1 << 62)])
        if not rows:
            raise _no_picture()
        await self._rendition(rows[0], "320")
        return json_reply({"shown": True})

    def find_picture(self, path: str) -> Route | None:
        """The route of a picture; None for a path that is none."""
        return Route("GET", self.picture) if _PICTURE.fullmatch(path) else None

    async def picture(self, call: Call) -> web.StreamResponse:
        """``GET /image/SIZE/ID-MAC``; with ``blank`` in its query a blank picture in place of an error."""
        found = _PICTURE.fullmatch(call.path)
        if found is None:
            raise _no_picture()
        size, id_, mac = found[1], int(found[2]), found[3]
        rows = await self._review.card_rows([id_])
        if not rows or not self._capabilities.holds(mac, id_, rows[0].subject):
            raise _no_picture()
        try:
            return replied(await self._rendition(rows[0], size), kind="image/jpeg", cache=FOREVER)
        except (Refusal, AccessError):
            if "blank" not in call.query:
                raise
        return replied(_BLANK, kind="image/jpeg", cache=NEVER)

    async def _rendition(self, row: CardRow, size: str) -> bytes:
        """A rendition.

        Raises:
            Refusal: It cannot be shown.
            AccessError: Nothing can be read.
        """
        try:
            return await self._pictures.rendition(row, size)
        except ImageError as error:
            raise _not_shown(error) from error
        except TransientError as error:
            raise Refusal(502, "unreadable", "The picture cannot be read now.") from error


def _no_picture() -> Refusal:
    return Refusal(404, "not_found", "There is nothing here.")


def _not_shown(error: ImageError) -> Refusal:
    if error.code in {"changed", "vanished"}:
        return Refusal(410, "changed", "The picture was replaced or removed.")
    if error.access:
        return Refusal(502, "unreadable", "The picture may not be read.")
    return Refusal(422, "broken", "This is no picture that can be shown.")
