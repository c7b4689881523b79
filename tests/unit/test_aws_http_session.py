"""The HTTP session of aioboto3's clients: what is sent, what is read, and what a missing response means."""

from __future__ import annotations

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import pytest
from aiobotocore.awsrequest import AioAWSResponse
from botocore import exceptions as vendor
from botocore.awsrequest import AWSRequest

from asyncfilter.aws.clients.error_response import Operation
from asyncfilter.aws.clients.http.connection import ERROR_LIMIT_BYTES
from asyncfilter.aws.clients.http.message import PAGE, SMALL
from asyncfilter.aws.http_session import METADATA, HttpSession, MetadataSession
from asyncfilter.aws.transport_errors import UnreachableError, vendor_translated
from asyncfilter.errors import EndpointError, TransientError
from tests.kit.aws_double import Answer, AwsDouble, aws_double, response

TIMEOUT_S = 5.0
SHORT_S = 0.2
TLS = ssl.create_default_context()
OF_S3 = {"X-Amz-Content-SHA256": "e3b0"}
MORE = b"x" * (1 << 20)


def answering(raw: bytes) -> Answer:
    """Answers every request with the same bytes."""
    return lambda *_: raw


async def sent(
    address: str,
    *,
    headers: Mapping[str, str] | None = None,
    stream_output: bool = False,
    timeout: float = TIMEOUT_S,
    scheme: str = "http",
) -> AioAWSResponse:
    """Send a request by a session of its own; its response."""
    request = AWSRequest(method="GET", url=f"{scheme}://{address}/", headers=headers or {}, stream_output=stream_output)
    async with HttpSession(TLS, timeout=timeout) as session:
        received = await session.send(request.prepare())
        if received.raw is not None and not stream_output:
            await received.content
        return received


class Dripping(AwsDouble):
    """Sends the beginning of a response, then a byte at a time."""

    def __init__(self, beginning: bytes) -> None:
        super().__init__(lambda *_: b"")
        self._beginning = beginning

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(self._beginning)
        while not writer.is_closing():
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(SHORT_S / 20)


# -- Bodies ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 400, 403, 500, 503])
@pytest.mark.parametrize("stream_output", [False, True])
async def test_the_body_of_an_error_is_cut(status: int, *, stream_output: bool) -> None:
    """Also where the body of a success would be left to the caller."""
    async with aws_double(answer=answering(response(status, b"<Code>" + 3 * MORE))) as double:
        received = await sent(double.address, stream_output=stream_output)
    assert received.status_code == status
    assert len(await received.content) == ERROR_LIMIT_BYTES


async def test_an_error_without_end_is_cut() -> None:
    """It says no length, and never ends."""

    class Endless(AwsDouble):
        async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 400 Any\r\nTransfer-Encoding: chunked\r\n\r\n")
            while not writer.is_closing():
                writer.write(b"400\r\n" + b"y" * 1024 + b"\r\n")
                await writer.drain()

    async with Endless(lambda *_: b"").listening(None) as double:
        assert len(await (await sent(double.address)).content) == ERROR_LIMIT_BYTES


@pytest.mark.parametrize(
    ("headers", "bytes_", "is_read"),
    [
        ({}, SMALL.body_bytes, True),
        ({}, SMALL.body_bytes + 1, False),
        (OF_S3, SMALL.body_bytes + 1, True),
        (OF_S3, PAGE.body_bytes, True),
        (OF_S3, PAGE.body_bytes + 1, False),
    ],
)
async def test_a_response_is_bounded_by_its_service(headers: dict[str, str], bytes_: int, *, is_read: bool) -> None:
    """Listings may be longer than other responses; one that is too long counts as broken, and may be billed."""
    async with aws_double(answer=answering(response(200, b"x" * bytes_))) as double:
        if is_read:
            assert len(await (await sent(double.address, headers=headers)).content) == bytes_
            return
        with pytest.raises(vendor.ConnectionClosedError) as caught:
            await sent(double.address, headers=headers)
    with (
        pytest.raises(TransientError, match="more than") as translated,
        vendor_translated(Operation.DETECT_LABELS, "s3://b/k"),
    ):
        raise caught.value
    assert translated.value.may_be_billed


async def test_an_object_is_left_to_the_caller() -> None:
    """Who knows its size, and reads as much as is needed."""
    body = (PAGE.body_bytes // len(MORE) + 2) * MORE
    async with aws_double(answer=answering(response(200, body))) as double, HttpSession(TLS) as session:
        request = AWSRequest(method="GET", url=f"http://{double.address}/", stream_output=True)
        received = await session.send(request.prepare())
        async with received.raw as raw:
            assert len(await raw.content.readexactly(len(body))) == len(body)


@pytest.mark.parametrize(("bytes_", "is_read"), [(METADATA.body_bytes, True), (METADATA.body_bytes + 1, False)])
async def test_metadata_is_bounded(bytes_: int, *, is_read: bool) -> None:
    """Keys and a token are small."""
    async with (
        aws_double(answer=answering(response(200, b"x" * bytes_))) as double,
        MetadataSession(TLS, timeout_s=TIMEOUT_S).acquire() as session,
    ):
        request = AWSRequest(method="GET", url=f"http://{double.address}/").prepare()
        if is_read:
            assert len(await (await session.send(request)).content) == bytes_
        else:
            with pytest.raises(vendor.ConnectionClosedError):
                await session.send(request)


async def test_a_compressed_body_is_not_expanded() -> None:
    """None was asked for, and one of a few kilobytes may expand to gigabytes."""
    packed = gzip.compress(b"\0" * 10_000_000)
    headers = ("Content-Encoding: gzip",)
    async with aws_double(answer=answering(response(200, packed, headers))) as double:
        assert await (await sent(double.address)).content == packed
    assert "accept-encoding: identity" in double.heads[0].lower()


@pytest.mark.parametrize("status", ["200 OK", "400 Any"])
async def test_a_response_that_drips_ends_with_its_time(status: str) -> None:
    """A byte now and then does not prolong it."""
    async with Dripping(f"HTTP/1.1 {status}\r\nContent-Length: 9999\r\n\r\n".encode()).listening(None) as double:
        with pytest.raises(vendor.ReadTimeoutError):
            await sent(double.address, timeout=SHORT_S)


# -- Requests and heads ------------------------------------------------------------------------------------------------


async def test_a_request_is_sent_as_it_was_signed() -> None:
    """Path and query are not encoded again; no cookie of an earlier response is sent."""
    cookie = ("Set-Cookie: a=b", "x-odd: caf\xe9")
    received = None
    async with aws_double(answer=answering(response(200, b"ok", cookie))) as double, HttpSession(TLS) as session:
        for _ in range(2):
            request = AWSRequest(
                method="POST", url=f"http://{double.address}/a%2Fb?c=%20", headers={"X-A": b"1"}, data=b"body"
            )
            received = await session.send(request.prepare())
            assert await received.content == b"ok"
    assert received is not None
    assert received.headers["x-odd"].encode("latin-1").decode() == "caf\xe9"
    assert double.connections == 1
    for head in double.heads:
        assert head.startswith("POST /a%2Fb?c=%20 HTTP/1.1\r\n")
        assert "cookie" not in head.lower()
        assert "content-type" not in head.lower()
        assert "x-a: 1\r\n" in head.lower()


# -- Missing responses -------------------------------------------------------------------------------------------------


@asynccontextmanager
async def nobody() -> AsyncIterator[AwsDouble]:
    """An address at which nothing listens."""
    async with aws_double() as double:
        pass
    yield double


def cut_off(beginning: bytes) -> Callable[[], AwsDouble]:
    """A server that ends its connection after the beginning of a response."""

    class CutOff(AwsDouble):
        async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            writer.write(beginning)
            await writer.drain()

    return lambda: CutOff(lambda *_: b"")


@pytest.mark.parametrize(
    "beginning", [b"", b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", b"SSH-2.0-OpenSSH\r\n\r\n"]
)
async def test_a_broken_response_may_be_billed(beginning: bytes) -> None:
    """The request was sent, whatever came back."""
    async with cut_off(beginning)().listening(None) as double:
        with (
            pytest.raises(TransientError) as caught,
            vendor_translated(Operation.DETECT_LABELS, "s3://b/k"),
        ):
            await sent(double.address)
    assert caught.value.may_be_billed


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_no_connection_is_not_billed(scheme: str) -> None:
    """Nothing listens, or what listens speaks no TLS: certainly nothing was sent."""
    async with nobody() if scheme == "http" else cut_off(b"HTTP/1.1 400 Any\r\n\r\n")().listening(None) as double:
        with pytest.raises(UnreachableError), vendor_translated(Operation.DETECT_LABELS, "s3://b/k"):
            await sent(double.address, scheme=scheme)


@pytest.mark.parametrize(
    ("status", "kind"), [(407, EndpointError), (403, EndpointError), (502, UnreachableError), (None, UnreachableError)]
)
async def test_a_proxy_that_refuses_is_named_without_its_password(status: int | None, kind: type[Exception]) -> None:
    """Its answer to CONNECT tells a wrong password from a host that it cannot reach; neither is billed."""
    async with aws_double(answer=answering(response(status or 0))) if status else nobody() as proxy:
        proxies = {"https": f"http://user:PASSWORD@{proxy.address}"}
        async with HttpSession(TLS, timeout=TIMEOUT_S, proxies=proxies) as session:
            request = AWSRequest(method="GET", url="https://aws.invalid/").prepare()
            with pytest.raises(kind) as caught, vendor_translated(Operation.DETECT_LABELS, "s3://b/k"):
                await session.send(request)
    assert "PASSWORD" not in str(caught.value)
    assert not getattr(caught.value, "may_be_billed", False)
