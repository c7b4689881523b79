"""Deadlines after the process stood still: what has arrived is read before anything expires, with every client."""

from __future__ import annotations

import asyncio
import socketserver
import ssl
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from asyncfilter.aws import open_aws
from asyncfilter.aws.clients.boto import BotoDetect
from asyncfilter.aws.clients.http import HttpRequest, NoConnectionError, Pool, Proxied
from asyncfilter.aws.clients.http.message import SMALL
from asyncfilter.aws.deadline import Deadline, fail_after
from asyncfilter.job.spec import Aws, DetectorSpec
from tests.kit.services import aws_settings

TIMEOUT_S = 0.6
LATENCY_S = 0.15
STILL_S = 1.2
BODIES = {"small": b'{"Labels": []}', "large": b'{"Labels": [' + b" " * 3_000_000 + b"]}"}


class Answers(socketserver.BaseRequestHandler):
    """Answers each request on a connection after a while."""

    def handle(self) -> None:
        """One connection."""
        received = b""
        while part := self.request.recv(65536):
            received += part
            if b"\r\n\r\n" in received:
                received = b""
                time.sleep(LATENCY_S)
                self.request.sendall(self.server.answer)  # type: ignore[attr-defined]


@contextmanager
def answering(body: bytes) -> Iterator[str]:
    """A server in a thread, which goes on while the loop of the test stands still; yields its origin."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Answers) as server:
        server.daemon_threads = True
        server.block_on_close = False
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.1\r\nContent-Length: {len(body)}\r\n\r\n"
        server.answer = head.encode() + body  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()


def stop_like_a_signal() -> None:
    """Stand still in the wait for sockets, which then ends without a result, as after SIGSTOP and SIGCONT."""
    selector: Any = asyncio.get_running_loop()._selector  # type: ignore[attr-defined]
    real = selector.select

    def select(timeout: float | None = None) -> list[Any]:
        del selector.select
        real(0)
        time.sleep(STILL_S)
        return []

    selector.select = select


def block_the_loop() -> None:
    """Stand still in a callback: the next wait for sockets returns at once, together with the timers."""
    time.sleep(STILL_S)


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


@pytest.mark.parametrize("size", BODIES)
@pytest.mark.parametrize("stand_still", [stop_like_a_signal, block_the_loop])
@pytest.mark.parametrize("client", ["pool", "proxied", "aioboto3"])
async def test_a_response_that_came_while_the_process_stood_still_is_read(
    client: str, stand_still: Callable[[], None], size: str
) -> None:
    """The deadline has passed when the process goes on; the response is in the socket, and is the result."""

    async def use(exchange: Exchange) -> None:
        await exchange()  # the connection is there, so that the next request is sent at once
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(exchange)
            await anyio.sleep(LATENCY_S / 2)
            stand_still()

    with answering(BODIES[size]) as origin, settings_for(origin):
        await through(client, origin, use)


@pytest.mark.parametrize("stand_still", [stop_like_a_signal, block_the_loop, lambda: None])
async def test_what_does_not_come_expires_all_the_same(stand_still: Callable[[], None]) -> None:
    """A deadline is put off by a moment, not for ever."""

    async def wait() -> None:
        with fail_after(0.05):
            stand_still()
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
    Deadline(asyncio.get_running_loop().time() + 0.01, expired.append)
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
