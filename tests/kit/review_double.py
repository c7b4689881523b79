"""The review server's shapes in memory: for states of the page that are hard to bring about with the real one.

Slow or silent answers, conflicts, hostile texts, blind cards and calibration figures are made here in a line. What the
server itself promises is tested against the server.
"""

from __future__ import annotations

import asyncio
import io
import itertools
import json
import mimetypes
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiohttp import web
from PIL import Image, ImageOps

from asyncfilter.review.keys import DEFAULT_KEYS
from asyncfilter.review.replies import as_asked

PAGE = Path(__file__).parents[2] / "asyncfilter" / "review" / "page"
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class FakeReview:
    """A review of pictures from memory.

    Args:
        cards: As ``GET /api/cards`` gives them, less the addresses of pictures; ids count from 1.
        picture: The JPEG of a card at a size.
        labels: Of the job.

    Attributes:
        rows: Every answer and undo in the order of arrival.
        figures: The answer of ``/api/figures``.
        is_away: True while every request is cut off; ``has_pictures`` False: those for pictures.
        is_running: True while a run goes on: nothing is applied then.
        cards_go: Cleared while answers with cards, made before, are held back; ``held`` counts those.
        is_busy: True while answers are refused with ``busy``.
        of_others: Images that other people hold.
        images: Requests for pictures.
        name, token: Of the job and the reviewer; another job under the same address has others.
    """

    def __init__(
        self, cards: list[dict[str, Any]], picture: Callable[[int, str], bytes], labels: tuple[str, ...] = ()
    ) -> None:
        self.cards = {card["id"]: card for card in cards}
        self.labels = labels
        self.rows: list[dict[str, Any]] = []
        self.figures: dict[str, Any] = {"rules": []}
        self.queues: dict[str, list[int]] = {}
        self.near: list[int] = []
        self.rules = [{"verdict": "keep", "text": "keep any of Robin from 85", "confidence": 85.0}]
        self.images: list[str] = []
        self.is_away = self.is_busy = self.is_running = False
        self.of_others: set[int] = set()
        self.has_pictures = True
        self.cards_go = asyncio.Event()
        self.cards_go.set()
        self.held = 0
        self.is_ready = True
        self.name, self.token = "robins", "t" * 43
        self._picture = picture
        self._serial = itertools.count(1)
        self._by_uid: dict[str, dict[str, Any]] = {}
        self._streams: set[asyncio.Queue[tuple[str, Any]]] = set()
        self._opening = asyncio.Condition()
        self._runner: web.AppRunner | None = None
        self.port = 0

    @property
    def url(self) -> str:
        """The link of the reviewer."""
        return f"http://127.0.0.1:{self.port}/#t={self.token}"

    async def start(self) -> None:
        """Listen, on the port of before if there was one."""
        app = web.Application(middlewares=[self._gate], client_max_size=65_536)
        app.router.add_get("/api/{name}", self._get)
        app.router.add_post("/api/{name}", self._post)
        app.router.add_get("/image/{size}/{id}", self._image)
        app.router.add_get("/{tail:.*}", self._static)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Go away, as a killed server does."""
        assert self._runner is not None
        for stream in self._streams:
            stream.put_nowait(("end", None))
        await self._runner.cleanup()

    async def send(self, name: str, data: object, pages: int = 1) -> None:
        """An event to every open page, once there are so many: a page that is not there yet misses it."""
        async with self._opening:
            await self._opening.wait_for(lambda: len(self._streams) >= pages)
        for stream in self._streams:
            stream.put_nowait((name, data))

    def say(self, id_: int, verdict: str, reviewer: str = "ben") -> None:
        """Another person's answer."""
        card = self.cards[id_]
        card["base"] = next(self._serial)
        card["answer"] = {
            "serial": card["base"], "uid": f"other-{id_}", "verdict": verdict, "labels": None, "boxes": None,
            "reviewer": reviewer, "at": "2026-01-01T12:00:00.000Z", "note": None,
        }  # fmt: skip

    @web.middleware
    async def _gate(self, request: web.Request, handler: Any) -> web.StreamResponse:
        await request.read()  # a request counts once it is here as a whole: the states below belong to one moment
        if self.is_away or (request.path.startswith(("/image/", "/api/look")) and not self.has_pictures):
            self.images.append(request.path)
            assert request.transport is not None
            request.transport.close()
            return web.Response()
        if request.path.startswith("/api/") and request.headers.get("X-Asyncfilter-Token") != self.token:
            return as_asked(request, _json({"error": "bad_token", "message": "no"}, 401))
        reply: web.StreamResponse = as_asked(request, await handler(request))
        if not reply.prepared:
            reply.headers.update(_HEADERS)
        return reply

    async def _static(self, request: web.Request) -> web.Response:
        path = PAGE / (request.path.lstrip("/") or "index.html")
        if not path.is_file():
            return _json({"error": "not_found", "message": "no"}, 404)
        kind = mimetypes.guess_type(path.name)[0] or "text/plain"
        return web.Response(body=path.read_bytes(), headers={"Content-Type": kind, "Cache-Control": "no-store"})

    async def _get(self, request: web.Request) -> web.StreamResponse:
        name, query = request.match_info["name"], request.query
        if name == "job":
            return _json(self._job())
        if name in {"queue", "ids"}:
            ids = self._queue(query["name"])
            start = ids.index(int(query["after"])) + 1 if "after" in query else 0
            page = ids[start : start + int(query.get("limit", 2000))]
            rest = len(ids) - start - len(page)
            return _json({"ids": page, "rest": rest, "after": page[-1] if rest else None})
        if name == "cards":
            ids = [int(one) for one in query["ids"].split(",")]
            assert len(ids) <= 200
            reply = _json({"cards": [self._card(one) for one in ids if one in self.cards]})
            self.held += not self.cards_go.is_set()
            await self.cards_go.wait()
            return reply
        if name == "near":
            return _json({"ids": self.near if query["by"] == "look" else []})
        if name == "figures":
            return _json(self.figures)
        if name == "look":
            return _json({"shown": True}) if self._picture(int(query["id"]), "320") else _broken()
        return await self._events(request)

    def _job(self) -> dict[str, Any]:
        verdicts = [card["answer"]["verdict"] for card in self.cards.values() if card["answer"]]
        counts = {one: verdicts.count(one) for one in ("keep", "reject", "unsure", "unresolved")}
        counts |= {"images": len(self.cards), "waiting": len(self._queue("waiting"))}
        return {
            "id": f"id of {self.name}", "name": self.name, "reviewer": "anna", "reviewers": ["anna", "ben"],
            "rules": self.rules, "labels": list(self.labels), "keys": DEFAULT_KEYS, "counts": counts,
            "serial": len(self.rows), "ready": self.is_ready, "running": False,
        }  # fmt: skip

    def _queue(self, name: str) -> list[int]:
        if name == "all":
            return list(self.cards)
        if name != "waiting":
            return [one for one in self.queues.get(name, []) if not self.cards[one]["answer"]]
        return [one for one, card in self.cards.items() if not (card["answer"] or {}).get("verdict")]

    def _card(self, id_: int) -> dict[str, Any]:
        card = self.cards[id_]
        places = {"thumb": f"/image/320/{id_}", "large": f"/image/1280/{id_}", "full": f"/image/full/{id_}"}
        if card["blind"] and not card["answer"]:
            nothing = ("verdict", "rule_verdict", "rule", "why", "score", "labels", "machine_boxes", "answer")
            return card | places | dict.fromkeys(nothing)
        return card | places

    async def _post(self, request: web.Request) -> web.Response:
        name, body = request.match_info["name"], json.loads(await request.read())
        if name == "take":
            free = [one for one in self._queue(body["queue"]) if one not in self.of_others]
            return _json({"ids": free[: body["n"]], "until": 0})
        if name == "apply" and self.is_running:
            return _json({"error": "running", "message": "A run works on the images."}, 409)
        if name == "apply":
            if body["step"] == "plan":
                return _json({"plan": "p1", "counts": {"copied": 3, "stale": 1}})
            await self.send("apply", {"state": "done", "counts": {"copied": 3}})
            return _json({"started": True}, 202)
        if self.is_busy:
            return _json({"error": "busy", "message": "locked"}, 503)
        take = self._answer if name == "answers" else self._undo
        return _json({"results": [take(one) for one in body[name]], "serial": len(self.rows)})

    def _known(self, uid: str) -> dict[str, Any] | None:
        return self._by_uid.get(uid)

    def _answer(self, row: dict[str, Any]) -> dict[str, Any]:
        card = self.cards.get(row["id"])
        if card is None:
            return {"uid": row["uid"], "status": "unknown", "serial": None, "current": None}
        if self._known(row["uid"]) is not None:
            return {"uid": row["uid"], "status": "repeated", "serial": card["base"], "current": card["answer"]}
        before = card["answer"] or {}
        if before.get("reviewer", "anna") != "anna" and row["base"] < card["base"]:
            return {"uid": row["uid"], "status": "conflict", "serial": None, "current": before}
        self._by_uid[row["uid"]] = row | {"before": card["answer"]}
        self.rows.append(row)
        card["base"] = next(self._serial)
        parts = {name: row[name] if row[name] is not None else before.get(name) for name in _PARTS}
        card["answer"] = parts | {
            "serial": card["base"], "uid": row["uid"], "reviewer": "anna", "at": "2026-01-01T12:00:00.000Z",
        }  # fmt: skip
        return {"uid": row["uid"], "status": "stored", "serial": card["base"], "current": card["answer"]}

    def _undo(self, row: dict[str, Any]) -> dict[str, Any]:
        undone = self._known(row["undoes"])
        assert undone is not None, "an undo before its answer"
        card = self.cards[undone["id"]]
        status = "repeated" if self._known(row["uid"]) else "stored"
        if status == "stored":
            self._by_uid[row["uid"]] = row
            self.rows.append(row)
            card["base"] = next(self._serial)
            card["answer"] = undone["before"]
        return {"uid": row["uid"], "status": status, "serial": card["base"], "current": card["answer"]}

    async def _image(self, request: web.Request) -> web.Response:
        self.images.append(request.path)
        body = self._picture(int(request.match_info["id"]), request.match_info["size"])
        if not body and "blank" not in request.query:
            return _broken()
        cache = "private, max-age=31536000, immutable" if body else "private, no-store"
        return web.Response(body=body or BLANK, content_type="image/jpeg", headers={"Cache-Control": cache})

    async def _events(self, request: web.Request) -> web.StreamResponse:
        reply = web.StreamResponse(headers=_HEADERS | {"Content-Type": "text/event-stream"})
        await reply.prepare(request)
        stream: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
        self._streams.add(stream)
        async with self._opening:
            self._opening.notify_all()
        try:
            while (event := await stream.get())[0] != "end":
                await reply.write(f"event: {event[0]}\ndata: {json.dumps(event[1])}\n\n".encode())
        finally:
            self._streams.discard(stream)
        return reply


_PARTS = ("verdict", "labels", "boxes", "note")


def _broken() -> web.Response:
    return _json({"error": "broken", "message": ""}, 422)


def card(id_: int, key: str, **parts: Any) -> dict[str, Any]:
    """A card that waits, with the parts that differ."""
    return {
        "id": id_, "key": key, "width": 800, "height": 600, "verdict": "review", "rule_verdict": "review", "rule": 1,
        "why": "Robin 71.3, keep from 85", "score": 71.3, "labels": [], "machine_boxes": [], "base": 0, "answer": None,
        "blind": False, "broken": False, "failure": None,
    } | parts  # fmt: skip


def drawn(id_: int, size: str) -> bytes:
    """A plain picture of 800 x 600, in a colour of its own."""
    scale = {"320": 0.4, "1280": 1.0, "full": 1.0}[size]
    picture = Image.new("RGB", (int(800 * scale), int(600 * scale)), (id_ * 53 % 256, id_ * 97 % 256, id_ * 151 % 256))
    return _jpeg(picture)


def photographs(paths: list[Path]) -> Callable[[int, str], bytes]:
    """Real photographs, one an id, again and again."""

    def picture(id_: int, size: str) -> bytes:
        with Image.open(paths[(id_ - 1) % len(paths)]) as opened:
            upright = ImageOps.exif_transpose(opened).convert("RGB")
        if size != "full":
            upright.thumbnail((int(size), int(size)))
        return _jpeg(upright)

    return picture


def _jpeg(picture: Image.Image) -> bytes:
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=85)
    return out.getvalue()


BLANK = _jpeg(Image.new("L", (1, 1)))


def _json(value: object, status: int = 200) -> web.Response:
    return web.json_response(value, status=status)
