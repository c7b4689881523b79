"""The S3 ports against moto's server where moto behaves as S3 does: a check independent of the sandbox.

moto ignores conditions on a copy's source and target, so those guarantees are tested on the sandbox alone; it has no
route for keys with a newline.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from typing import Any, NamedTuple

import boto3
import pytest
import pytest_asyncio

from asyncfilter.aws import open_aws
from asyncfilter.aws.clients.boto import BotoS3
from asyncfilter.aws.clients.fast import FastS3
from asyncfilter.aws.clients.protocols import S3Api
from asyncfilter.aws.clients.signed_http import open_signed_client
from asyncfilter.aws.s3.source_sink import S3Sink, S3Source
from asyncfilter.errors import BucketNotFoundError, ImageError
from asyncfilter.job.spec import Aws, ClientKind
from asyncfilter.model import ActionKind, Effect, ObjectRef, S3Location
from tests.kit.services import aws_settings, moto_server

pytestmark = pytest.mark.asyncio(loop_scope="module")

RAW, CLEAN = "moto-raw", "moto-clean"
KEYS = [
    "a b.jpg",
    "a+b.jpg",
    "100%.jpg",
    "%2B%20.jpg",
    "emoji 😀.jpg",
    "../up.jpg",
    "a/../b.jpg",
    "//double//slash.jpg",
    "query?versionId=1&x=2.jpg",
    "<a>&amp;'\".jpg",
    "e\N{COMBINING ACUTE ACCENT} and é.jpg",
    "x" * 1020 + ".jpg",
]


class Moto(NamedTuple):
    """One client's calls on moto, and boto3 to inspect the objects."""

    calls: S3Api
    s3: Any


@pytest.fixture(scope="module")
def moto_s3() -> Iterator[Any]:
    """A moto server for the module; boto3's client for it."""
    with moto_server() as settings, aws_settings(**settings), closing(boto3.client("s3")) as s3:
        for bucket in (RAW, CLEAN):
            s3.create_bucket(Bucket=bucket)
        for key in KEYS:
            s3.put_object(Bucket=RAW, Key=key, Body=key.encode())
        yield s3


@pytest_asyncio.fixture(params=list(ClientKind), scope="module", loop_scope="module")
async def moto(request: pytest.FixtureRequest, moto_s3: Any) -> AsyncIterator[Moto]:
    """One client over moto."""
    async with (
        open_aws(Aws(client=request.param), timeout_s=10, connections=5) as session,
        open_signed_client(session) as signed_client,
    ):
        calls: S3Api = FastS3(session, signed_client) if request.param is ClientKind.FAST else BotoS3(session)
        yield Moto(calls, moto_s3)


async def listed(moto: Moto) -> list[ObjectRef]:
    """References to the objects of the source bucket."""
    page = await S3Source(moto.calls, RAW, "").page(None)
    assert page.is_last
    return [
        ObjectRef(bucket=RAW, key=one.key, size_bytes=one.size_bytes, etag=one.etag, seq=seq)
        for seq, one in enumerate(page.objects, 1)
    ]


async def test_listing_and_copying_any_key(moto: Moto) -> None:
    """Keys that boto3 put arrive unchanged in the listing and at the target."""
    images = await listed(moto)
    assert [image.key for image in images] == sorted(KEYS, key=lambda key: key.encode())
    for image in images:
        target = S3Location(CLEAN, "copy/" + image.key[:1019])
        await S3Sink(moto.calls).perform(Effect(kind=ActionKind.COPY, source=image, target=target))
        copied = moto.s3.get_object(Bucket=CLEAN, Key=target.key)
        assert copied["Body"].read() == image.key.encode()
        assert copied["ETag"].strip('"') == image.etag


async def test_a_listing_continues_after_a_key(moto: Moto) -> None:
    """A listing can continue after any key (StartAfter)."""
    images = await listed(moto)
    for position, image in enumerate(images):
        page = await S3Source(moto.calls, RAW, "").page(image.key)
        assert [one.key for one in page.objects] == [later.key for later in images[position + 1 :]]


async def test_what_is_not_there(moto: Moto) -> None:
    """A missing bucket is an error of the account, a missing object one of the image."""
    with pytest.raises(BucketNotFoundError):
        await S3Source(moto.calls, "moto-missing", "").page(None)
    gone = ObjectRef(bucket=RAW, key="gone", size_bytes=1, etag="e", seq=1)
    effect = Effect(kind=ActionKind.COPY, source=gone, target=S3Location(CLEAN, "gone"))
    with pytest.raises(ImageError) as caught:
        await S3Sink(moto.calls).perform(effect)
    assert caught.value.code == "vanished"
