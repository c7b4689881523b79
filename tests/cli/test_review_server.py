"""The review server as a process: what it refuses, what it stores, and how it ends."""

from __future__ import annotations

import asyncio
import io
import re
import signal
import socket
import sqlite3
import stat
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.streams import EMPTY_PAYLOAD
from aiohttp.test_utils import make_mocked_request
from PIL import Image

from asyncfilter.answers.leases import LEASE_S
from asyncfilter.cli.app import command_line
from asyncfilter.review.gate import Call, Gate, Route
from asyncfilter.review.links import Link, LinkFile
from asyncfilter.review.replies import CONTENT_SECURITY_POLICY, json_reply
from asyncfilter.review.server import answerer, bind, serving
from tests.kit.review import Answer, Page, ReviewProcess, given, lasting_port, picture_folder
from tests.kit.workspace import PATIENCE_S

PICTURES = 8


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReviewProcess]:
    """A server of a folder, for all tests of this module."""
    folder = picture_folder(tmp_path_factory.mktemp("review") / "photos", PICTURES)
    with ReviewProcess(folder, "--label-set", "robin,wren") as running:
        yield running


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """A client."""
    async with aiohttp.ClientSession(auto_decompress=False, timeout=aiohttp.ClientTimeout(PATIENCE_S)) as opened:
        yield opened


@pytest.fixture
async def anna(session: aiohttp.ClientSession, server: ReviewProcess) -> Page:
    """The page of one reviewer."""
    return Page(session, server, "anna")


@pytest.fixture
async def ben(session: aiohttp.ClientSession, server: ReviewProcess) -> Page:
    """The page of the other one."""
    return Page(session, server, "ben")


def check_strict(answer: Answer) -> None:
    """Every answer has the strict headers, and names neither a path nor a token."""
    headers = answer.headers
    assert headers["Content-Security-Policy"] == CONTENT_SECURITY_POLICY
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Opener-Policy"] == headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Cache-Control"].startswith("private")
    assert not [name for name in headers if name.lower() == "set-cookie" or name.lower().startswith("access-control")]


def check_refused(answer: Answer, status: int, code: str) -> None:
    """A refusal is JSON with a code and a message, and nothing of this machine."""
    assert (answer.status, answer.code) == (status, code)
    assert set(answer.json) == {"error", "message"}
    assert "/tmp" not in answer.json["message"]
    check_strict(answer)


# -- Refusals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["evil.test", "127.0.0.1", "127.0.0.1:1", "localhost:1", "[::1]:1", ""])
async def test_another_host_is_refused_before_anything_else(anna: Page, host: str) -> None:
    """Another host is refused before anything else."""
    for path in ("/", "/api/job", "/nothing"):
        check_refused(await anna.call("GET", path, headers={"Host": host}), 403, "bad_host")


async def test_names_of_this_machine_are_served(anna: Page, server: ReviewProcess) -> None:
    """Names of this machine are served."""
    for name in ("127.0.0.1", "localhost", "[::1]"):
        host = f"{name}:{server.port}"
        answer = await anna.call("GET", "/api/job", headers={"Host": host, "Origin": f"http://{host}"})
        assert answer.status == 200
        check_strict(answer)
        assert answer.headers["Cache-Control"] == "private, no-store"


async def test_pages_of_other_sites_reach_nothing_but_the_page_itself(anna: Page) -> None:
    """Pages of other sites reach nothing but the page itself."""
    for site in ("cross-site", "same-site"):
        for path in ("/api/job", "/style.css", "/nothing", "/"):
            check_refused(await anna.call("GET", path, headers={"Sec-Fetch-Site": site}), 403, "cross_site")
        framed = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}
        check_refused(await anna.call("GET", "/", headers=framed), 403, "cross_site")
        followed = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
        assert (await anna.call("GET", "/", headers=followed)).status in {200, 404}


@pytest.mark.parametrize(
    "path",
    [
        "/nothing", "/api", "/api/", "/api/nothing", "/api/job/", "//api/job", "/api//job", "/%61pi/job", "/api%2fjob",
        "/api/../api/job",
        "/..%2f..%2fetc/passwd", "/../../../etc/passwd", "/api/job%00", "/./index.html", "/index.htm",
        "/page_files.py", "/__init__.py", "/image/320/1", "/image/64/1-" + "0" * 32, "/image/320/x-" + "0" * 32,
        "/image/320/../full/1-" + "0" * 32, "/vendor/../index.html", "/vendor/", "/vendor",
    ],
)  # fmt: skip
async def test_a_route_that_is_none_is_not_found(anna: Page, path: str) -> None:
    """A route that is none is not found."""
    check_refused(await anna.get(path), 404, "not_found")


async def test_another_method_is_refused(anna: Page) -> None:
    """Another method is refused."""
    for method in ("POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE"):
        answer = await anna.call(method, "/api/job")
        assert answer.status == 405
        check_strict(answer)
    check_refused(await anna.get("/api/take"), 405, "method_not_allowed")


async def test_without_the_token_nothing_is_told(anna: Page, server: ReviewProcess) -> None:
    """Without the token nothing is told."""
    for token in (None, "", "x", "é", server.token()[:-1], server.token() + "x", server.token().swapcase()):
        for path in ("/api/job", "/api/cards?ids=1", "/api/events"):
            check_refused(await anna.call("GET", path, headers={"X-Asyncfilter-Token": token}), 401, "bad_token")
        check_refused(
            await anna.call("POST", "/api/take", json={"queue": "all", "n": 1}, headers={"X-Asyncfilter-Token": token}),
            401, "bad_token",
        )  # fmt: skip


async def test_another_origin_is_refused_and_a_post_needs_one(anna: Page, server: ReviewProcess) -> None:
    """Another origin is refused and a post needs one."""
    wrong = ["null", "http://evil.test", f"http://127.0.0.1:{server.port + 1}", f"https://127.0.0.1:{server.port}"]
    for origin in wrong:
        check_refused(await anna.call("GET", "/api/job", headers={"Origin": origin}), 403, "bad_origin")
    for given_origin in (None, *wrong):
        headers = {"Origin": given_origin}
        reply = await anna.call("POST", "/api/take", json={"queue": "all", "n": 1}, headers=headers)
        check_refused(reply, 403, "bad_origin")
    assert (await anna.call("GET", "/api/job", headers={"Origin": None})).status == 200


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
async def test_a_body_that_a_form_could_send_is_refused(anna: Page, kind: str) -> None:
    """A body that a form could send is refused."""
    reply = await anna.call("POST", "/api/take", data=b'{"queue":"all","n":1}', headers={"Content-Type": kind})
    check_refused(reply, 415, "unsupported_media_type")


async def test_a_long_body_is_refused_before_it_is_read(server: ReviewProcess) -> None:
    """A long body is refused before it is read."""
    head = (
        f"POST /api/answers HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nX-Asyncfilter-Token: {server.token()}\r\n"
        f"Origin: {server.origin}\r\nContent-Type: application/json\r\nContent-Length: {1 << 30}\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(head.encode())
    answer = await reader.readuntil(b"}")  # not one byte of the body was sent
    writer.close()
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"error":"too_long"' in answer


async def test_a_long_body_without_a_length_is_refused(anna: Page) -> None:
    """A long body without a length is refused."""

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(9):
            yield b" " * 8192

    reply = await anna.call("POST", "/api/answers", data=chunks(), headers={"Content-Type": "application/json"})
    assert (reply.status, reply.code) == (413, "too_long")
    exact = b'{"queue":"all","n":1' + b" " * (65_536 - 21) + b"}"
    json_kind = {"Content-Type": "application/json"}
    assert (await anna.call("POST", "/api/take", data=exact, headers=json_kind)).status == 200


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/take", b"{"), ("/api/take", b"[]"), ("/api/take", b'{"queue":"all"}'), ("/api/take", b"\xff"),
        ("/api/take", b'{"queue":"all","n":0}'), ("/api/take", b'{"queue":"all","n":65}'),
        ("/api/take", b'{"queue":"no such","n":1}'), ("/api/answers", b'{"answers":[]}'),
        ("/api/answers", b'{"answers":[{"uid":"abcdefgh"}]}'), ("/api/answers", b'{"answers":[{"uid":1,"id":1}]}'),
        ("/api/undo", b'{"undo":[{"uid":"abcdefgh"}]}'), ("/api/undo", b"null"),
        ("/api/answers", b'{"deep":' * 5000), ("/api/take", b'{"deep":' + b"[" * 50_000),
    ],
)  # fmt: skip
async def test_a_body_that_does_not_fit_is_refused(anna: Page, path: str, body: bytes) -> None:
    """A body that does not fit is refused."""
    reply = await anna.call("POST", path, data=body, headers={"Content-Type": "application/json"})
    check_refused(reply, 400, "bad_request")


@pytest.mark.parametrize(
    "query",
    ["/api/cards", "/api/cards?ids=", "/api/cards?ids=1,x", "/api/cards?ids=" + ",".join(["1"] * 201),
     "/api/queue", "/api/queue?name=none", "/api/queue?name=all&limit=0", "/api/queue?name=all&limit=2001",
     "/api/queue?name=all&after=-1", "/api/queue?name=all&limit=1e3"],
)  # fmt: skip
async def test_a_query_that_does_not_fit_is_refused(anna: Page, query: str) -> None:
    """A query that does not fit is refused."""
    check_refused(await anna.get(query), 400, "bad_request")


async def test_what_is_not_http_gets_the_strict_headers_too(server: ReviewProcess) -> None:
    """What is not http gets the strict headers too."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"\x16\x03\x01 no HTTP at all\r\n\r\n")
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.")
    assert b" 400 " in answer[:20]
    assert CONTENT_SECURITY_POLICY.encode() in answer


@pytest.mark.parametrize("hosts", [(), ("127.0.0.1:{port}", "evil.test"), ("evil.test", "127.0.0.1:{port}")])
async def test_a_request_names_one_host(server: ReviewProcess, hosts: tuple[str, ...]) -> None:
    """A request without a host, or with several, is refused as one to another host."""
    lines = ["GET / HTTP/1.1", *(f"Host: {host.format(port=server.port)}" for host in hosts), "Connection: close"]
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write("\r\n".join([*lines, "", ""]).encode())
    answer = await reader.read()
    writer.close()
    assert b" 403 " in answer[:20]
    assert b'"bad_host"' in answer
    assert CONTENT_SECURITY_POLICY.encode() in answer


@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        (b"", b""),
        (b"GET / HTTP/1.1\r\nHo", b""),
        (
            (
                b"POST /api/take HTTP/1.1\r\nHost: 127.0.0.1:1\r\nOrigin: http://127.0.0.1:1\r\n"
                b"X-Asyncfilter-Token: t\r\n"
                b"Content-Type: application/json\r\nContent-Length: 9\r\n\r\n{"
            ),
            b"HTTP/1.1 408 ",
        ),
    ],
)
async def test_who_sends_no_whole_request_holds_no_connection(
    monkeypatch: pytest.MonkeyPatch, sent: bytes, answered: bytes
) -> None:
    """A connection without a request, with half of one, and with half of a body: each of them is ended."""
    monkeypatch.setattr("asyncfilter.review.server.IDLE_S", 0.05)
    monkeypatch.setattr("asyncfilter.review.gate.BODY_S", 0.05)
    monkeypatch.setattr("asyncfilter.review.server._LINGERING_S", 0.05)

    async def serve(_: Call) -> web.StreamResponse:
        return json_reply({})

    gate = Gate(lambda _: Route("POST", serve), {"t": "anna"}, 1)
    with bind("127.0.0.1", 0) as sock:
        async with serving(sock, answerer(gate, print)):
            reader, writer = await asyncio.open_connection("127.0.0.1", sock.getsockname()[1])
            writer.write(sent)
            answer = await asyncio.wait_for(reader.read(), PATIENCE_S)
            writer.close()
    assert answer[: len(answered) or None] == answered


# -- Cards and pictures ------------------------------------------------------------------------------------------------


async def test_every_picture_of_a_folder_waits(anna: Page) -> None:
    """Every picture of a folder waits."""
    job = await anna.json("/api/job")
    assert (job["name"], job["reviewer"], job["reviewers"]) == ("photos", "anna", ["anna", "ben"])
    assert (job["labels"], job["rules"]) == (["robin", "wren"], [])
    ids = await anna.waiting()
    cards = (await anna.json(f"/api/cards?ids={','.join(map(str, [*ids, 999]))}"))["cards"]
    assert [card["id"] for card in cards] == ids
    assert [card["key"] for card in cards] == [f"p{number:02}.jpg" for number in range(PICTURES)]
    assert {(card["verdict"], card["rule"], card["blind"], card["base"]) for card in cards} == {(None, None, False, 0)}


async def test_a_queue_is_read_page_by_page(anna: Page) -> None:
    """A queue is read page by page."""
    ids = await anna.waiting()
    for name in ("waiting", "all"):
        found: list[int] = []
        after: int | None = None
        while True:
            page = await anna.json(f"/api/queue?name={name}&limit=3{'' if after is None else f'&after={after}'}")
            found += page["ids"]
            after = page["after"]
            assert page["rest"] == PICTURES - len(found)
            if after is None:
                break
        assert found == ids


async def test_a_picture_is_shown_upright_and_without_metadata(tmp_path: Path, session: aiohttp.ClientSession) -> None:
    """A picture is shown upright and without metadata."""
    folder = picture_folder(tmp_path / "photos", 0)
    picture = Image.new("RGB", (400, 200), "white")
    picture.paste((255, 0, 0), (0, 0, 200, 100))  # red at the left top, as stored
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a secret place"  # lies on its side: to be turned clockwise
    picture.save(folder / "turned.jpg", exif=exif, quality=95)
    Image.new("RGB", (5000, 2), (0, 90, 200)).save(folder / "flat.png")
    (folder / "evil.jpg").write_bytes(b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>")
    with ReviewProcess(folder) as server:
        page = Page(session, server)
        evil, flat, turned = (await page.json(f"/api/cards?ids={','.join(map(str, await page.waiting()))}"))["cards"]
        for name, size in (("thumb", (160, 320)), ("large", (200, 400)), ("full", (200, 400))):
            answer = await page.call("GET", turned[name], headers={"X-Asyncfilter-Token": None, "Origin": None})
            assert (answer.status, answer.headers["Content-Type"]) == (200, "image/jpeg")
            assert answer.headers["Cache-Control"] == "private, max-age=31536000, immutable"
            check_strict(answer)
            assert b"secret" not in answer.body
            shown = Image.open(io.BytesIO(answer.body))
            assert shown.size == size
            corner = shown.getpixel((size[0] - 8, 8))
            assert isinstance(corner, tuple)
            assert corner[0] > 200
            assert corner[1] < 80
        check_refused(await page.get(evil["thumb"]), 422, "broken")
        blank = await page.get(evil["thumb"] + "?blank=0")  # the page asks so: browsers log images that fail
        assert (blank.status, blank.headers["Cache-Control"]) == (200, "private, no-store")
        assert Image.open(io.BytesIO(blank.body)).size == (1, 1)
        assert (await page.get(flat["thumb"] + "?blank=0")).body == (await page.get(flat["thumb"])).body
        check_refused(await page.get(f"/api/look?id={evil['id']}"), 422, "broken")
        assert await page.json(f"/api/look?id={flat['id']}") == {"shown": True}
        told = await page.call("GET", f"/api/look?id={evil['id']}", headers={"X-Asyncfilter-Errors": "as-200"})
        assert (told.status, told.headers["X-Asyncfilter-Status"], told.code) == (200, "422", "broken")
        foreign = {"X-Asyncfilter-Errors": "as-200", "Host": "evil.test"}
        check_refused(await page.call("GET", "/api/job", headers=foreign), 403, "bad_host")
        assert (await page.get(flat["thumb"])).status == 200  # its other side is a pixel at least
        again = (await page.json(f"/api/cards?ids={evil['id']},{turned['id']}"))["cards"]
        assert [card["broken"] for card in again] == [True, False]
        assert (again[1]["width"], again[1]["height"]) == (200, 400)
        (folder / "turned.jpg").write_bytes((folder / "turned.jpg").read_bytes() + b" ")
        results = await page.answer(given(turned["id"], "changed-1"))
        assert [result["status"] for result in results] == ["changed"]


async def test_an_address_of_a_picture_cannot_be_guessed(anna: Page) -> None:
    """An address of a picture cannot be guessed."""
    first, second = (await anna.waiting())[:2]
    cards = (await anna.json(f"/api/cards?ids={first},{second}"))["cards"]
    mac = cards[0]["thumb"].rpartition("-")[2]
    assert re.fullmatch("[0-9a-f]{32}", mac)
    for address in (
        f"/image/320/{second}-{mac}", f"/image/320/{first}-{'0' * 32}", f"/image/320/{first}-{mac.upper()}x",
        f"/image/320/999-{mac}", f"/image/320/0{first}-{mac[:-1]}",
    ):  # fmt: skip
        check_refused(await anna.get(address), 404, "not_found")


# -- Answers -----------------------------------------------------------------------------------------------------------


async def test_an_answer_is_stored_once(anna: Page) -> None:
    """An answer is stored once."""
    id_ = (await anna.waiting())[0]
    box = {"label": "robin", "left": 0.1, "top": 0.2, "width": 2, "height": 0.5}
    (stored,) = await anna.answer(given(id_, "once-0001", "keep", labels=[" robin "], boxes=[box], note="a note"))
    assert stored["status"] == "stored"
    current = stored["current"]
    assert (current["verdict"], current["labels"], current["reviewer"], current["uid"], current["note"]) == (
        "keep", ["robin"], "anna", "once-0001", "a note",
    )  # fmt: skip
    assert current["boxes"] == [{"label": "robin", "left": 0.1, "top": 0.2, "width": 0.9, "height": 0.5}]
    for other in (id_, (await anna.waiting())[-1]):  # as the first time, whatever else it says now
        (again,) = await anna.answer(given(other, "once-0001", "reject"))
        assert again["status"] == "repeated"
        assert (again["serial"], again["current"]) == (stored["serial"], current)
    assert id_ not in await anna.waiting()
    (card,) = (await anna.json(f"/api/cards?ids={id_}"))["cards"]
    assert (card["answer"], card["base"], card["verdict"]) == (current, stored["serial"], "keep")
    undone = {"uid": "once-0002", "undoes": "once-0001"}
    reply = await anna.post("/api/undo", {"undo": [undone, {"uid": "once-0003", "undoes": "once-0002"}]})
    assert [one["status"] for one in reply.json["results"]] == ["stored", "stored"]  # taking back an undo restores
    assert reply.json["results"][1]["current"]["verdict"] == "keep"
    reply = await anna.post("/api/undo", {"undo": [undone, {"uid": "once-0004", "undoes": "once-0003"}]})
    assert [one["status"] for one in reply.json["results"]] == ["repeated", "stored"]
    assert reply.json["results"][1]["current"] is None
    assert id_ in await anna.waiting()


async def test_each_answer_of_a_batch_is_judged_by_itself(anna: Page) -> None:
    """Each answer of a batch is judged by itself."""
    id_ = (await anna.waiting())[1]
    results = await anna.answer(
        given(id_, "each-0001"), given(id_, "short"), given(999, "each-0002"), given(id_, "each-0003", "maybe"),
        given(id_, "each-0004", None), given(id_, "each-0005", labels=[""]), given(id_, "each-0006", how="x"),
        given(id_, "each-0001"), given(id_, "each-0008", base=-1), given(id_, "each-0007", "reject"),
        given(id_, "each-0009", how="import"),
    )  # fmt: skip
    assert [result["status"] for result in results] == [
        "stored", "invalid", "unknown", "invalid", "invalid", "invalid", "invalid", "repeated", "invalid",
        "stored", "invalid",
    ]  # fmt: skip
    # The current answer is told of everything that is known, whatever became of the row.
    assert [result["current"] and result["current"]["verdict"] for result in results] == [
        "reject" if at != 2 else None for at in range(len(results))
    ]


async def test_two_answers_at_once_are_one_answer_and_one_notice(anna: Page, ben: Page) -> None:
    """Two answers at once are one answer and one notice."""
    id_ = (await anna.waiting())[2]
    (first,) = await anna.answer(given(id_, "both-0001", "keep"))
    (other,) = await ben.answer(given(id_, "both-0002", "reject"))
    assert (other["status"], other["serial"], other["current"]["reviewer"]) == ("conflict", None, "anna")
    (known,) = await ben.answer(given(id_, "both-0003", "reject", base=first["serial"]))
    assert (known["status"], known["current"]["verdict"]) == ("stored", "unresolved")
    assert (await ben.json("/api/queue?name=disagreements"))["ids"] == [id_]
    wanted = {"queue": "disagreements", "n": 5}
    assert (await ben.post("/api/take", wanted)).json["ids"] == []  # another reviewer answered it
    assert (await ben.post("/api/take", wanted | {"answered": True})).json["ids"] == [id_]
    (judged,) = await anna.answer(given(id_, "both-0004", "reject", asked_as="adjudicate"))
    assert (judged["status"], judged["current"]["verdict"]) == ("stored", "reject")
    undo = {"undo": [{"uid": "both-0005", "undoes": "both-0003"}, {"uid": "both-0006", "undoes": "no-such-uid"}]}
    reply = await anna.post("/api/undo", undo)
    assert [one["status"] for one in reply.json["results"]] == ["not_yours", "unknown"]
    assert [one["current"] and one["current"]["verdict"] for one in reply.json["results"]] == ["reject", None]


async def test_two_reviewers_never_hold_one_image(tmp_path: Path, session: aiohttp.ClientSession) -> None:
    """Two reviewers never hold one image."""
    folder = picture_folder(tmp_path / "photos", 12)
    taken: dict[str, set[int]] = {"anna": set(), "ben": set()}
    for start in range(2):
        with ReviewProcess(folder) as server:
            pages = {name: Page(session, server, name) for name in taken}
            await pages["anna"].waiting()
            for count in (1, 3, 5):
                asked_at_s = time.time()
                replies = await asyncio.gather(
                    *(page.post("/api/take", {"queue": "waiting", "n": count}) for page in pages.values())
                )
                for name, reply in zip(pages, replies, strict=True):
                    assert reply.json["until"] >= asked_at_s + LEASE_S
                    taken[name] |= set(reply.json["ids"])
            if not start:
                server.process.kill()  # leases are in the file: the next server knows them
    assert taken["anna"]
    assert taken["ben"]
    assert not taken["anna"] & taken["ben"]


async def test_equal_pictures_are_one(tmp_path: Path, session: aiohttp.ClientSession) -> None:
    """Two people never hold equal pictures at once, and an answer about one is an answer about the other."""
    folder = picture_folder(tmp_path / "photos", 3)
    (folder / "again.jpg").write_bytes((folder / "p01.jpg").read_bytes())
    with ReviewProcess(folder) as server:
        anna, ben = Page(session, server, "anna"), Page(session, server, "ben")
        ids = await anna.waiting()
        by_key = {}
        for card in (await anna.json(f"/api/cards?ids={','.join(map(str, ids))}"))["cards"]:
            by_key[card["key"]] = card["id"]
            assert (await anna.get(card["thumb"])).status == 200  # what was read is known to be equal
        twins = {by_key["again.jpg"], by_key["p01.jpg"]}
        (held,) = (await anna.post("/api/take", {"queue": "waiting", "n": 1})).json["ids"]
        assert held == by_key["again.jpg"]
        others = (await ben.post("/api/take", {"queue": "waiting", "n": 4})).json["ids"]
        assert set(others) == set(ids) - twins
        await anna.answer(given(held, "equal-001"))
        assert (await ben.post("/api/take", {"queue": "waiting", "n": 4})).json["ids"] == others
        assert (await ben.json("/api/job"))["counts"]["waiting"] == len(others)
        (card,) = (await ben.json(f"/api/cards?ids={by_key['p01.jpg']}"))["cards"]
        assert (card["answer"]["verdict"], card["answer"]["reviewer"]) == ("keep", "anna")


async def test_what_is_stored_survives_any_end_of_the_server(tmp_path: Path, session: aiohttp.ClientSession) -> None:
    """What is stored survives any end of the server."""
    folder = picture_folder(tmp_path / "photos", 6)
    acknowledged: dict[str, int] = {}
    for round_ in range(3):
        with ReviewProcess(folder, reviewers=("anna",)) as server:
            page = Page(session, server)
            ids = [
                card["id"]
                for card in (await page.json(f"/api/cards?ids={','.join(map(str, await _all(page)))}"))["cards"]
            ]

            async def decide() -> None:
                for number in range(400):
                    uid = f"round-{round_}-{number:03}"  # noqa: B023
                    for result in await page.answer(given(ids[number % 6], uid, ("keep", "reject")[number % 2])):  # noqa: B023
                        acknowledged[uid] = result["serial"]

            task = asyncio.create_task(decide())
            wanted = len(acknowledged) + 8 + round_
            while len(acknowledged) < wanted and not task.done():  # noqa: ASYNC110  the moment of the kill is any moment after that
                await asyncio.sleep(0.001 * round_)
            server.process.kill()
            with pytest.raises((aiohttp.ClientError, ConnectionError)):
                await task
    with closing(sqlite3.connect(folder / ".asyncfilter" / "review.answers.db")) as db:
        rows = dict(db.execute("SELECT uid, serial FROM answer"))
        assert db.execute("SELECT count(*) FROM answer").fetchone() == (len(rows),)
    assert acknowledged.items() <= rows.items()
    by_serial = sorted(rows, key=rows.__getitem__)
    assert by_serial == sorted(rows)  # the order of the file is that of the decisions


async def _all(page: Page) -> list[int]:
    await page.waiting()
    found: list[int] = (await page.json("/api/queue?name=all"))["ids"]
    return found


async def test_events_tell_other_pages(
    anna: Page, ben: Page, session: aiohttp.ClientSession, server: ReviewProcess
) -> None:
    """Events tell other pages."""
    id_ = (await anna.waiting())[0]
    headers = {"X-Asyncfilter-Token": server.token("ben")}
    async with session.get(f"{server.origin}/api/events", headers=headers) as stream:
        assert stream.headers["Content-Type"] == "text/event-stream"
        assert stream.headers["Content-Security-Policy"] == CONTENT_SECURITY_POLICY
        (stored,) = await anna.answer(given(id_, "event-001"))
        seen = b""
        while (
            f'event: answer\ndata: {{"id":{id_},"serial":{stored["serial"]},"reviewer":"anna"}}\n\n'.encode()
            not in seen
        ):
            seen += await asyncio.wait_for(stream.content.readany(), PATIENCE_S)
    assert b"event: counts\n" in seen


async def test_a_locked_file_is_busy_and_stores_nothing(tmp_path: Path, session: aiohttp.ClientSession) -> None:
    """A locked file is busy and stores nothing."""
    folder = picture_folder(tmp_path / "photos", 2)
    with ReviewProcess(folder) as server:
        page = Page(session, server)
        id_ = (await page.waiting())[0]
        await page.answer(given(id_, "before-01"))
        db = sqlite3.connect(folder / ".asyncfilter" / "review.answers.db", isolation_level=None)
        db.execute("BEGIN IMMEDIATE")
        reply = await page.post("/api/answers", {"answers": [given(id_, "locked-01", "reject")]})
        db.execute("ROLLBACK")
        assert (reply.status, reply.code, reply.headers["Retry-After"]) == (503, "busy", "1")
        (stored,) = await page.answer(given(id_, "locked-01", "reject"))
        assert stored["status"] == "stored"
        db.close()


# -- The process -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_the_server_with_success(
    tmp_path: Path, session: aiohttp.ClientSession, number: int
) -> None:
    """A signal ends the server with success."""
    folder = picture_folder(tmp_path / "photos", 3)
    with ReviewProcess(folder) as server:
        page = Page(session, server)
        ids = await page.waiting()
        headers = {"X-Asyncfilter-Token": server.token()}
        async with session.get(f"{server.origin}/api/events", headers=headers):
            answers = [page.answer(given(id_, f"ending-{id_}")) for id_ in ids]
            tasks = [asyncio.create_task(answer) for answer in answers]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            assert await asyncio.to_thread(server.end, number) == 0
        done = await asyncio.gather(*tasks, return_exceptions=True)
        acknowledged = [one[0]["serial"] for one in done if isinstance(one, list)]
    with closing(sqlite3.connect(folder / ".asyncfilter" / "review.answers.db")) as db:
        assert set(acknowledged) <= {serial for (serial,) in db.execute("SELECT serial FROM answer")}
    assert server.token() not in server.log.read_text()


def test_links_stay_the_same_until_new_ones_are_made(tmp_path: Path) -> None:
    """Links stay the same until new ones are made."""
    folder = picture_folder(tmp_path / "photos", 1)
    with ReviewProcess(folder, "--port", str(lasting_port())) as first:
        assert all(re.fullmatch(r"http://127\.0\.0\.1:\d+/#t=[A-Za-z0-9_-]{43}", url) for url in first.urls.values())
        assert len(set(first.urls.values())) == 2
        assert set(first.found) == {"urls", "port", "pid", "answers", "images"}
        assert (first.found["pid"], first.found["images"]) == (first.process.pid, 1)
        assert first.end() == 0
    remembered = folder / ".asyncfilter" / "review.review.json"
    assert stat.S_IMODE(remembered.stat().st_mode) == 0o600
    with ReviewProcess(folder) as second:
        assert second.urls == first.urls
        assert second.end() == 0
    with ReviewProcess(folder, "--new-link") as third:
        assert third.port == first.port
        assert not set(third.urls.values()) & set(first.urls.values())


def review(*arguments: str | Path) -> int:
    """The exit code of a command that does not come to serve."""
    return command_line(["review", "--no-open", *map(str, arguments)])


def test_ports_in_use(tmp_path: Path) -> None:
    """By our own server: exit 3, or beside it on another port; by others: another port, and a word; --port: exit 2."""
    folder = picture_folder(tmp_path / "photos", 1)
    with ReviewProcess(folder, "--port", str(lasting_port())) as first:
        assert review(folder) == 3
        assert review(folder, "--port", str(first.port)) == 2
        with ReviewProcess(folder, "--port", "0") as beside:
            assert beside.urls
            assert beside.port != first.port
        assert first.end() == 0
    with socket.create_server(("127.0.0.1", first.port)), ReviewProcess(folder) as moved:
        assert moved.urls
        assert moved.port != first.port
        assert "opened again" in moved.log.read_text()


def test_only_loopback_without_leave(tmp_path: Path) -> None:
    """Another address is refused, and its own name is a host only where it is allowed."""
    folder = picture_folder(tmp_path / "photos", 1)
    assert review(folder, "--host", "0.0.0.0") == 2
    with ReviewProcess(folder, "--host", "0.0.0.0", "--allow-remote") as served:
        assert served.urls["anna"].startswith(f"http://0.0.0.0:{served.port}/#t=")


@pytest.mark.parametrize(
    ("host", "shown", "is_remote"),
    [
        ("127.0.0.2", "127.0.0.2", False), ("LOCALHOST", None, False), ("0:0:0:0:0:0:0:1", "[::1]", False),
        ("0.0.0.0", "0.0.0.0", True),
    ],
)  # fmt: skip
async def test_the_link_of_any_address_opens_the_page(
    tmp_path: Path, session: aiohttp.ClientSession, host: str, shown: str | None, is_remote: bool
) -> None:
    """Every loopback address needs no leave, in any spelling; the server answers under the link that it prints."""
    folder = picture_folder(tmp_path / "photos", 1)
    with ReviewProcess(folder, "--host", host, *(["--allow-remote"] if is_remote else [])) as served:
        if not served.urls and ":" in host:
            pytest.skip("no IPv6 here")
        url = served.urls["anna"]
        assert shown is None or url.startswith(f"http://{shown}:{served.port}/#t=")
        async with session.get(url) as page:
            assert page.status == 200
        async with session.get(url, headers={"Host": f"evil.test:{served.port}"}) as other:
            assert other.status == 403
        for reached in ("127.0.0.3", "127.0.0.4"):  # by the address that a connection came to, and by no other
            headers = {"Host": f"127.0.0.3:{served.port}"}
            if is_remote:
                async with session.get(f"http://{reached}:{served.port}/", headers=headers) as page:
                    assert page.status == (200 if reached == "127.0.0.3" else 403)


async def test_browsers_leave_port_80_out() -> None:
    """At port 80 a host has no port, and so has its origin; at another one it must have it."""
    for port, status in ((80, 200), (8080, 403)):

        async def serve(_: Call) -> web.StreamResponse:
            return json_reply({})

        gate = Gate(lambda _: Route("POST", serve), {"t": "anna"}, port)
        request = make_mocked_request(
            "POST", "/api/take", headers={
                "Host": "127.0.0.1", "Origin": "http://127.0.0.1", "X-Asyncfilter-Token": "t",
                "Content-Type": "application/json",
            },
            payload=EMPTY_PAYLOAD,
        )  # fmt: skip
        assert (await answerer(gate, print)(request)).status == status


def test_targets_that_cannot_be_reviewed(tmp_path: Path) -> None:
    """No job file, a name that is none, and an answers file that is damaged and left as it was."""
    folder = picture_folder(tmp_path / "photos", 1)
    assert review(tmp_path / "none.yaml") == 2
    assert review(folder, "--as", "a\nb") == 2
    assert review(folder, "--label-set", "x" * 256) == 2
    damaged = tmp_path / "bad.db"
    damaged.write_bytes(b"no answers file" * 99)
    assert review(folder, "--answers", damaged) == 3
    assert damaged.read_bytes() == b"no answers file" * 99


def test_nothing_is_written_beside_what_is_no_answers_file(tmp_path: Path) -> None:
    """A folder, or a place where nothing can stand: exit 3, and no file of a server is made there."""
    folder = picture_folder(tmp_path / "photos", 1)
    other = tmp_path / "other"
    other.mkdir()
    (tmp_path / "file").write_bytes(b"")
    before = sorted(tmp_path.iterdir())
    for answers in ("", other, tmp_path / "file" / "below.answers.db"):
        assert review(folder, "--answers", answers) == 3
    assert sorted(tmp_path.iterdir()) == before


def test_a_lock_that_cannot_be_had_is_no_defect(tmp_path: Path) -> None:
    """A link in the place of the lock is not followed: exit 3."""
    folder = picture_folder(tmp_path / "photos", 1)
    (folder / ".asyncfilter").mkdir()
    (folder / ".asyncfilter" / "review.review.lock").symlink_to(tmp_path / "elsewhere")
    assert review(folder) == 3
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    "text",
    [
        '{"port": -5}', '{"port": 65536}', '{"tokens": {"anna": "' + "é" * 43 + '"}}',
        '{"tokens": {"anna": "' + "x" * 43 + '", "ben": "' + "x" * 43 + '"}}', "[" * 65_536,
    ],
)  # fmt: skip
def test_remembered_links_that_are_none_are_made_anew(tmp_path: Path, text: str) -> None:
    """A damaged file of links is not used: no port that is none, no token that two have or that a header cannot."""
    answers = tmp_path / "one.answers.db"
    links = LinkFile(answers)
    links.path.write_text(text)
    links.path.chmod(0o600)
    assert LinkFile(answers).link == Link()


def test_tokens_that_others_could_read_end(tmp_path: Path) -> None:
    """The port stays, so that open tabs find the server; their tokens do not."""
    answers = tmp_path / "one.answers.db"
    links = LinkFile(answers)
    tokens = links.tokens(["anna"], makes_new=False)
    links.link.port = 1234
    links.save()
    assert LinkFile(answers).tokens(["anna"], makes_new=False) == tokens
    links.path.chmod(0o644)
    again = LinkFile(answers)
    assert again.link.port == 1234
    assert again.tokens(["anna"], makes_new=False) != tokens
    again.save()
    assert stat.S_IMODE(again.path.stat().st_mode) == 0o600
