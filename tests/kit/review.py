"""A review server as a process of its own, and a client that calls it as the page does."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import socket
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Self

import aiohttp
from PIL import Image
from yarl import URL

from tests.kit.workspace import COMMAND, PATIENCE_S, bare_environment


class Answer(NamedTuple):
    """What the server answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of an error."""
        return str(self.json["error"])


class ReviewProcess:
    """A server; a context, at whose end it has ended.

    Args:
        target: The job or the folder.
        options: More options.
        reviewers: Their names.
        env: More environment variables.
    """

    def __init__(
        self, target: Path, *options: str, reviewers: tuple[str, ...] = ("anna", "ben"), env: Mapping[str, str] = {}
    ) -> None:
        names = [part for name in reviewers for part in ("--as", name)]
        self.log = target.parent / f"review-{os.urandom(4).hex()}.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [*COMMAND, "review", str(target), *names, "--no-open", "--json", *options],
                cwd=target.parent,
                env=bare_environment(target.parent) | {"PYTHONWARNINGS": "error"} | dict(env),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.process.wait(PATIENCE_S)
        self.found: dict[str, Any] = json.loads(line) if line else {}
        self.urls: dict[str, str] = {one["reviewer"]: one["url"] for one in self.found.get("urls", ())}
        self.port = int(self.found.get("port", 0))
        self.origin = f"http://127.0.0.1:{self.port}"

    def token(self, reviewer: str = "anna") -> str:
        """The token of a reviewer."""
        return self.urls[reviewer].partition("#t=")[2]

    def end(self, number: int = signal.SIGTERM) -> int:
        """End the server; returns its exit code."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(PATIENCE_S)
        if self.process.stdout is not None:
            self.process.stdout.close()


class Page:
    """What a page does: calls with the token of one reviewer.

    Args:
        session: Of a client.
        server: That is called.
        reviewer: Whose page it is.
    """

    def __init__(self, session: aiohttp.ClientSession, server: ReviewProcess, reviewer: str = "anna") -> None:
        self._session, self._server = session, server
        self._headers = {"X-Asyncfilter-Token": server.token(reviewer), "Origin": server.origin}

    async def get(self, path: str) -> Answer:
        """A GET."""
        return await self.call("GET", path)

    async def post(self, path: str, body: object) -> Answer:
        """A POST of JSON."""
        return await self.call("POST", path, json=body)

    async def call(self, method: str, path: str, **extra: Any) -> Answer:
        """Any request; ``headers`` with the value None are left out."""
        headers = {**self._headers, **extra.pop("headers", {})}
        sent = {name: value for name, value in headers.items() if value is not None}
        url = URL(self._server.origin + path, encoded=True)
        async with self._session.request(method, url, headers=sent, allow_redirects=False, **extra) as reply:
            return Answer(reply.status, reply.headers.copy(), await reply.read())

    async def json(self, path: str) -> Any:
        """The JSON of a GET that succeeds."""
        answer = await self.get(path)
        assert answer.status == 200, answer.body
        return answer.json

    async def waiting(self) -> list[int]:
        """The ids that wait, once the index is whole."""
        while not (await self.json("/api/job"))["ready"]:
            pass
        found: list[int] = (await self.json("/api/queue?name=waiting"))["ids"]
        return found

    async def counts_become(self, name: str, count: int) -> None:
        """Return once a figure of the job is ``count``."""
        async with asyncio.timeout(PATIENCE_S):
            while (await self.json("/api/job"))["counts"][name] != count:  # noqa: ASYNC110  of another process
                await asyncio.sleep(0.05)

    async def answer(self, *answers: dict[str, Any]) -> list[dict[str, Any]]:
        """The results of answers."""
        reply = await self.post("/api/answers", {"answers": list(answers)})
        assert reply.status == 200, reply.body
        found: list[dict[str, Any]] = reply.json["results"]
        return found


def lasting_port() -> int:
    """A free port that no outgoing connection is given: a server that ends finds it free when it starts again."""
    while True:
        port = random.randint(20_000, 32_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def given(id_: int, uid: str, verdict: str | None = "keep", **more: Any) -> dict[str, Any]:
    """An answer as the page sends it."""
    whole = {"uid": uid, "id": id_, "base": 0, "verdict": verdict, "labels": None, "boxes": None, "note": None,
             "shown_ms": 900, "how": "key", "asked_as": "decide"}  # fmt: skip
    return whole | more


def picture_folder(folder: Path, count: int) -> Path:
    """A folder with small pictures ``p00.jpg`` and so on, no two of them alike."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        picture = Image.new("RGB", (64, 48), (number * 5 % 256, 90, 200))
        picture.paste((255, 255, 255), (number % 60, 0, number % 60 + 4, 48))
        picture.save(folder / f"p{number:02}.jpg")
    return folder
