"""Deadlines after the process stood still: what has arrived is read before anything expires, with every client."""

from __future__ import annotations

import asyncio
import socketserver
import ssl
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from asyncfilter.aws import open_aws
from asyncfilter.aws.clients.boto import BotoDetect
from asyncfilter.aws.clients.http import HttpRequest, NoConnectionError, Pool, Proxied
from asyncfilter.aws.clients.http.message import SMALL
from asyncfilter.aws.deadline import GRACE_S, Deadline, fail_after
from asyncfilter.job.spec import Aws, DetectorSpec
from tests.kit.services import aws_settings

TIMEOUT_S = 30.0
AWAY_S = 60.0
"""By so much the loop's clock goes on while the loop stands still: no machine is so slow that it needs the timeout."""
STILL_S = 0.2
"""For so long it really stands still, in which answers come into the sockets."""
BODIES = {"small": b'{"Labels": []}', "large": b'{"Labels": [' + b" " * 3_000_000 + b"]}"}


class Server(socketserver.ThreadingTCPServer):
    """Answers while ``goes`` is set; counts the requests that came, and the answers of which a part was sent."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, answer: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.answer = answer
        self.goes = threading.Event()
        self.goes.set()
        self.came, self.went = threading.Semaphore(0), threading.Semaphore(0)
        self.origin = f"http://127.0.0.1:{self.server_address[1]}"


class Answers(socketserver.BaseRequestHandler):
    """Answers each request on a connection."""

    server: Server

    def handle(self) -> None:
        """One connection."""
        received = b""
        while part := self.request.recv(65536):
            received += part
            if b"\r\n\r\n" in received:
                received = b""
                self.server.came.release()
                self.server.goes.wait()
                sent = self.request.send(self.server.answer)
                self.server.went.release()
                self.request.sendall(self.server.answer[sent:])


@contextmanager
def answering(body: bytes) -> Iterator[Server]:
    """A server in a thread, which goes on while the loop of the test stands still."""
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.1\r\nContent-Length: {len(body)}\r\n\r\n"
    with Server(head.encode() + body) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()


Meanwhile = Callable[[], object]


def stand(meanwhile: Meanwhile) -> None:
    """Let time pass for the loop, in which something is done."""
    loop = asyncio.get_running_loop()
    real = loop.time
    meanwhile()
    time.sleep(STILL_S)
    loop.time = lambda: real() + AWAY_S  # type: ignore[method-assign]


def stop_like_a_signal(meanwhile: Meanwhile) -> None:
    """Stand still in the wait for sockets, which then ends without a result, as after SIGSTOP and SIGCONT."""
    selector: Any = asyncio.get_running_loop()._selector  # type: ignore[attr-defined]
    real = selector.select

    def select(timeout: float | None = None) -> list[Any]:
        del selector.select
        real(0)
        stand(meanwhile)
        return []

    selector.select = select


def block_the_loop(meanwhile: Meanwhile) -> None:
    """Stand still in a callback: the next wait for sockets returns at once, together with the timers."""
    stand(meanwhile)


Exchange = Callable[[], Coroutine[Any, Any, object]]


@contextmanager
def settings_for(origin: str) -> Iterator[None]:
    """Let the clients of AWS connect to ``origin``."""
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "us-east-1"}
    with aws_settings(AWS_ENDPOINT_URL=origin, **keys):
        yield


async def through(client: str, origin: str, use: Callable[[Exchange], Awaitable[None]]) -> None:
    """Call ``use`` with a function that makes one exchange through a client."""
    tls = ssl.create_default_context()
    request = HttpRequest("GET", "/", {"host": "x"})
    if client == "pool":
        pool = Pool(tls, timeout_s=TIMEOUT_S)
        try:
            await use(lambda: pool.exchange(origin, request.encode(), SMALL, is_repeatable=False))
        finally:
            await pool.aclose()
    elif client == "proxied":
        proxied = Proxied(tls, timeout_s=TIMEOUT_S)
        try:
            await use(
                lambda: proxied.exchange("http://aws.invalid", origin, HttpRequest("GET", "/", {"host": "x"}), SMALL)
            )
        finally:
            await proxied.aclose()
    else:
        async with open_aws(Aws(), timeout_s=TIMEOUT_S, connections=4) as session:
            detect = BotoDetect(session, await session.client("rekognition", "us-east-1"), DetectorSpec())
            await use(lambda: detect("bucket", "key"))


async def three(exchange: Exchange, server: Server, then: Meanwhile) -> None:
    """Make three exchanges at once, and call ``then`` when all requests have come."""
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(exchange)
        for _ in range(3):
            while not server.came.acquire(blocking=False):  # noqa: ASYNC110  of another thread
                await anyio.sleep(0.005)
        then()


@pytest.mark.parametrize("size", BODIES)
@pytest.mark.parametrize("stand_still", [stop_like_a_signal, block_the_loop])
@pytest.mark.parametrize("client", ["pool", "proxied", "aioboto3"])
async def test_a_response_that_came_while_the_process_stood_still_is_read(
    client: str, stand_still: Callable[[Meanwhile], None], size: str
) -> None:
    """The deadline has passed when the process goes on; the response is in the socket, and is the result."""

    def answer(server: Server) -> None:
        server.goes.set()
        for _ in range(3):
            server.went.acquire()

    async def use(exchange: Exchange) -> None:
        await exchange()
        assert server.came.acquire(blocking=False)
        server.went.acquire()
        server.goes.clear()
        await three(exchange, server, lambda: stand_still(partial(answer, server)))

    with answering(BODIES[size]) as server, settings_for(server.origin):
        await through(client, server.origin, use)


@pytest.mark.parametrize("stand_still", [stop_like_a_signal, block_the_loop])
@pytest.mark.parametrize("client", ["pool", "proxied", "aioboto3"])
async def test_a_response_may_take_its_time_after_the_process_stood_still(
    client: str, stand_still: Callable[[Meanwhile], None]
) -> None:
    """The deadline has passed when the process goes on; the request may just have been sent, and gets its time."""

    def answer_late(server: Server) -> None:
        threading.Timer(STILL_S + 3 * GRACE_S, server.goes.set).start()

    async def use(exchange: Exchange) -> None:
        await exchange()
        assert server.came.acquire(blocking=False)
        server.goes.clear()
        await three(exchange, server, lambda: stand_still(partial(answer_late, server)))

    with answering(BODIES["small"]) as server, settings_for(server.origin):
        await through(client, server.origin, use)


@pytest.mark.parametrize("stand_still", [stop_like_a_signal, block_the_loop, lambda _: None])
async def test_what_does_not_come_expires_all_the_same(stand_still: Callable[[Meanwhile], None]) -> None:
    """A deadline is put off once, not for ever."""

    async def wait() -> None:
        with fail_after(0.05):
            stand_still(lambda: None)
            await anyio.sleep_forever()

    with pytest.raises(TimeoutError):
        await wait()


async def test_a_block_that_ends_in_time_is_not_cancelled_later() -> None:
    """Nothing of a deadline stays behind."""
    with fail_after(0.02):
        await anyio.lowlevel.checkpoint()
    await anyio.sleep(0.1)


async def test_a_loop_that_is_always_late_puts_nothing_off_for_ever() -> None:
    """A program that blocks its loop again and again still gets its timeouts."""
    expired: list[float] = []
    Deadline(asyncio.get_running_loop().time() + 0.01, 0.01, expired.append)
    for _ in range(20):
        time.sleep(0.4)  # noqa: ASYNC251  the point of the test
        await anyio.lowlevel.checkpoint()
        await anyio.lowlevel.checkpoint()
        if expired:
            break
    await anyio.sleep(0.05)
    assert expired


async def test_an_outer_cancellation_is_not_a_timeout() -> None:
    """The cancellation of the task passes through as one."""
    with anyio.move_on_after(0.02) as scope:
        with fail_after(30):
            await anyio.sleep_forever()
    assert scope.cancelled_caught


async def test_no_connection_in_time_is_no_connection() -> None:
    """Also after the process stood still: nothing was sent, and nothing counts as billed."""
    with socketserver.TCPServer(("127.0.0.1", 0), socketserver.BaseRequestHandler) as silent:
        pool = Pool(ssl.create_default_context(), timeout_s=0.1)
        with pytest.raises(NoConnectionError):
            await pool.exchange(f"https://127.0.0.1:{silent.server_address[1]}", b"", SMALL, is_repeatable=False)
        await pool.aclose()
