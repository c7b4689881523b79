"""The small parts of a fleet: lateness without equal clocks, windows, kept answers, memory, spot notices."""

from __future__ import annotations

import asyncio
import random
import threading

import anyio
import pytest
from aiohttp import web

from asyncfilter.errors import AccessError
from asyncfilter.fleet import ray_connection, rays
from asyncfilter.fleet.held import HeldBytes
from asyncfilter.fleet.kept import KeptAnswers
from asyncfilter.fleet.messages import WireImage
from asyncfilter.fleet.spot import wait_notice
from asyncfilter.fleet.transit import BATCH_S, TURN_S, Transit
from asyncfilter.fleet.window import CUT, FIRST, Window
from asyncfilter.model import ObjectRef
from asyncfilter.wiring import ray_fleet
from tests.kit.workspace import PATIENCE_S


def test_lateness_is_over_the_smallest_transit() -> None:
    """Clocks may differ by any amount; a constant way is no lateness."""
    for offset_s in (-1e6, 0.0, 1e6):
        transit = Transit()
        for sent_s in (1.0, 2.0, 3.0):
            transit.arrived(sent_s, sent_s + offset_s + 0.2)
        assert transit.late_s(4.0, 4.0 + offset_s + 0.2 + BATCH_S) == pytest.approx(0.0, abs=1e-6)
        assert transit.late_s(4.0, 4.0 + offset_s + 0.2 + BATCH_S + 1.0) == pytest.approx(1.0, abs=1e-2)


def test_drift_of_clocks_is_followed() -> None:
    """A clock that is 100 ppm fast for a day does not make turns late; a slow minute does not pass for drift."""
    transit = Transit()
    for second in range(86_400):
        transit.arrived(second, second * 1.0001 + 0.01)
    now_s = 86_400 * 1.0001 + 0.01
    assert transit.late_s(86_400, now_s) < TURN_S
    for second in range(86_400, 86_460):
        transit.arrived(second, second * 1.0001 + 0.51)
    assert transit.late_s(86_460, 86_460 * 1.0001 + 0.51) > TURN_S


def test_way_that_has_become_longer_is_taken_as_it_is() -> None:
    """After some minutes turns are no longer late by it, and a run does not stand still for good."""
    transit = Transit()
    for tenth in range(6_000):
        transit.arrived(tenth / 10, tenth / 10 + (0.001 if tenth < 1_000 else 0.501))
    assert transit.late_s(600.0, 600.501) < TURN_S
    transit.arrived(600.0, 600.001)
    assert transit.late_s(600.1, 600.601) > TURN_S


def test_window_is_cut_once_for_one_cause() -> None:
    """Late answers to asks from before a cut do not cut again; answers in time grow a window that is used."""
    window = Window(most=1000)
    for number in range(200):
        window.answered(late_s=0.0, asked_s=0.0, under_way=window.size, now_s=number / 100)
    grown = window.size
    assert grown > FIRST
    for _ in range(50):
        window.answered(late_s=0.1, asked_s=1.0, under_way=grown, now_s=3.0)
    assert window.size == int(grown * CUT)
    window.answered(late_s=0.1, asked_s=3.1, under_way=window.size, now_s=3.3)
    assert window.size < grown * CUT
    before = window.size
    window.answered(late_s=0.0, asked_s=3.4, under_way=1, now_s=3.5)
    assert window.size == before


def test_window_stays_within_its_bounds() -> None:
    """It is never below one ask, nor above the most."""
    window = Window(most=20)
    rng = random.Random(1)
    for number in range(5000):
        late_s = 0.1 if rng.random() < rng.choice([0.0, 0.9]) else 0.0
        window.answered(late_s=late_s, asked_s=number, under_way=window.size, now_s=number + 0.5)
        assert 1 <= window.size <= 20


def test_kept_answers_are_bounded_and_dropped() -> None:
    """They are full at their most, and empty once all are durable."""
    kept = KeptAnswers(most_bytes=10_000)
    numbers = []
    while not kept.is_full:
        numbers.append(kept.keep(WireImage("raw", "a", 1, "e", 1), bytes(500)))
    assert 5 < len(kept) < 20
    kept.drop([*numbers, 99])
    assert size_of(kept) == (0, False)
    assert kept.keep(WireImage("raw", "a", 1, "e", 1), b"") not in numbers


def size_of(kept: KeptAnswers) -> tuple[int, bool]:
    """How many there are, and whether that is the most."""
    return len(kept), kept.is_full


async def test_earliest_image_gets_its_memory() -> None:
    """Later images wait for memory; the earliest gets what it asks for."""
    memory = HeldBytes(capacity_bytes=100)
    first, second = (ObjectRef(bucket="raw", key=str(seq), size_bytes=1, etag="", seq=seq) for seq in (1, 2))
    memory.begin(second)
    await memory.hold(second, 90)
    memory.begin(first)
    await memory.hold(first, 80)  # beyond the capacity
    waiting = asyncio.create_task(memory.hold(second, 95))
    await asyncio.sleep(0)
    assert not waiting.done()
    memory.drop(first)
    await asyncio.wait_for(waiting, PATIENCE_S)


@pytest.mark.parametrize("has_notice", [True, False])
async def test_spot_notice(has_notice: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The notice is asked for with a token of IMDSv2; without one nothing ends."""
    asked: list[str] = []

    async def token(request: web.Request) -> web.Response:
        assert request.headers["X-aws-ec2-metadata-token-ttl-seconds"]
        return web.Response(text="secret")

    async def notice(request: web.Request) -> web.Response:
        asked.append(request.headers.get("X-aws-ec2-metadata-token", ""))
        return web.Response(status=200 if has_notice and len(asked) > 2 else 404)

    app = web.Application()
    app.router.add_put("/latest/api/token", token)
    app.router.add_get("/latest/meta-data/spot/instance-action", notice)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"http://127.0.0.1:{port}")
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED", raising=False)
    try:
        with anyio.move_on_after(PATIENCE_S) as scope:

            async def sleep(_: float) -> None:
                if len(asked) > 5:
                    scope.cancel()  # a notice would have been seen by then
                await anyio.sleep(0.001)

            await wait_notice(sleep, anyio.current_time)
        assert scope.cancelled_caught is not has_notice
        assert set(asked) == {"secret"}
    finally:
        await runner.cleanup()


ODD_TOKENS = {
    "line break": web.Response(body=b"secret\r\nX-Injected: 1"),
    "no text": web.Response(body=b"\xff\xfe"),
    "empty": web.Response(body=b""),
    "a page": web.Response(body=b"<html>sign in</html>"),
    "too long": web.Response(body=b"x" * 100_000),
}


@pytest.mark.parametrize("name", [*ODD_TOKENS, "redirect"])
async def test_what_is_no_metadata_service_is_not_asked(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever answers in its place: nothing it says is sent on, no redirect is followed, and the worker goes on."""
    asked: list[str] = []

    async def answer(request: web.BaseRequest) -> web.Response:
        asked.append(request.path)
        if request.path != "/latest/api/token":
            return web.Response(status=200)
        return ODD_TOKENS.get(name) or web.Response(status=307, headers={"Location": "/elsewhere"})

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"http://127.0.0.1:{port}")
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED", raising=False)
    try:
        with anyio.move_on_after(PATIENCE_S) as scope:

            async def sleep(_: float) -> None:
                scope.cancel()  # it waits: for the next question, or for ever
                await anyio.sleep_forever()

            await wait_notice(sleep, anyio.current_time)
        assert scope.cancelled_caught
        assert asked == ["/latest/api/token"]
    finally:
        await runner.cleanup()


async def test_what_is_no_ray_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A port at which something else listens: exit 4 with the address; Ray itself would wait for minutes."""
    is_over = threading.Event()
    forgotten: list[bool] = []
    monkeypatch.setattr(ray_fleet, "_JOIN_S", 0.05)
    monkeypatch.setattr(ray_connection, "connect", lambda *_: is_over.wait(60.0))
    monkeypatch.setattr(ray_connection, "forget", lambda: forgotten.append(True))
    try:
        with pytest.raises(AccessError, match=r"127\.0\.0\.1:8265") as found:
            await ray_fleet._joined("127.0.0.1:8265", {})
    finally:
        is_over.set()
    assert found.value.exit_code == 4
    assert forgotten


class RayTaskError(Exception):
    """As Ray names what a method of an actor has raised."""


@pytest.mark.parametrize(
    ("error", "named"),
    [
        (
            RayTaskError("ray::opened() (pid=1)\n  File x\nmsgspec.ValidationError: no field `x`"),
            "ValidationError: no f",
        ),
        (Exception("The actor died because of an error raised in its creation task, y\nTypeError: z"), "TypeError: z"),
        (Exception("RuntimeError: failed to import\nModuleNotFoundError: No module named 'asyncfilter'"), "No module"),
        (Exception("The actor is dead because its node has died."), None),
        (Exception("The actor is temporarily unavailable: RpcError"), None),
    ],
)
def test_a_worker_of_another_version_is_told_from_one_that_ended(error: Exception, named: str | None) -> None:
    """Another version may fail at anything when it starts: exit 2, at once and not when the wait is over."""
    found = rays._unfit(error)
    assert (found is None) == (named is None)
    if found is not None and named is not None:
        assert named in found.message
        assert found.exit_code == 2
