"""The guarantees of the HTTP client, against a scripted server: answers of every kind, and every failure."""

from __future__ import annotations

import asyncio
import datetime as dt
import gc
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from enum import Enum, auto
from pathlib import Path
from typing import Any

import anyio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from asyncfilter.aws.clients.http import (
    AddressError,
    BrokenError,
    HttpRequest,
    HttpResponse,
    NoConnectionError,
    Pool,
    UnsentError,
    UntrustedError,
    connecting,
)
from asyncfilter.aws.clients.http.connection import BUFFER_BYTES, ERROR_LIMIT_BYTES, Connection
from asyncfilter.aws.clients.http.gate import sent_only_if
from asyncfilter.aws.clients.http.message import SMALL, ResponseLimit
from asyncfilter.aws.transport_errors import UnreachableError, transport_failure
from asyncfilter.errors import EndpointError, NotSentError, TransientError
from tests.kit.workspace import PATIENCE_S

TIMEOUT_S = 2.0
SHORT_S = 0.1
"""Deadline of the exchanges that are meant to reach it."""

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GET = b"GET / HTTP/1.1\r\nhost: h\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 4\r\n\r\nbody"


class Step(Enum):
    """Steps of a script other than sending bytes."""

    RESET = auto()
    CLOSE = auto()
    SILENCE = auto()
    SLOW_BYTES = auto()
    FLOOD = auto()


Script = Sequence[bytes | Step]


class Scripted:
    """A server whose nth connection plays the nth script, one step per request, then closes; bytes are sent as is."""

    def __init__(self, scripts: Sequence[Script]) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self.ended = 0
        self._scripts = list(scripts)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            for step in self._scripts.pop(0):
                head = await reader.readuntil(b"\r\n\r\n")
                body = await reader.readexactly(4) if head.startswith(b"POST") else b""
                self.requests.append(head + body)
                await self._play(step, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.ended += 1
            writer.close()

    async def _play(self, step: bytes | Step, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        match step:
            case bytes():
                writer.write(step)
            case Step.CLOSE:
                writer.close()
            case Step.RESET:
                raw = writer.get_extra_info("socket")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
            case Step.SILENCE:
                await reader.read()
            case Step.SLOW_BYTES | Step.FLOOD:
                piece = b"x" if step is Step.SLOW_BYTES else b"x: " + b"y" * 8000 + b"\r\n"
                writer.write(
                    b"HTTP/1.1 200 OK\r\n" + (b"Content-Length: 99999\r\n\r\n" if step is Step.SLOW_BYTES else b"")
                )
                while not writer.is_closing():
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(SHORT_S / 20 if step is Step.SLOW_BYTES else 0)


@asynccontextmanager
async def scripted(
    *scripts: Script, timeout_s: float = TIMEOUT_S, keepalive_s: float = 12.0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[Scripted, Pool, str]]:
    """A server, a pool, and the server's origin; checks that no connection stays open."""
    server = Scripted(scripts)
    async with await asyncio.start_server(server.serve, "127.0.0.1", ssl=tls) as listening:
        pool = Pool(ssl.create_default_context(), timeout_s=timeout_s, keepalive_s=keepalive_s)
        try:
            yield server, pool, f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        finally:
            await pool.aclose()
            assert pool.connections == 0
            gc.collect()


async def get(pool: Pool, origin: str, **options: Any) -> HttpResponse:
    """One GET, repeatable by default."""
    return await pool.exchange(origin, GET, **{"limit": SMALL, "is_repeatable": True, **options})


async def until(condition: Any) -> None:
    """Run the event loop until ``condition()`` is true."""
    with anyio.fail_after(PATIENCE_S):
        while not condition():
            await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("is_kept", [False, True])
async def test_a_request_that_may_not_be_sent_any_more(is_kept: bool) -> None:
    """Its condition is looked at once there is a connection, and not a byte is written; the next request is."""
    asked: list[int] = []
    async with scripted([OK, OK], [OK, OK]) as (server, pool, origin):
        if is_kept:
            await get(pool, origin)

        def may_send() -> bool:
            asked.append(pool.connections)
            return False

        with sent_only_if(may_send), pytest.raises(NotSentError):
            await pool.exchange(origin, POST, limit=SMALL, is_repeatable=False)
        assert asked == [1]
        assert POST not in server.requests
        with sent_only_if(lambda: True):
            assert (await get(pool, origin)).body == b"ok"


# -- Answers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (OK, (200, b"ok")),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", (200, b"")),
        (b"HTTP/1.1 204 No Content\r\n\r\n", (204, b"")),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", (304, b"")),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK, (200, b"ok")),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;a=b\r\no\r\n1\r\nk\r\n0\r\nT: v\r\n\r\n",
            (200, b"ok"),
        ),
        (b"HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\nok", (500, b"ok")),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", (200, b"ok")),
    ],
)
async def test_a_connection_whose_answer_was_whole_is_used_again(answer: bytes, expected: tuple[int, bytes]) -> None:
    """The body ends by length, last chunk or status; headers exclude those of interim answers and trailers."""
    async with scripted([answer, answer, Step.SILENCE]) as (server, pool, origin):
        for _ in range(2):
            reply = await get(pool, origin)
            assert (reply.status, reply.body) == expected
            assert reply.headers.keys() <= {"content-length", "transfer-encoding", "connection"}
        assert (server.connections, pool.connections) == (1, 1)


@pytest.mark.parametrize("length", [b"Content-Length: 0\r\n", b"Content-Length: 70000\r\n"])
async def test_an_answer_to_head_has_no_body(length: bytes) -> None:
    """The connection is used again, also by another method."""
    async with scripted([b"HTTP/1.1 200 OK\r\nETag: e\r\n" + length + b"\r\n", OK]) as (server, pool, origin):
        reply = await get(pool, origin, is_head=True)
        assert (reply.headers["etag"], reply.body) == ("e", b"")
        assert (await get(pool, origin)).body == b"ok"
        assert server.connections == 1


async def test_a_body_after_head_costs_the_connection() -> None:
    """A wrong body after HEAD must not become the answer of a later request."""
    async with scripted([OK, Step.SILENCE], [OK]) as (server, pool, origin):
        assert (await get(pool, origin, is_head=True)).body == b""
        assert (await get(pool, origin)).body == b"ok"
        assert server.connections == 2


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\n\r\nok",
    ],
)
async def test_a_connection_that_the_answer_ends_is_not_used_again(answer: bytes) -> None:
    """A connection ends by ``Connection: close``, by the HTTP version, or if the body ends with it."""
    async with scripted([answer], [answer]) as (server, pool, origin):
        for _ in range(2):
            assert (await get(pool, origin)).body == b"ok"
        assert server.connections == 2


@pytest.mark.parametrize("garbage", [b"garbage", OK, b"HTTP/1.1 100 Continue\r\n\r\n", b"\0"])
async def test_bytes_behind_an_answer_cost_the_connection_not_the_answer(garbage: bytes) -> None:
    """Unrequested bytes must not become the answer of a later request."""
    async with scripted([OK + garbage, Step.SILENCE], [OK]) as (server, pool, origin):
        for _ in range(2):
            assert (await get(pool, origin)).body == b"ok"
        assert server.connections == 2


async def test_an_idle_connection_that_receives_bytes_is_closed() -> None:
    """Load balancers send 408 before they close; it is the answer to no request."""
    late = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"
    async with scripted([OK, Step.SILENCE], [OK]) as (server, pool, origin):
        await get(pool, origin)
        (idle,) = pool._open
        idle.data_received(late)
        assert not idle.is_reusable
        assert (await get(pool, origin)).status == 200
        assert server.connections == 2


async def test_header_names_ignore_case_and_the_first_of_two_counts() -> None:
    """Header names are in lower case, as all readers of them expect."""
    answer = b"HTTP/1.1 200 OK\r\nX-Amz-Id: a\r\nx-amz-id: b\r\nContent-Length: 0\r\nOdd: \xe9\r\n\r\n"
    async with scripted([answer]) as (_, pool, origin):
        headers = (await get(pool, origin)).headers
    assert (headers["x-amz-id"], headers["odd"]) == ("a", "é")


# -- No answer ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
    ],
)
async def test_half_an_answer_is_none(answer: bytes) -> None:
    """After a partial answer the request arrived, and is not sent again, repeatable or not."""
    async with scripted([OK, answer], [OK]) as (server, pool, origin):
        await get(pool, origin)
        with pytest.raises(BrokenError) as caught:
            await get(pool, origin)
        assert not caught.value.is_silent
        assert len(server.requests) == 2


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\x16\x03\x01\x02\x00",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nokk",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
    ],
)
async def test_what_is_not_http_or_ambiguous_is_refused(answer: bytes) -> None:
    """Two lengths, a length with chunks, or another protocol is an error."""
    async with scripted([answer + b" " * 100, Step.SILENCE]) as (_, pool, origin):
        with pytest.raises(BrokenError):
            await get(pool, origin)
        await until(lambda: pool.connections == 0)


async def test_a_head_without_end_is_refused() -> None:
    """Endless headers do not fill the memory."""
    async with scripted([Step.FLOOD]) as (_, pool, origin):
        with pytest.raises(BrokenError, match="more than 65536 bytes"):
            await get(pool, origin)


async def test_an_answer_larger_than_the_request_allows_is_refused() -> None:
    """A body over the bound does not fill the memory."""
    body = b"x" * 250_000
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n" + body
    async with scripted([answer, Step.SILENCE]) as (_, pool, origin):
        with pytest.raises(BrokenError, match="more than 165536 bytes"):
            await get(pool, origin, limit=ResponseLimit(100_000))


async def test_a_longer_body_is_cut_where_the_request_allows_it() -> None:
    """A store that ignores a range costs its first bytes only, and the connection is not used again."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n" + b"x" * 250_000
    async with scripted([answer, Step.SILENCE], [OK]) as (server, pool, origin):
        reply = await get(pool, origin, limit=ResponseLimit(100_000, is_cut=True))
        assert (reply.status, len(reply.body)) == (200, 100_000)
        assert (await get(pool, origin)).status == 200
        assert server.connections == 2


async def test_the_body_of_an_error_is_always_cut() -> None:
    """An error stays the error it is, however long its page."""
    answer = b"HTTP/1.1 503 Slow Down\r\nContent-Length: 99999999\r\n\r\n" + b"x" * 250_000
    async with scripted([answer, Step.SILENCE]) as (_, pool, origin):
        reply = await get(pool, origin)
        assert (reply.status, len(reply.body)) == (503, ERROR_LIMIT_BYTES)


@pytest.mark.parametrize("step", [Step.SILENCE, Step.SLOW_BYTES])
async def test_the_deadline_is_for_the_whole_exchange(step: Step) -> None:
    """Arriving bytes do not extend it; the connection is closed at the deadline."""
    async with scripted([step], timeout_s=SHORT_S) as (server, pool, origin):
        with pytest.raises(TimeoutError):
            await get(pool, origin)
        await until(lambda: server.ended == 1)
        assert pool.connections == 0


async def test_a_deadline_that_was_met_does_no_harm_later() -> None:
    """No timer is left after an exchange: the connection is still usable long after the deadline."""
    async with scripted([OK, OK], timeout_s=SHORT_S) as (server, pool, origin):
        await get(pool, origin)
        await anyio.sleep(SHORT_S * 1.5)
        await get(pool, origin)
        assert server.connections == 1


# -- Stale connections -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [Step.RESET, Step.CLOSE])
async def test_a_repeatable_request_outlives_a_stale_connection(end: Step) -> None:
    """If the server closes when the request arrives, it is sent once more over a new connection."""
    async with scripted([OK, end], [OK]) as (server, pool, origin):
        await get(pool, origin)
        assert (await get(pool, origin)).body == b"ok"
        assert (server.connections, len(server.requests)) == (2, 3)


@pytest.mark.parametrize("end", [Step.RESET, Step.CLOSE])
async def test_a_request_that_costs_money_is_not_sent_twice(end: Step) -> None:
    """The request may have arrived; only the engine, which reserves the price, may repeat it."""
    async with scripted([OK, end], [OK]) as (server, pool, origin):
        await get(pool, origin)
        with pytest.raises(BrokenError) as caught:
            await pool.exchange(origin, POST, SMALL, is_repeatable=False)
        assert caught.value.is_silent
        assert len(server.requests) == 2


async def test_a_repetition_is_made_once_and_never_for_a_new_connection() -> None:
    """A server that closes every connection gets at most two requests, and one on a new connection."""
    async with scripted([OK, Step.CLOSE], [Step.CLOSE], [Step.CLOSE]) as (server, pool, origin):
        await get(pool, origin)
        for expected in (3, 4):
            with pytest.raises(BrokenError):
                await get(pool, origin)
            assert len(server.requests) == expected


async def test_a_connection_known_to_be_closed_costs_nothing() -> None:
    """The end was seen before the request was sent: even a paid request uses another connection."""
    async with scripted([OK], [OK]) as (server, pool, origin):
        await get(pool, origin)
        await until(lambda: pool.connections == 0)
        assert (await pool.exchange(origin, POST, SMALL, is_repeatable=False)).body == b"ok"
        assert server.connections == 2


async def test_a_repetition_does_not_try_its_luck_with_another_old_connection() -> None:
    """If one connection is stale the others may be: the repetition uses a new one."""
    async with scripted([OK, Step.CLOSE], [OK, Step.CLOSE], [OK]) as (server, pool, origin):
        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(get, pool, origin)
        await get(pool, origin)
        assert (server.connections, len(server.requests)) == (3, 4)


class FakeTransports(asyncio.Transport):
    """A transport without a network; if ``refuses``, the system accepts no bytes."""

    def __init__(self, *, refuses: bool = False) -> None:
        super().__init__()
        self.written = b""
        self.closed = False
        self._refuses = refuses

    def write(self, data: Any) -> None:
        self.written += data
        self.closed = self._refuses

    def is_closing(self) -> bool:
        return self.closed

    def abort(self) -> None:
        self.closed = True


def on_transports(transports: FakeTransports, loop: asyncio.AbstractEventLoop) -> Connection:
    """A connection over this transport."""
    made = Connection(loop, lambda _: None, memoryview(bytearray(BUFFER_BYTES)))
    made.connection_made(transports)
    return made


async def test_a_write_that_the_system_refuses_was_not_sent() -> None:
    """The request was certainly not sent, so it is not billed and may use another connection."""
    one = on_transports(FakeTransports(refuses=True), asyncio.get_running_loop())
    with pytest.raises(UnsentError):
        one.send(POST, SMALL, is_head=False)
    with pytest.raises(UnsentError):
        one.send(POST, SMALL, is_head=False)


async def test_a_server_that_sends_first_gets_no_request() -> None:
    """A server that sends bytes first is no HTTP server, and no request was sent to it."""
    one = on_transports(FakeTransports(), asyncio.get_running_loop())
    one.data_received(b"SSH-2.0-OpenSSH_9.6\r\n")
    with pytest.raises(UnsentError):
        one.send(POST, SMALL, is_head=False)


async def test_the_connection_used_last_is_used_next() -> None:
    """The newest connection is used first, so that the others become idle and close."""
    async with scripted([OK, Step.SILENCE], [OK, Step.SILENCE]) as (_, pool, origin):
        first = await pool._connect(origin, asyncio.get_running_loop().time() + 1)
        second = await pool._connect(origin, asyncio.get_running_loop().time() + 1)
        for one in (second, first):
            await pool._over(one, origin, GET, SMALL, asyncio.get_running_loop().time() + 1, is_head=False)
        assert pool._kept(origin) is first
        assert pool._kept(origin) is second
        assert pool._kept(origin) is None


async def test_idle_connections_are_closed_after_a_while() -> None:
    """The pool closes idle connections by itself, and its timer runs only while there are any."""
    async with scripted([OK, Step.SILENCE], keepalive_s=0.02) as (server, pool, origin):
        await get(pool, origin)
        await until(lambda: server.ended == 1)
        assert pool.connections == 0
        assert pool._sweep is None


async def test_a_connection_idle_for_too_long_is_not_used() -> None:
    """A connection idle for too long is not used, even if it was not closed yet."""
    async with scripted([OK, OK], [OK]) as (server, pool, origin):
        await get(pool, origin)
        (idle,) = pool._open
        idle.idle_since_s -= 13
        await get(pool, origin)
        assert server.connections == 2


# -- Cancellation ------------------------------------------------------------------------------------------------------


async def test_a_cancelled_request_takes_its_connection_with_it() -> None:
    """The answer may still arrive and must not become that of another request."""
    async with scripted([OK, Step.SILENCE], [OK, Step.SILENCE]) as (server, pool, origin):
        await get(pool, origin)
        with anyio.move_on_after(SHORT_S / 5) as scope:
            await get(pool, origin)
        assert scope.cancelled_caught
        await until(lambda: server.ended == 1)
        assert (await get(pool, origin)).body == b"ok"
        assert (server.connections, pool.connections) == (2, 1)


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_cancelling_while_connecting_leaves_nothing_open(tmp_path: Path, scheme: str) -> None:
    """Cancelled at any iteration of the loop during an exchange, nothing stays open."""
    authority, context = certificates(tmp_path)
    scripts: list[Script] = [[OK, Step.SILENCE]] * 200
    async with scripted(*scripts, tls=context if scheme == "https" else None) as (server, _, origin):
        pool = Pool(ssl.create_default_context(cafile=str(authority)), timeout_s=TIMEOUT_S)
        url = origin.replace("http://127.0.0.1", f"{scheme}://localhost")
        iterations = 0
        while not pool._idle[url]:
            iterations += 1 + iterations // 10
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(get, pool, url)
                for _ in range(iterations):
                    await anyio.lowlevel.checkpoint()
                tasks.cancel_scope.cancel()
        await pool.aclose()
        assert server.requests
        await until(lambda: server.ended == server.connections)


# -- Connecting --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("origin", "kind"),
    [
        ("http://no-such-host.invalid", NoConnectionError),
        ("ftp://127.0.0.1", AddressError),
        ("http://", AddressError),
        (f"http://{'x' * 64}.invalid", AddressError),
    ],
)
async def test_a_host_that_does_not_exist_is_no_connection(origin: str, kind: type[Exception]) -> None:
    """Nothing was sent; an invalid address has an error of its own."""
    pool = Pool(ssl.create_default_context(), timeout_s=TIMEOUT_S)
    with pytest.raises(kind):
        await get(pool, origin)


async def test_a_refused_connection_is_no_connection() -> None:
    """Nothing was sent."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        pool = Pool(ssl.create_default_context(), timeout_s=TIMEOUT_S)
        with pytest.raises(NoConnectionError):
            await get(pool, f"http://127.0.0.1:{unused.getsockname()[1]}")


async def test_a_deadline_that_passes_before_there_is_a_connection_is_no_connection() -> None:
    """During an unanswered handshake no request can have arrived."""
    async with scripted([Step.SILENCE], timeout_s=SHORT_S) as (_, pool, origin):
        with pytest.raises(NoConnectionError, match="in time"):
            await get(pool, origin.replace("http:", "https:"))


def key_usage(*, is_authority: bool) -> x509.KeyUsage:
    """The usage of a key: signing certificates, or signing during a handshake."""
    return x509.KeyUsage(
        digital_signature=not is_authority,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def certificates(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """The file of a private authority, and a server's context with its certificate for ``localhost``."""
    now = dt.datetime.now(dt.UTC)
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in ("authority", "leaf")]
    made = []
    for own in (0, 1):
        builder = (
            x509.CertificateBuilder()
            .subject_name(names[own])
            .issuer_name(names[0])
            .public_key(keys[own].public_key())
            .serial_number(own + 1)
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=not own, path_length=None), critical=True)
            # Python 3.13 requires these of a trusted chain.
            .add_extension(key_usage(is_authority=not own), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(keys[own].public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(keys[0].public_key()), critical=False)
        )
        if own:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        made.append(builder.sign(keys[0], hashes.SHA256()).public_bytes(Encoding.PEM))
    authority, leaf = folder / "authority.pem", folder / "leaf.pem"
    authority.write_bytes(made[0])
    leaf.write_bytes(made[1] + keys[1].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(leaf)
    return authority, context


async def test_tls_checks_authority_and_host(tmp_path: Path) -> None:
    """The private authority's server is trusted under its name, sent by SNI, and under no other."""
    authority, context = certificates(tmp_path)
    asked: list[str | None] = []
    context.sni_callback = lambda _, name, __: asked.append(name)
    trusted = ssl.create_default_context(cafile=str(authority))
    async with scripted([OK, Step.RESET], [OK], [], [], tls=context) as (server, other, origin):
        port = origin.rpartition(":")[2]
        pool = Pool(trusted, timeout_s=TIMEOUT_S)
        for _ in range(2):
            assert (await get(pool, f"https://localhost:{port}")).body == b"ok"
        assert (asked[0], len(server.requests)) == ("localhost", 3)
        with pytest.raises(UntrustedError, match="match"):
            await get(pool, f"https://127.0.0.1:{port}")
        with pytest.raises(UntrustedError):
            await get(other, f"https://localhost:{port}")
        await pool.aclose()
        assert pool.connections == 0


def test_uvloop_serves_as_well() -> None:
    """Programs that call the engine on a loop of their own may use uvloop."""

    async def exchange() -> None:
        async with scripted([OK, OK, Step.SILENCE]) as (server, pool, origin):
            for _ in range(2):
                assert (await get(pool, origin)).body == b"ok"
            with anyio.move_on_after(SHORT_S / 5):
                await get(pool, origin)
            assert server.connections == 1

    anyio.run(exchange, backend_options={"use_uvloop": True})


async def test_the_next_address_is_tried_when_one_fails_or_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Address families alternate; connections that lost the race are closed."""
    monkeypatch.setattr(connecting, "_NEXT_AFTER_S", 0.01)
    loop = asyncio.get_running_loop()
    tried: list[tuple[object, ...]] = []

    async def connect(_: socket.socket, address: tuple[object, ...]) -> None:
        tried.append(address)
        if address[0] == "slow":
            await anyio.sleep_forever()
        if address[0] == "refused":
            raise ConnectionRefusedError(address[0])

    def resolved(*names: str) -> None:
        async def getaddrinfo(*_: object, **__: object) -> list[connecting.Address]:
            families = {"6": socket.AF_UNIX}  # any other family: not every machine has IPv6
            return [(families.get(n[-1], socket.AF_INET), socket.SOCK_STREAM, 0, "", (n.strip("6"), 1)) for n in names]

        monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)
        tried.clear()

    monkeypatch.setattr(loop, "sock_connect", connect)
    resolved("slow6", "slow6", "refused", "good")
    (await connecting.connected("h", 1)).close()
    assert [address[0] for address in tried] == ["slow", "refused", "slow", "good"]
    monkeypatch.setattr(connecting, "_NEXT_AFTER_S", 10 * PATIENCE_S)
    with anyio.fail_after(PATIENCE_S):
        resolved("refused", "good")
        (await connecting.connected("h", 1)).close()
    resolved("refused", "refused6")
    with pytest.raises(ConnectionRefusedError):
        await connecting.connected("h", 1)
    monkeypatch.setattr(connecting, "_NEXT_AFTER_S", 0.01)
    resolved("slow", "slow6")
    with anyio.move_on_after(0.03) as scope:
        await connecting.connected("h", 1)
    assert scope.cancelled_caught


@pytest.mark.parametrize(
    ("failure", "kind", "billed"),
    [
        (AddressError("x"), EndpointError, None),
        (UntrustedError("x"), EndpointError, None),
        (NoConnectionError("x"), UnreachableError, False),
        (UnsentError(), TransientError, False),
        (BrokenError("x", is_silent=True), TransientError, True),
        (BrokenError("x"), TransientError, True),
        (TimeoutError(), TransientError, True),
    ],
)
def test_only_what_certainly_was_not_sent_is_not_billed(
    failure: Exception, kind: type[Exception], billed: bool | None
) -> None:
    """The point of the failure decides about billing; failures that no repetition cures stop the run.

    See docs/guarantees.md, *The budget is a ceiling*.
    """
    meaning = transport_failure(failure, "DetectLabels on s3://b/k")
    assert type(meaning) is kind
    assert getattr(meaning, "may_be_billed", None) is billed
    assert "s3://b/k" in str(meaning)


# -- Properties --------------------------------------------------------------------------------------------------------

BODIES = st.binary(max_size=300)
TOKENS = st.text("abcXYZ019-", min_size=1, max_size=8)


@given(st.data(), BODIES, st.lists(st.tuples(TOKENS.map("x-{}".format), TOKENS), max_size=4), st.booleans())
def test_an_answer_is_the_same_however_it_is_cut(
    data: st.DataObject, body: bytes, headers: list[tuple[str, str]], chunked: bool
) -> None:
    """Segments may end anywhere: between CR and LF, within a chunk's size, before the last byte."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers).encode()
    if chunked:
        cuts = sorted(data.draw(st.sets(st.integers(1, max(1, len(body) - 1)), max_size=4)))
        pieces = [piece for piece in _cut(body, cuts) if piece]
        framed = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
        raw = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n" + lines + b"\r\n" + framed
    else:
        raw = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%b\r\n%b" % (len(body), lines, body)
    cuts = sorted(data.draw(st.sets(st.integers(1, len(raw) - 1), max_size=8)))

    async def receive() -> tuple[object, bool]:
        one = on_transports(FakeTransports(), asyncio.get_running_loop())
        answer = one.send(GET, SMALL, is_head=False)
        for piece in _cut(raw, cuts):
            assert not answer.done()
            one.data_received(piece)
        return await answer, one.is_reusable

    reply, is_reusable = anyio.run(receive)
    assert isinstance(reply, HttpResponse)
    assert (reply.status, reply.body, is_reusable) == (200, body, True)
    for name, value in reversed(headers):
        assert reply.headers[name.lower()] in {v for n, v in headers if n.lower() == name.lower()}
        assert value


def _cut(raw: bytes, cuts: Sequence[int]) -> list[bytes]:
    return [raw[start:end] for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True)]


@given(st.text("ab :\r\n\t\x0b\x85\u2028é", max_size=20), BODIES, st.sampled_from(["GET", "HEAD", "PUT", "POST"]))
def test_no_value_can_begin_another_line(value: str, body: bytes, method: str) -> None:
    """An ETag with a line break, from a faulty server, is sent in one line."""
    sent = HttpRequest(method, "/k?q", {"host": "h", "x-a": value}, body).encode()
    head, _, rest = sent.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert rest == body
    assert lines[:2] == [f"{method} /k?q HTTP/1.1".encode(), b"host: h"]
    assert b"\n" not in b"".join(lines)
    assert len(lines) == (6 if body or method in {"PUT", "POST"} else 5)
