"""The double of the server answers as the server does: the same fields of the same kinds, the same status of rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.kit.review import ReviewProcess, given, picture_folder
from tests.kit.review_double import FakeReview, card, drawn

PICTURES = 4
pytestmark = pytest.mark.asyncio


def shape(value: Any) -> Any:
    """Names and kinds of all fields; null is any kind, and of a list one kind of item is enough."""
    if isinstance(value, dict):
        return {name: shape(part) for name, part in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


def differences(real: Any, double: Any, at: str = "") -> list[str]:
    """Where two shapes differ; what one of them leaves open (null, no item) is no difference."""
    if "NoneType" in (real, double) or [] in (real, double):
        return []
    if isinstance(real, dict) and isinstance(double, dict):
        odd = [f"{at}.{name} only in one" for name in sorted(real.keys() ^ double.keys())]
        return odd + [
            one for name in real.keys() & double.keys() for one in differences(real[name], double[name], name)
        ]
    if isinstance(real, list) and isinstance(double, list):
        return differences(real[0], double[0], f"{at}[]")
    return [] if real == double else [f"{at}: {real} and {double}"]


class Side:
    """Calls one of the two, and notes what it says."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._base, _, token = url.partition("#t=")
        self._headers = {"X-Asyncfilter-Token": token, "Origin": self._base.rstrip("/")}
        self.said: dict[str, Any] = {}
        self.status: list[list[str]] = []

    async def get(self, path: str) -> Any:
        async with self._session.get(self._base + path, headers=self._headers) as reply:
            found = self.said[path.partition("?")[0]] = await reply.json()
        return found

    async def post(self, path: str, body: object) -> Any:
        async with self._session.post(self._base + path, headers=self._headers, json=body) as reply:
            found = self.said[f"{path} {len(self.status)}"] = json.loads(await reply.read())
        if "results" in found:
            self.status.append([one["status"] for one in found["results"]])
        return found

    async def walk(self) -> None:
        """What a page asks and sends."""
        while not (await self.get("api/job"))["ready"]:
            pass
        ids = (await self.get("api/queue?name=waiting&limit=2"))["ids"]
        await self.get(f"api/cards?ids={ids[0]}")
        await self.post("api/take", {"queue": "waiting", "n": 2})
        first, second = ids
        box = {"label": "robin", "left": 0.1, "top": 0.2, "width": 0.3, "height": 0.4}
        whole = given(first, "double-0001", "keep", labels=["robin"], boxes=[box], note="so")
        await self.post("api/answers", {"answers": [whole, given(second, "double-0002", "reject")]})
        await self.post("api/answers", {"answers": [whole, given(999, "double-0003")]})
        undo = {"uid": "double-0004", "undoes": "double-0002"}
        await self.post("api/undo", {"undo": [undo]})
        await self.post("api/undo", {"undo": [undo]})
        await self.get(f"api/cards?ids={first},{second}")
        await self.get(f"api/near?id={first}&by=look&limit=2")
        await self.get("api/figures")
        await self.get("api/queue?name=all&limit=10")


async def test_the_double_is_like_the_server(tmp_path: Path) -> None:
    """One walk on both, compared field by field."""
    of_rules = dict.fromkeys(("labels", "why", "score", "verdict", "rule_verdict", "rule"))  # a folder has none
    cards = [card(number, f"p{number}.jpg", **of_rules) for number in range(1, PICTURES + 1)]
    double = FakeReview(cards, drawn, ("robin",))
    double.rules = []
    await double.start()
    try:
        with ReviewProcess(picture_folder(tmp_path / "photos", PICTURES), "--label-set", "robin") as server:
            async with aiohttp.ClientSession() as session:
                sides = [Side(session, server.urls["anna"]), Side(session, double.url)]
                for side in sides:
                    await side.walk()
    finally:
        await double.stop()
    real, fake = sides
    wrong = [one for at in real.said for one in differences(shape(real.said[at]), shape(fake.said[at]), at)]
    assert wrong == []
    assert real.status == fake.status
