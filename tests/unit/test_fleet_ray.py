"""The part of a fleet that talks to Ray, with a Ray that is a few functions: what it asks, and how it is left."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import anyio
import anyio.to_thread
import pytest

from asyncfilter.clock import SystemClock
from asyncfilter.engine.core.run_context import RunContext
from asyncfilter.errors import AccessError, WaitEndedError
from asyncfilter.events import Event, FleetAwaited
from asyncfilter.fleet import own_ray, ray_connection, rays
from asyncfilter.fleet.auth_probe import needs_no_token
from asyncfilter.fleet.own_ray import OwnRay
from asyncfilter.fleet.rays import PerWorker, RayHub, RayWire
from asyncfilter.fleet.wires import Loss, WireLostError, WorkerFaultError
from asyncfilter.job.spec import Cluster
from asyncfilter.wiring import ray_fleet
from asyncfilter.wiring.fleet import Parts
from tests.kit import jobs

NODE = "n" * 8


class Actor:
    """An actor's handle."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.opened = SimpleNamespace(remote=self._opened)
        self.give = self.take = self.exchange = SimpleNamespace(remote=self._give)
        self.error = RuntimeError("The actor is unavailable: Socket closed")
        self._actor_id = SimpleNamespace(hex=lambda: name)

    async def _opened(self) -> bytes:
        return b""

    async def _give(self, _session: str) -> bytes:
        raise self.error


class Ray:
    """What ``RayHub`` uses of the module ``ray``."""

    def __init__(self) -> None:
        self.actors: dict[str, Actor] = {}
        self.killed: list[str] = []
        self.pid = 1
        self.nodes_alive = True
        self.stands_still = threading.Event()
        self.goes_on = threading.Event()
        self.util = SimpleNamespace(list_named_actors=self._listed)
        self._private = SimpleNamespace(state=SimpleNamespace(actors=self._actor))

    def _listed(self) -> list[str]:
        if self.stands_still.is_set():
            self.goes_on.wait(30)
        return list(self.actors)

    def _actor(self, _id: str) -> dict[str, Any]:
        return {"Pid": self.pid, "State": "ALIVE", "Address": {"NodeID": NODE}}

    def get_actor(self, name: str) -> Actor:
        """An actor by its name."""
        if name not in self.actors:
            raise ValueError(name)
        return self.actors[name]

    def kill(self, actor: Actor, *, no_restart: bool) -> None:
        """End an actor for good."""
        assert no_restart
        self.killed.append(actor.name)
        self.actors.pop(actor.name, None)

    def nodes(self) -> list[dict[str, Any]]:
        """The nodes."""
        return [{"NodeID": NODE, "Alive": self.nodes_alive}]

    def remote(self, _class: type) -> Any:
        """What starts an actor with some options."""

        def options(*, name: str, **_: Any) -> Any:
            def start(*_: Any) -> Actor:
                return self.actors.setdefault(name, Actor(name))

            return SimpleNamespace(remote=start)

        return SimpleNamespace(options=options)


class Worker:
    """The class of the actors."""

    def take(self) -> None:
        """See ``ExaminerActor``."""


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> Ray:
    """In place of the module."""
    made = Ray()
    monkeypatch.setattr(ray_connection, "import_ray", lambda: made)
    monkeypatch.setattr(ray_connection._state, "has_ended", False)
    monkeypatch.setattr(rays, "_FATE_S", 0.05)
    return made


@contextmanager
def listening() -> Iterator[str]:
    """The address of a port that takes connections."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def hub_of(address: str, most: int = 2, replaced: tuple[str, ...] = ()) -> RayHub:
    """A hub of so many workers."""
    return RayHub(
        Worker, b"", name="a-1", family="a-", replaced=replaced, address=address, most=most, per_worker=PerWorker()
    )


async def test_workers_of_a_former_head_are_left_and_those_that_were_started_end(ray: Ray) -> None:
    """A head that has not heard them out ends only what it is told to end."""
    ray.actors["a-1-1"] = Actor("a-1-1")
    with listening() as address:
        hub = hub_of(address)
        names = {(await hub.next()).name, (await hub.next()).name}
        assert names == {"a-1-1", "a-1-2"}
        assert await hub.former() == ["a-1-1"]
        assert hub.started == {"a-1-2"}
        await hub.leave(hub.started)
    assert ray.killed == ["a-1-2"]
    assert hub.is_left


async def test_a_head_that_found_no_workers_leaves_none(ray: Ray) -> None:
    """So a run that fails at its start stops the Ray that it started."""
    with listening() as address:
        hub = hub_of(address)
        await hub.next()
        await hub.leave(hub.started)
    assert not hub.is_left
    assert not ray.actors


async def test_at_the_end_all_are_ended(ray: Ray) -> None:
    """Those that were there, too; and workers of a former job at once."""
    ray.actors |= {name: Actor(name) for name in ("a-0-1", "a-1-1", "other")}
    with listening() as address:
        hub = hub_of(address)
        await hub.next()
        assert ray.killed == ["a-0-1"]
        await hub.close()
    assert not hub.is_left
    assert set(ray.actors) == {"other"}


async def test_a_ray_that_has_ended_is_told_while_it_answers_nothing(ray: Ray, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its calls block for a minute and longer, once its head is gone; nobody waits for them."""
    monkeypatch.setattr(rays, "_GONE_S", 0.1)
    monkeypatch.setattr(rays, "_LOOK_S", 0.02)
    with listening() as address:
        hub = hub_of(address, most=1)
        await hub.next()
        ray.stands_still.set()
    try:
        with pytest.raises(WaitEndedError, match="has ended"):
            await asyncio.wait_for(hub.next(), 20)
        await hub.close()
    finally:
        ray.goes_on.set()


async def test_a_ray_that_fails_once_is_asked_again(ray: Ray, monkeypatch: pytest.MonkeyPatch) -> None:
    """One error ends no search for workers."""
    monkeypatch.setattr(rays, "_LOOK_S", 0.01)
    found, failures = ray.util.list_named_actors, iter([RuntimeError("once"), RuntimeError("twice")])

    def listed() -> list[str]:
        for error in failures:
            raise error
        return cast("list[str]", found())

    ray.util.list_named_actors = listed
    with listening() as address:
        hub = hub_of(address, most=1)
        assert (await asyncio.wait_for(hub.next(), 20)).name == "a-1-1"
        await hub.close()


@pytest.mark.parametrize(
    ("pid", "nodes_alive", "reason"), [(1, True, Loss.CONNECTION), (2, True, Loss.PROCESS), (2, False, Loss.NODE)]
)
async def test_why_a_worker_was_lost(ray: Ray, pid: int, nodes_alive: bool, reason: Loss) -> None:
    """Ray says "unavailable" for a cut connection, an ended process and a dead node alike."""
    ray.actors["a-1-1"] = actor = Actor("a-1-1")
    hub = hub_of("127.0.0.1:1")
    wire = RayWire(hub, actor.name, actor, hub.life(actor))
    ray.pid, ray.nodes_alive = pid, nodes_alive
    with pytest.raises(WireLostError) as caught:
        await wire.receive("session")
    assert (caught.value.reason, caught.value.is_final) == (reason, False)


class Calls:
    """An actor that notes its calls, and answers each when it is told to."""

    def __init__(self) -> None:
        self.made: list[tuple[str, tuple[object, ...]]] = []
        self.replies: list[asyncio.Future[bytes]] = []

    def __getattr__(self, name: str) -> Any:
        if name not in {"take", "give", "exchange"}:
            raise AttributeError(name)

        def called(*arguments: object) -> asyncio.Future[bytes] | None:
            self.made.append((name, arguments))
            if name == "take":
                return None
            self.replies.append(asyncio.get_running_loop().create_future())
            return self.replies[-1]

        return SimpleNamespace(remote=called)


async def _until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110  what it looks at has no event
            await asyncio.sleep(0)


def _has(frames: list[bytes], count: int) -> bool:
    return len(frames) == count


async def test_one_call_brings_a_frame_and_waits_for_the_next_one(ray: Ray, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call of Ray takes the head longer than what is in a frame; at no time do two calls wait at one worker."""
    monkeypatch.setattr(rays, "BATCH_S", 60)
    calls = Calls()
    wire = RayWire(hub_of("127.0.0.1:1"), "a-1-1", calls, None)
    await wire.send(b"greeting")
    assert calls.made == [("take", (b"greeting",))]
    frames: list[bytes] = []

    async def receive() -> None:
        while True:
            frames.append(await wire.receive("s1"))

    receiving = asyncio.create_task(receive())
    await asyncio.sleep(0)
    for number in range(3):
        await wire.send(b"asks")
        await wire.send(b"more")
        assert calls.made[-2:] == [("exchange", (b"asks", "s1")), ("take", (b"more",))]
        calls.replies[-1].set_result(b"answers")
        await _until(partial(_has, frames, number + 1))
    monkeypatch.setattr(rays, "BATCH_S", 0)
    await wire.send(b"asks")
    calls.replies[-1].set_result(b"answers")
    await _until(lambda: calls.made[-1] == ("give", ("s1",)))
    assert frames == [b"answers"] * 4
    receiving.cancel()


async def test_what_a_former_session_has_asked_for_is_left(ray: Ray, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its call may fail with the connection, which must not end the session that follows."""
    monkeypatch.setattr(rays, "BATCH_S", 0)
    calls = Calls()
    wire = RayWire(hub_of("127.0.0.1:1"), "a-1-1", calls, None)
    former = asyncio.create_task(wire.receive("s1"))
    await _until(lambda: calls.replies)
    former.cancel()
    await asyncio.wait([former])
    await wire.send(b"greeting")  # still in the name of the former one, as long as nobody receives for the next
    later = asyncio.create_task(wire.receive("s2"))
    await _until(lambda: calls.made[-1] == ("give", ("s2",)))
    for reply in calls.replies[:-1]:
        reply.cancel()
    calls.replies[-1].set_result(b"hello")
    assert await later == b"hello"


async def test_an_actor_that_lacks_a_call_is_of_another_version(ray: Ray) -> None:
    """It is told like one that fails at its start, and not waited for."""
    ray.actors["a-1-1"] = actor = Actor("a-1-1")
    del actor.exchange
    with listening() as address:
        hub = hub_of(address, most=1)
        with pytest.raises(WorkerFaultError) as caught:
            await asyncio.wait_for(hub.next(), 20)
        assert "no asyncfilter that fits" in str(caught.value.error)
        await hub.close()


async def test_ray_is_not_left_while_a_thread_asks_it(ray: Ray, monkeypatch: pytest.MonkeyPatch) -> None:
    """That would abort the process. A thread that goes on is not waited for, and nobody asks after the end."""
    left: list[bool] = []
    monkeypatch.setattr(ray_connection, "REACH_S", 0.2)
    monkeypatch.setattr(ray, "shutdown", lambda: left.append(True), raising=False)
    ray_connection._calls.begin()
    try:
        ray.stands_still.set()
        with anyio.move_on_after(0.05):
            await ray_connection.ask_ray(ray.util.list_named_actors)
        await anyio.to_thread.run_sync(ray_connection.disconnect)
        assert (left, ray_connection._state.has_ended) == ([], True)
        ray_connection._state.has_ended = False
        ray.goes_on.set()
        await anyio.to_thread.run_sync(ray_connection.disconnect)
        assert left == [True]
        with pytest.raises(WireLostError):
            await ray_connection.ask_ray(ray.util.list_named_actors)
    finally:
        ray.goes_on.set()
        ray_connection._calls.begin()


class Own:
    """A Ray of our own."""

    def __init__(self) -> None:
        self.address = "127.0.0.1:1"
        self.is_kept = self.is_joined = False
        self.ends = 0

    def environment(self) -> dict[str, str]:
        """See ``OwnRay``."""
        return {}

    def end(self, *, is_joined: bool = False) -> None:
        """See ``OwnRay``."""
        self.ends += 1
        self.is_joined = is_joined


def parts(events: list[Event]) -> Parts:
    """Parts of a run of which only the listener is used."""
    context = RunContext(run_id="1", emit=events.append, clock=SystemClock())
    return Parts(cast("Any", None), cast("Any", None), context)


@pytest.mark.usefixtures("ray")
async def test_where_a_ray_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """RAY_ADDRESS, then one that a killed run has left, then one of this machine, then a new one; each is told."""
    own, other = Own(), Own()
    left: list[Own] = [own]
    running = ["127.0.0.1:2"]
    monkeypatch.setattr(OwnRay, "found", lambda _: left[0] if left else None)
    monkeypatch.setattr(OwnRay, "start", lambda *_, **__: other)
    monkeypatch.setattr(ray_connection, "running_address", lambda: running[0] if running else None)
    monkeypatch.setattr(ray_connection, "connect", lambda *_: None)
    monkeypatch.setattr(ray_connection, "disconnect", lambda: None)
    other.address = "127.0.0.1:3"
    job = jobs.make_job(base_dir=tmp_path)

    async def connected(cluster: Cluster) -> tuple[str, object, list[str]]:
        events: list[Event] = []
        async with AsyncExitStack() as stack:
            found = await ray_fleet._connected(job, cluster, stack, parts(events))
        return found.address, found.own, [event.message for event in events if isinstance(event, FleetAwaited)]

    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    assert await connected(Cluster()) == ("head:6379", None, ["joining the Ray"])
    assert (await connected(Cluster(address="other:6379")))[0] == "other:6379"
    monkeypatch.delenv("RAY_ADDRESS")
    assert await connected(Cluster()) == (own.address, own, ["joining the Ray"])
    left.clear()
    assert (await connected(Cluster()))[:2] == ("127.0.0.1:2", None)
    running.clear()
    assert await connected(Cluster()) == (other.address, other, ["starting a Ray here", "joining the Ray"])
    assert (own.ends, own.is_joined) == (1, False)


@pytest.mark.usefixtures("ray")
def test_a_ray_that_was_started_is_stopped_though_nobody_has_looked_for_workers() -> None:
    """It has none of a former head; one that was found goes on while such workers may live."""
    hub = hub_of("127.0.0.1:1")
    hub.is_left = True  # as after ``leave`` before the first look
    started, found = Own(), Own()
    found.is_kept = True
    for own in (started, found):
        ray_fleet._keep_if_left(cast("Any", own), hub)
    assert (started.is_kept, found.is_kept) == (False, True)
    hub.is_left = False
    ray_fleet._keep_if_left(cast("Any", found), hub)
    assert not found.is_kept


async def test_workers_that_are_of_no_use_are_told(ray: Ray, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is paid; those of other checkpoints stay, and are named where no worker comes."""
    ray.actors |= {name: Actor(name) for name in ("a-0-1", "a-0-2", "b-1-1", "c-1-1", "c-1-2")}
    with listening() as address:
        hub = hub_of(address, replaced=("b-",))
        told: list[str] = []
        monkeypatch.setattr(ray_fleet, "_with_caution", lambda _, message: told.append(message))
        await ray_fleet._with_ended_told(hub, parts([]))
        assert [message.split(" of ")[0] for message in told] == ["ended: 2 workers", "ended: 1 worker"]
        await hub.next()
        assert sorted(ray.killed) == ["a-0-1", "a-0-2", "b-1-1"]
        error = await ray_fleet._explained(hub, WaitEndedError("only 0 of 1 workers came"))
        assert "the cluster has 2 workers of other checkpoints" in error.message
        await hub.close()


async def test_interrupt_while_our_ray_is_joined_ends_it(ray: Ray, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupt does not wait for a Ray that does not answer, and leaves none behind."""
    own, over, joining = Own(), threading.Event(), threading.Event()

    def connect(*_: object) -> None:
        joining.set()
        over.wait(30)

    monkeypatch.setattr(ray_fleet, "_found", lambda _: ray_fleet._Cluster(own.address, cast("Any", own)))
    monkeypatch.setattr(ray_connection, "connect", connect)
    try:
        with anyio.CancelScope() as scope:
            asyncio.get_running_loop().call_later(0.05, scope.cancel)
            async with AsyncExitStack() as stack:
                await ray_fleet._connected(jobs.make_job(), Cluster(), stack, parts([]))
        assert scope.cancelled_caught
        assert joining.is_set()
        assert (own.ends, own.is_joined) == (1, True)
        assert ray_connection._state.has_ended
    finally:
        over.set()


@pytest.mark.parametrize(
    ("frames", "is_open"),
    [
        (b"\0\0\1\1\4\0\0\0\1\x88" + b"\0\0\5\0\0\0\0\0\1" + bytes(5), True),
        (b"\0\0\1\1\5\0\0\0\1\x88", False),
        (b"\0\0\x08\7\0\0\0\0\0" + bytes(8), False),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", False),
        (b"\0\0\5\0\0\0\0\0\1", False),
        (b"", False),
    ],
)
def test_whether_a_ray_wants_a_token(frames: bytes, is_open: bool) -> None:
    """Only a call that is allowed is answered with a message; whatever else comes is no reason for a caution."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            way, _ = server.accept()
            with way, suppress(OSError):
                way.sendall(b"\0\0\0\4\0\0\0\0\0" + frames)  # settings first
                way.shutdown(socket.SHUT_WR)
                while way.recv(4096):
                    pass

        thread = threading.Thread(target=answer)
        thread.start()
        assert needs_no_token(f"127.0.0.1:{server.getsockname()[1]}") is is_open
        thread.join(10)
    assert not needs_no_token("127.0.0.1:1")
    assert not needs_no_token("nothing")


@pytest.mark.usefixtures("ray")
async def test_sigterm_while_ray_is_joined_is_not_rays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray puts its handler beneath Python's some time before it has answered."""
    seen = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda *_: seen.set())
    beneath = ctypes.CDLL(None).signal
    beneath.argtypes, beneath.restype = (ctypes.c_int, ctypes.c_void_p), ctypes.c_void_p

    def connect(*_: object) -> None:
        beneath(signal.SIGTERM, int(signal.SIG_IGN))
        while not seen.wait(0.05):
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(ray_connection, "connect", connect)
    try:
        with anyio.fail_after(20):
            await ray_fleet._joined("127.0.0.1:1", {})
    finally:
        seen.set()
        signal.signal(signal.SIGTERM, before)


def test_a_handler_beneath_that_of_python_is_replaced() -> None:
    """Ray puts one there when it is joined, of which Python knows nothing."""
    seen: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _frame: seen.append(number))
    beneath = ctypes.CDLL(None).signal
    beneath.argtypes, beneath.restype = (ctypes.c_int, ctypes.c_void_p), ctypes.c_void_p
    try:
        beneath(signal.SIGTERM, int(signal.SIG_IGN))
        os.kill(os.getpid(), signal.SIGTERM)
        assert not seen
        ray_connection.take_sigterm_back()
        os.kill(os.getpid(), signal.SIGTERM)
        assert seen == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


async def test_why_our_ray_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What Ray has written last is told, though its folder is gone by then."""
    keeper = tmp_path / "keeper.py"
    keeper.write_text(
        "import pathlib, shutil, sys, time\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "(folder / 'log').write_text('no space left')\n"
        "time.sleep(1.5)\n"
        "shutil.rmtree(folder)\n"
    )
    monkeypatch.setattr(own_ray, "_KEEPER", keeper)
    with pytest.raises(AccessError, match="no space left"):
        await anyio.to_thread.run_sync(lambda: OwnRay.start(tmp_path / "note", cpus=1))
    assert not (tmp_path / "note").exists()
