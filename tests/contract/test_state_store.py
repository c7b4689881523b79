"""The port of the store of states: S3 by both clients, and the store in memory."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Never, cast

import pytest
import pytest_asyncio

from asyncfilter.aws import AwsSession, S3StateStore, open_aws, open_clients
from asyncfilter.aws.clients.error_response import ErrorResponse, ErrorResponseError, Operation
from asyncfilter.errors import (
    AsyncFilterError,
    BucketNotFoundError,
    ImageError,
    ObjectChangedError,
    PermissionDeniedError,
)
from asyncfilter.job.spec import Aws, ClientKind
from asyncfilter.model import S3Location
from asyncfilter.ports.state_store import Put, Refusal, StateStore
from asyncfilter.sandbox import BucketSpec, SandboxOptions
from asyncfilter.sandbox.access import DenyRule
from asyncfilter.testing.state_store import MemoryStateStore
from tests.kit.services import aws_settings, moto_server, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

BUCKET = "state"


@pytest_asyncio.fixture(params=["memory", "moto", *ClientKind], scope="module", loop_scope="module")
async def store(request: pytest.FixtureRequest) -> AsyncIterator[StateStore]:
    """A store of each kind."""
    if request.param == "memory":
        yield MemoryStateStore()
        return
    if request.param == "moto":
        with moto_server() as settings, aws_settings(**settings):
            async with _opened(ClientKind.FAST) as (session, made):
                await (await session.client("s3", "us-east-1")).create_bucket(Bucket=BUCKET)
                yield made
        return
    options = SandboxOptions(
        buckets=(BucketSpec(BUCKET), BucketSpec("closed")), verify_signatures=True, deny=(DenyRule("*", "closed/*"),)
    )
    async with serving(options), _opened(request.param) as (_, made):
        yield made


@asynccontextmanager
async def _opened(client: ClientKind, *, timeout_s: float = 5) -> AsyncIterator[tuple[AwsSession, S3StateStore]]:
    async with (
        open_aws(Aws(client=client), timeout_s=timeout_s, connections=5) as session,
        open_clients(Aws(client=client), session) as clients,
    ):
        yield session, S3StateStore(session, clients.s3)


def at(key: str) -> S3Location:
    """A place in the bucket."""
    return S3Location(BUCKET, key)


async def test_an_object_is_written_read_and_seen(store: StateStore) -> None:
    """Bytes and ETag come back; a longer object is cut at the bound of the reader."""
    place = at("read/ü +?.json")
    put = await store.put(place, b"0123456789")
    assert put.refusal is None
    found = await store.get(place, most_bytes=100)
    assert found == (b"0123456789", put.etag)
    cut = await store.get(place, most_bytes=4)
    assert cut == (b"0123", put.etag)
    info = await store.head(place)
    assert info is not None
    assert info[:3] == (place, 10, put.etag)
    assert info.age_s is not None
    assert 0 <= info.age_s < 60


async def test_what_is_not_there_is_none(store: StateStore) -> None:
    """A missing object is told from an error."""
    assert await store.get(at("none"), most_bytes=10) is None
    assert await store.head(at("none")) is None
    assert [one async for one in store.listed(BUCKET, "nothing-here/")] == []
    assert await store.delete(at("none"), "x") is True


async def test_only_new(store: StateStore) -> None:
    """``If-None-Match: *`` succeeds once."""
    assert (await store.put(at("new/a"), b"one", only_new=True)).refusal is None
    assert await store.put(at("new/a"), b"two", only_new=True) == Put("", Refusal.CHANGED)
    found = await store.get(at("new/a"), most_bytes=10)
    assert found is not None
    assert found.body == b"one"


async def test_if_match(store: StateStore) -> None:
    """``If-Match`` replaces one object; 412 and 404 are told apart."""
    first = await store.put(at("match/a"), b"one")
    second = await store.put(at("match/a"), b"two", if_match=first.etag)
    assert second.refusal is None
    assert second.etag != first.etag
    assert await store.put(at("match/a"), b"three", if_match=first.etag) == Put("", Refusal.CHANGED)
    assert await store.put(at("match/b"), b"three", if_match=first.etag) == Put("", Refusal.GONE)
    found = await store.get(at("match/a"), most_bytes=10)
    assert found is not None
    assert found.body == b"two"


async def test_a_file_is_sent_whole_and_only_if_new(store: StateStore, tmp_path: Path) -> None:
    """A snapshot is a file of any size; what is there already is not replaced."""
    path = tmp_path / "snapshot"
    body = bytes(range(256)) * 50_000
    path.write_bytes(body)
    digest = hashlib.sha256(body).digest()
    put = await store.put_file(at("files/a"), path, sha256=digest)
    assert put.refusal is None
    assert (await store.put_file(at("files/a"), path, sha256=digest)).refusal is Refusal.CHANGED
    info = await store.head(at("files/a"))
    assert info is not None
    assert info.etag == put.etag
    assert b"".join([piece async for piece in store.pieces(info)]) == body


class Blind(S3StateStore):
    """Does not see what is there before it writes."""

    async def head(self, place: S3Location) -> None:
        """Nothing is there."""


async def test_a_file_that_is_too_large_for_one_request_is_sent_in_parts(tmp_path: Path) -> None:
    """On condition that nothing is there when it is completed; an upload that is given up leaves no parts."""
    path = tmp_path / "snapshot"
    body = bytes(range(256)) * 50_000
    path.write_bytes(body)
    digest = hashlib.sha256(body).digest()
    with moto_server() as settings, aws_settings(**settings):
        async with _opened(ClientKind.FAST, timeout_s=60) as (session, plain):
            client = await session.client("s3", "us-east-1")
            await client.create_bucket(Bucket=BUCKET)
            store, again = (
                kind(session, plain._calls, most_put_bytes=6 << 20, part_bytes=5 << 20)
                for kind in (S3StateStore, Blind)
            )
            put = await store.put_file(at("files/large"), path, sha256=digest)
            info = await store.head(at("files/large"))
            assert info is not None
            assert (put.refusal, info.etag, info.size_bytes) == (None, put.etag, len(body))
            assert put.etag.endswith("-3")
            assert b"".join([piece async for piece in store.pieces(info)]) == body
            for one in (store, again):
                assert await one.put_file(at("files/large"), path, sha256=digest) == Put("", Refusal.CHANGED)
            assert "Uploads" not in await client.list_multipart_uploads(Bucket=BUCKET)


async def test_an_object_that_changes_while_it_is_read_is_found_out(store: StateStore) -> None:
    """Pieces of two versions are never joined."""
    await store.put(at("pieces/a"), b"one")
    info = await store.head(at("pieces/a"))
    assert info is not None
    await store.put(at("pieces/a"), b"two")
    with pytest.raises(ObjectChangedError):
        [piece async for piece in store.pieces(info)]


async def test_listings_have_all_keys_below_a_prefix_in_order(
    store: StateStore, request: pytest.FixtureRequest
) -> None:
    """Also more than one page; no key of a neighbour."""
    # More than a page from the fast client; the listing itself is that of sources, with tests of its own.
    objects = 1_005 if request.node.callspec.params["store"] is ClientKind.FAST else 3
    for n in range(objects):
        await store.put(at(f"list/x/{n:04}"), b"")
    await store.put(at("list/xy"), b"12")
    keys = [one.key async for one in store.listed(BUCKET, "list/x/")]
    assert keys == [f"list/x/{n:04}" for n in range(objects)]
    listed = [one async for one in store.listed(BUCKET, "list/xy")]
    info = await store.head(at("list/xy"))
    assert info is not None
    assert [(one.size_bytes, one.etag) for one in listed] == [(2, info.etag)]


async def test_only_what_was_seen_is_deleted(store: StateStore) -> None:
    """An object that was replaced since stays."""
    first = await store.put(at("delete/a"), b"one")
    second = await store.put(at("delete/a"), b"two")
    assert await store.delete(at("delete/a"), first.etag) is False
    assert await store.head(at("delete/a")) is not None
    assert await store.delete(at("delete/a"), second.etag) is True
    assert await store.head(at("delete/a")) is None


async def test_errors_are_those_of_access(store: StateStore, request: pytest.FixtureRequest) -> None:
    """No failure of the store of a state is one of an image."""
    if request.node.callspec.params["store"] in {"memory", "moto"}:
        pytest.skip("it denies nothing")
    with pytest.raises(BucketNotFoundError):
        await store.get(S3Location("no-such-bucket", "a"), most_bytes=1)
    with pytest.raises(BucketNotFoundError):
        await store.put(S3Location("no-such-bucket", "a"), b"", only_new=True)
    with pytest.raises(PermissionDeniedError, match="ListObjects"):  # without it, forbidden and missing look the same
        await store.get(S3Location("closed", "a"), most_bytes=1)
    with pytest.raises(PermissionDeniedError):
        await store.put(S3Location("closed", "a"), b"", if_match="x")
    with pytest.raises(PermissionDeniedError):
        await store.delete(S3Location("closed", "a"), "x")


class Refusing:
    """Calls whose writes all get one error response."""

    def __init__(self, status: int, code: str) -> None:
        self._response = ErrorResponse(operation=Operation.PUT_OBJECT, where="s3://state/a", status=status, code=code)

    async def put_object(self, *_: object, **__: object) -> Never:
        raise ErrorResponseError(self._response)


@pytest.mark.parametrize(
    ("status", "code", "refusal"),
    [
        (412, "PreconditionFailed", Refusal.CHANGED),
        (404, "NoSuchKey", Refusal.GONE),
        (409, "ConditionalRequestConflict", Refusal.CONFLICT),
        (409, "OperationAborted", Refusal.CONFLICT),
        (501, "NotImplemented", Refusal.UNSUPPORTED),
        (400, "InvalidArgument", Refusal.UNSUPPORTED),
    ],
)
async def test_refusals_are_told_apart_and_are_about_conditions_only(status: int, code: str, refusal: Refusal) -> None:
    """Each means something else to an owner; without a condition none of them is a refusal."""
    calls: Any = Refusing(status, code)
    made = S3StateStore(cast("AwsSession", None), calls)
    assert await made.put(at("a"), b"", only_new=True) == Put("", refusal)
    assert await made.put(at("a"), b"", if_match="x") == Put("", refusal)
    with pytest.raises(AsyncFilterError) as caught:
        await made.put(at("a"), b"")
    assert not isinstance(caught.value, ImageError)
