"""What our own HTTP promises, against a server that plays scripts: answers of every kind, and every way to get none."""

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

from asyncfilter.aws.failures import UnreachableError, transport_failure
from asyncfilter.aws.http import (
    AddressError,
    BrokenError,
    NoConnectionError,
    Pool,
    Reply,
    Request,
    UnsentError,
    UntrustedError,
    connecting,
    connection,
)
from asyncfilter.aws.http.connection import BUFFER_BYTES, Connection
from asyncfilter.errors import EndpointError, TransientError

TIMEOUT_S = 2.0
SHORT_S = 0.1
"""Deadline of the exchanges that are meant to reach it."""

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GET = b"GET / HTTP/1.1\r\nhost: h\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 4\r\n\r\nbody"


class Do(Enum):
    """Steps of a script that are no answers."""

    RESET = auto()
    CLOSE = auto()
    SILENCE = auto()
    DRIP = auto()
    FLOOD = auto()


Script = Sequence[bytes | Do]


class Scripted:
    """Its nth connection plays the nth script, a step a request, and then closes; a step of bytes is sent as it is."""

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

    async def _play(self, step: bytes | Do, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        match step:
            case bytes():
                writer.write(step)
            case Do.CLOSE:
                writer.close()
            case Do.RESET:
                raw = writer.get_extra_info("socket")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
            case Do.SILENCE:
                await reader.read()
            case Do.DRIP | Do.FLOOD:
                piece = b"x" if step is Do.DRIP else b"x: " + b"y" * 8000 + b"\r\n"
                writer.write(b"HTTP/1.1 200 OK\r\n" + (b"Content-Length: 99999\r\n\r\n" if step is Do.DRIP else b""))
                while not writer.is_closing():
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(SHORT_S / 20 if step is Do.DRIP else 0)


@asynccontextmanager
async def scripted(
    *scripts: Script, timeout_s: float = TIMEOUT_S, keepalive_s: float = 12.0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[Scripted, Pool, str]]:
    """A server, a pool, and the server's origin; afterwards nothing is left open."""
    server = Scripted(scripts)
    async with await asyncio.start_server(server.serve, "127.0.0.1", ssl=tls) as listening:
        pool = Pool(ssl.create_default_context(), timeout_s=timeout_s, keepalive_s=keepalive_s)
        try:
            yield server, pool, f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        finally:
            await pool.aclose()
            assert pool.connections == 0
            gc.collect()


async def get(pool: Pool, origin: str, **options: Any) -> Reply:
    """One GET, repeatable unless told otherwise."""
    return await pool.exchange(origin, GET, **{"is_repeatable": True, **options})


async def until(condition: Any) -> None:
    """Let the loop turn until ``condition()`` holds."""
    with anyio.fail_after(TIMEOUT_S):
        while not condition():
            await anyio.lowlevel.checkpoint()


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
    """Whatever marks its end: length, last chunk, status. Headers are its own, not an interim answer's or trailers."""
    async with scripted([answer, answer, Do.SILENCE]) as (server, pool, origin):
        for _ in range(2):
            reply = await get(pool, origin)
            assert (reply.status, reply.body) == expected
            assert reply.headers.keys() <= {"content-length", "transfer-encoding", "connection"}
        assert (server.connections, pool.connections) == (1, 1)


@pytest.mark.parametrize("length", [b"Content-Length: 0\r\n", b"Content-Length: 70000\r\n"])
async def test_an_answer_to_head_has_no_body_whatever_it_says(length: bytes) -> None:
    """Its connection is used again, by another method too."""
    async with scripted([b"HTTP/1.1 200 OK\r\nETag: e\r\n" + length + b"\r\n", OK]) as (server, pool, origin):
        reply = await get(pool, origin, is_head=True)
        assert (reply.headers["etag"], reply.body) == ("e", b"")
        assert (await get(pool, origin)).body == b"ok"
        assert server.connections == 1


async def test_a_body_after_head_costs_the_connection() -> None:
    """A server that gets HEAD wrong: no later request may take the body for its own answer."""
    async with scripted([OK, Do.SILENCE], [OK]) as (server, pool, origin):
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
    """By ``Connection: close``, by its version, or because only its end is the end of the body."""
    async with scripted([answer], [answer]) as (server, pool, origin):
        for _ in range(2):
            assert (await get(pool, origin)).body == b"ok"
        assert server.connections == 2


@pytest.mark.parametrize("garbage", [b"garbage", OK, b"HTTP/1.1 100 Continue\r\n\r\n", b"\0"])
async def test_bytes_behind_an_answer_cost_the_connection_not_the_answer(garbage: bytes) -> None:
    """They were not asked for: no later request may take them for its own answer."""
    async with scripted([OK + garbage, Do.SILENCE], [OK]) as (server, pool, origin):
        for _ in range(2):
            assert (await get(pool, origin)).body == b"ok"
        assert server.connections == 2


async def test_an_idle_connection_that_speaks_is_dropped() -> None:
    """Load balancers say 408 before they close; that answers nobody's request."""
    late = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"
    async with scripted([OK, Do.SILENCE], [OK]) as (server, pool, origin):
        await get(pool, origin)
        (idle,) = pool._open
        idle.data_received(late)
        assert not idle.is_reusable
        assert (await get(pool, origin)).status == 200
        assert server.connections == 2


async def test_header_names_ignore_case_and_the_first_of_two_counts() -> None:
    """As every reader of them here expects."""
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
    """An end in the middle: the request arrived, and it is not sent again, repeatable or not."""
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
    """Two lengths, a length beside chunks, another protocol: no guess is made."""
    async with scripted([answer + b" " * 100, Do.SILENCE]) as (_, pool, origin):
        with pytest.raises(BrokenError):
            await get(pool, origin)
        await until(lambda: pool.connections == 0)


async def test_a_head_without_end_is_refused() -> None:
    """Headers that never stop do not fill the memory."""
    async with scripted([Do.FLOOD]) as (_, pool, origin):
        with pytest.raises(BrokenError, match=r"without end: \d{5,6} bytes"):
            await get(pool, origin)


async def test_an_answer_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body over all bounds neither."""
    monkeypatch.setattr(connection, "ANSWER_LIMIT_BYTES", 100_000)
    body = b"x" * 150_000
    async with scripted([b"HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n" + body, Do.SILENCE]) as (_, pool, origin):
        with pytest.raises(BrokenError, match="without end"):
            await get(pool, origin)


@pytest.mark.parametrize("step", [Do.SILENCE, Do.DRIP])
async def test_the_deadline_is_for_the_whole_exchange(step: Do) -> None:
    """Bytes that keep coming do not move it; the connection goes with it."""
    async with scripted([step], timeout_s=SHORT_S) as (server, pool, origin):
        with pytest.raises(TimeoutError):
            await get(pool, origin)
        await until(lambda: server.ended == 1)
        assert pool.connections == 0


async def test_a_deadline_that_was_met_does_no_harm_later() -> None:
    """Nothing of an exchange outlives it: the connection is still good long after the deadline."""
    async with scripted([OK, OK], timeout_s=SHORT_S) as (server, pool, origin):
        await get(pool, origin)
        await anyio.sleep(SHORT_S * 1.5)
        await get(pool, origin)
        assert server.connections == 1


# -- Connections that died ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [Do.RESET, Do.CLOSE])
async def test_a_repeatable_request_outlives_a_stale_connection(end: Do) -> None:
    """The server closes as the request comes: it is sent once more, over a new connection."""
    async with scripted([OK, end], [OK]) as (server, pool, origin):
        await get(pool, origin)
        assert (await get(pool, origin)).body == b"ok"
        assert (server.connections, len(server.requests)) == (2, 3)


@pytest.mark.parametrize("end", [Do.RESET, Do.CLOSE])
async def test_a_request_that_costs_money_is_not_sent_twice(end: Do) -> None:
    """It may have arrived, and the next attempt is the engine's, which pays for it."""
    async with scripted([OK, end], [OK]) as (server, pool, origin):
        await get(pool, origin)
        with pytest.raises(BrokenError) as caught:
            await pool.exchange(origin, POST, is_repeatable=False)
        assert caught.value.is_silent
        assert len(server.requests) == 2


async def test_a_repetition_is_made_once_and_never_for_a_new_connection() -> None:
    """A server that closes every connection is asked twice at the most, and once from the start."""
    async with scripted([OK, Do.CLOSE], [Do.CLOSE], [Do.CLOSE]) as (server, pool, origin):
        await get(pool, origin)
        for expected in (3, 4):
            with pytest.raises(BrokenError):
                await get(pool, origin)
            assert len(server.requests) == expected


async def test_a_connection_known_to_be_closed_costs_nothing() -> None:
    """Its end was seen before anything was sent: even what costs money takes another connection."""
    async with scripted([OK], [OK]) as (server, pool, origin):
        await get(pool, origin)
        await until(lambda: pool.connections == 0)
        assert (await pool.exchange(origin, POST, is_repeatable=False)).body == b"ok"
        assert server.connections == 2


async def test_a_repetition_does_not_try_its_luck_with_another_old_connection() -> None:
    """When one is stale the others may be: the one repetition gets a new one."""
    async with scripted([OK, Do.CLOSE], [OK, Do.CLOSE], [OK]) as (server, pool, origin):
        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(get, pool, origin)
        await get(pool, origin)
        assert (server.connections, len(server.requests)) == (3, 4)


class Wires(asyncio.Transport):
    """A transport without a network; the system refuses what is written when ``refuses``."""

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


def on_wires(wires: Wires, loop: asyncio.AbstractEventLoop) -> Connection:
    """A connection that is open over it."""
    made = Connection(loop, lambda _: None, memoryview(bytearray(BUFFER_BYTES)))
    made.connection_made(wires)
    return made


async def test_a_write_that_the_system_refuses_was_not_sent() -> None:
    """Certain, and so neither billed nor a reason not to take another connection."""
    one = on_wires(Wires(refuses=True), asyncio.get_running_loop())
    with pytest.raises(UnsentError):
        one.send(POST, is_head=False)
    with pytest.raises(UnsentError):
        one.send(POST, is_head=False)


async def test_a_server_that_speaks_first_is_not_spoken_to() -> None:
    """Whatever it is, it is no HTTP server, and nothing was sent to it."""
    one = on_wires(Wires(), asyncio.get_running_loop())
    one.data_received(b"SSH-2.0-OpenSSH_9.6\r\n")
    with pytest.raises(UnsentError):
        one.send(POST, is_head=False)


async def test_the_connection_used_last_is_used_next() -> None:
    """So that the others grow old and close."""
    async with scripted([OK, Do.SILENCE], [OK, Do.SILENCE]) as (_, pool, origin):
        first = await pool._connect(origin, asyncio.get_running_loop().time() + 1)
        second = await pool._connect(origin, asyncio.get_running_loop().time() + 1)
        for one in (second, first):
            await pool._over(one, origin, GET, asyncio.get_running_loop().time() + 1, is_head=False)
        assert pool._kept(origin) is first
        assert pool._kept(origin) is second
        assert pool._kept(origin) is None


async def test_idle_connections_are_closed_after_a_while() -> None:
    """Without another request: the pool looks after them itself, and only as long as there are any."""
    async with scripted([OK, Do.SILENCE], keepalive_s=0.02) as (server, pool, origin):
        await get(pool, origin)
        await until(lambda: server.ended == 1)
        assert pool.connections == 0
        assert pool._sweep is None


async def test_a_connection_idle_for_too_long_is_not_used() -> None:
    """Even when nobody has come by to close it."""
    async with scripted([OK, OK], [OK]) as (server, pool, origin):
        await get(pool, origin)
        (idle,) = pool._open
        idle.idle_since_s -= 13
        await get(pool, origin)
        assert server.connections == 2


# -- Cancellation ------------------------------------------------------------------------------------------------------


async def test_a_cancelled_request_takes_its_connection_with_it() -> None:
    """Its answer may still come and must not be taken for another's."""
    async with scripted([OK, Do.SILENCE], [OK, Do.SILENCE]) as (server, pool, origin):
        await get(pool, origin)
        with anyio.move_on_after(SHORT_S / 5) as scope:
            await get(pool, origin)
        assert scope.cancelled_caught
        await until(lambda: server.ended == 1)
        assert (await get(pool, origin)).body == b"ok"
        assert (server.connections, pool.connections) == (2, 1)


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_cancelling_while_connecting_leaves_nothing_open(tmp_path: Path, scheme: str) -> None:
    """At whichever turn of the loop it comes, until an exchange is through."""
    authority, context = certificates(tmp_path)
    scripts: list[Script] = [[OK, Do.SILENCE]] * 200
    async with scripted(*scripts, tls=context if scheme == "https" else None) as (server, _, origin):
        pool = Pool(ssl.create_default_context(cafile=str(authority)), timeout_s=TIMEOUT_S)
        url = origin.replace("http://127.0.0.1", f"{scheme}://localhost")
        turns = 0
        while not pool._idle[url]:
            turns += 1 + turns // 10
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(get, pool, url)
                for _ in range(turns):
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
    """Nothing was sent; an address that cannot be one is told apart."""
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
    """A handshake that nobody answers: nothing can have arrived."""
    async with scripted([Do.SILENCE], timeout_s=SHORT_S) as (_, pool, origin):
        with pytest.raises(NoConnectionError, match="in time"):
            await get(pool, origin.replace("http:", "https:"))


def key_usage(*, is_authority: bool) -> x509.KeyUsage:
    """What a key is for: to sign certificates, or to sign at the start of a connection."""
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
    """A private authority's file, and a server's context with a certificate of it for ``localhost``."""
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
            # Python 3.13 demands these of a chain that it trusts.
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
    """The private authority's server is trusted under its own name, asked for by SNI, and under no other."""
    authority, context = certificates(tmp_path)
    asked: list[str | None] = []
    context.sni_callback = lambda _, name, __: asked.append(name)
    trusting = ssl.create_default_context(cafile=str(authority))
    async with scripted([OK, Do.RESET], [OK], [], [], tls=context) as (server, other, origin):
        port = origin.rpartition(":")[2]
        pool = Pool(trusting, timeout_s=TIMEOUT_S)
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
    """Programs that call the engine on their own loop may use it."""

    async def exchange() -> None:
        async with scripted([OK, OK, Do.SILENCE]) as (server, pool, origin):
            for _ in range(2):
                assert (await get(pool, origin)).body == b"ok"
            with anyio.move_on_after(SHORT_S / 5):
                await get(pool, origin)
            assert server.connections == 1

    anyio.run(exchange, backend_options={"use_uvloop": True})


async def test_the_next_address_is_tried_when_one_fails_or_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Families in turn; what lost the race is closed."""
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
    monkeypatch.setattr(connecting, "_NEXT_AFTER_S", 60)
    with anyio.fail_after(TIMEOUT_S):
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
    """The moment of the failure decides; what no repetition can mend stops the run.

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
    """Segments end where they like: between CR and LF, in a chunk's size, after the last byte but one."""
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
        one = on_wires(Wires(), asyncio.get_running_loop())
        answer = one.send(GET, is_head=False)
        for piece in _cut(raw, cuts):
            assert not answer.done()
            one.data_received(piece)
        return await answer, one.is_reusable

    reply, is_reusable = anyio.run(receive)
    assert isinstance(reply, Reply)
    assert (reply.status, reply.body, is_reusable) == (200, body, True)
    for name, value in reversed(headers):
        assert reply.headers[name.lower()] in {v for n, v in headers if n.lower() == name.lower()}
        assert value


def _cut(raw: bytes, cuts: Sequence[int]) -> list[bytes]:
    return [raw[start:end] for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True)]


@given(st.text("ab :\r\n\t\x0b\x85\u2028é", max_size=20), BODIES, st.sampled_from(["GET", "HEAD", "PUT", "POST"]))
def test_no_value_can_begin_another_line(value: str, body: bytes, method: str) -> None:
    """An ETag with a line break in it, from a strange server, is sent in one line."""
    sent = Request(method, "/k?q", {"host": "h", "x-a": value}, body).encode()
    head, _, rest = sent.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert rest == body
    assert lines[:2] == [f"{method} /k?q HTTP/1.1".encode(), b"host: h"]
    assert b"\n" not in b"".join(lines)
    assert len(lines) == (6 if body or method in {"PUT", "POST"} else 5)
