"""Everything works through a proxy as it does without one, and only the right requests go through it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest

from asyncfilter.aws import AwsSession, open_aws
from asyncfilter.aws.clients.fast import FastDetect, FastS3
from asyncfilter.aws.clients.signed_http import SignedClient, open_signed_client
from asyncfilter.aws.transport_errors import UnreachableError
from asyncfilter.job.spec import Aws, DetectorSpec
from asyncfilter.model import ObjectRef, S3Location
from asyncfilter.sandbox import BucketSpec, Sandbox, SandboxOptions
from tests.kit.services import aws_settings

OPTIONS = SandboxOptions(
    buckets=(BucketSpec("raw"), BucketSpec("clean")), verify_signatures=True, check_images=False, count_keys=False
)
KEY = "a+b %20 😀.jpg"


class Proxy:
    """A proxy that forwards requests for any host to one server and refuses tunnels."""

    def __init__(self, port: int) -> None:
        self.seen: list[str] = []
        self._port = port

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            first, _, rest = (await reader.readuntil(b"\r\n\r\n")).partition(b"\r\n")
            self.seen.append(first.decode())
            if first.startswith(b"CONNECT "):
                writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
                return
            method, url, version = first.decode().split(" ")
            parts = urlsplit(url)
            origin_form = parts.path + (f"?{parts.query}" if parts.query else "")
            answers, server = await asyncio.open_connection("127.0.0.1", self._port)
            server.write(f"{method} {origin_form} {version}\r\nConnection: close\r\n".encode() + rest)
            length = int(rest.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
            server.write(await reader.readexactly(length))
            writer.write(await answers.read())
            server.close()
        finally:
            writer.close()


@pytest.fixture(autouse=True)
def bare_environment() -> Iterator[None]:
    """No AWS setting of this machine reaches a test."""
    with aws_settings():
        yield


@asynccontextmanager
async def behind_proxy(
    monkeypatch: pytest.MonkeyPatch, **settings: str
) -> AsyncIterator[tuple[Sandbox, Proxy, AwsSession, SignedClient]]:
    """A sandbox that is reached through a proxy, or directly if ``settings`` exempt it."""
    async with Sandbox(OPTIONS) as sandbox:
        proxy = Proxy(sandbox.port)
        async with await asyncio.start_server(proxy.serve, "127.0.0.1") as server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            hidden = {"AWS_ENDPOINT_URL": "http://aws.invalid", "HTTP_PROXY": url, "HTTPS_PROXY": url}
            for name, value in {**sandbox.environment(), **hidden, **settings}.items():
                monkeypatch.setenv(name, value.replace("{sandbox}", sandbox.endpoint_url))
            async with (
                open_aws(Aws(), timeout_s=5, connections=5) as session,
                open_signed_client(session) as signed_client,
            ):
                yield sandbox, proxy, session, signed_client


async def use(sandbox: Sandbox, session: AwsSession, signed_client: SignedClient) -> None:
    """List, examine, head and copy an object, with signed requests."""
    stored = sandbox.put("raw", KEY, b"picture")
    image = ObjectRef(bucket="raw", key=KEY, size_bytes=7, etag=stored.etag, seq=1)
    s3 = FastS3(session, signed_client)
    detect = FastDetect(signed_client, await session.endpoint("rekognition", "us-east-1"), DetectorSpec())
    assert [one.key for one in (await s3.list_objects("raw", "a", after=None)).objects] == [KEY]
    assert b"Labels" in await detect("raw", KEY)
    assert (await s3.head_object("raw", KEY)).size_bytes == 7
    await s3.copy_object(image, S3Location("clean", KEY), only_new=True)
    assert sandbox.keys("clean") == [KEY]


async def test_every_operation_works_through_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Signatures stay valid: the proxy forwards the request that was signed."""
    async with behind_proxy(monkeypatch) as (sandbox, proxy, session, signed_client):
        await use(sandbox, session, signed_client)
    methods = [first.partition(" ")[0] for first in proxy.seen if "http://aws.invalid/" in first]
    assert {"GET", "HEAD", "POST", "PUT"} <= set(methods)


async def test_hosts_that_no_proxy_names_are_reached_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exempt requests do not reach the proxy."""
    settings = {"AWS_ENDPOINT_URL": "{sandbox}", "NO_PROXY": "127.0.0.1"}
    async with behind_proxy(monkeypatch, **settings) as (sandbox, proxy, session, signed_client):
        await use(sandbox, session, signed_client)
    assert proxy.seen == []


async def test_tls_goes_through_a_tunnel(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that cannot reach the host is a failed connection: nothing was sent."""
    async with behind_proxy(monkeypatch, AWS_ENDPOINT_URL="https://aws.invalid") as (_, proxy, session, signed_client):
        detect = FastDetect(signed_client, await session.endpoint("rekognition", "us-east-1"), DetectorSpec())
        with pytest.raises(UnreachableError) as caught:
            await detect("raw", KEY)
        assert not caught.value.may_be_billed
    assert proxy.seen[0].startswith("CONNECT aws.invalid:443 ")
