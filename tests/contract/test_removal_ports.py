"""The guarantees of a ``Remover``, in memory and over S3 with both clients against the sandbox; tags over S3."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from typing import Any

import pytest
import pytest_asyncio

from asyncfilter.aws import open_aws
from asyncfilter.aws.clients.boto import BotoS3
from asyncfilter.aws.clients.error_response import ErrorResponse, ErrorResponseError, Operation
from asyncfilter.aws.clients.fast import FastS3
from asyncfilter.aws.clients.protocols import Deleted, ObjectHead, S3Api, is_part
from asyncfilter.aws.clients.s3_xml import delete_request, read_outcomes
from asyncfilter.aws.clients.signed_http import open_signed_client
from asyncfilter.aws.s3.content import PART_BYTES
from asyncfilter.aws.s3.remover import S3Remover
from asyncfilter.aws.s3.source_sink import S3Sink
from asyncfilter.aws.s3.versions import S3Versions
from asyncfilter.errors import (
    BucketNotFoundError,
    CallError,
    ImageError,
    PermissionDeniedError,
    ThrottledError,
    TransientError,
)
from asyncfilter.job.spec import Aws, ClientKind
from asyncfilter.model import ActionKind, Effect, IfExists, ObjectRef, S3Location
from asyncfilter.ports.remover import CopyResult, DeleteRequest, DeleteResult, ObjectState, Remover, VersionState
from asyncfilter.records.removal import NULL_VERSION, BucketState, Versioning
from asyncfilter.sandbox import BucketSpec, Sandbox, SandboxOptions
from asyncfilter.sandbox.access import DenyRule
from asyncfilter.sandbox.store import Stored
from asyncfilter.testing import MemoryStore
from tests.kit.collision import same_md5
from tests.kit.keys import HOSTILE_KEYS
from tests.kit.services import serving, set_faults

pytestmark = pytest.mark.asyncio(loop_scope="module")

BIN = "bin"
STATES = {"raw-off": Versioning.OFF, "raw-on": Versioning.ON, "raw-suspended": Versioning.SUSPENDED}
_SANDBOX_STATES = {Versioning.OFF: None, Versioning.ON: "Enabled", Versioning.SUSPENDED: "Suspended"}


class MemoryBuckets:
    """Stores in memory, one per bucket."""

    def __init__(self) -> None:
        self._stores = {name: MemoryStore(name, versioning=versioning) for name, versioning in STATES.items()}

    def remover(self, bucket: str) -> Remover:
        """The remover for objects of a bucket."""
        return self._stores[bucket]

    def put(self, bucket: str, key: str, body: bytes = b"picture", at: str | None = None) -> ObjectRef:
        """Store an object in ``bucket``, or in another bucket ``at``."""
        etag = self._stores[bucket].put(key, body, at)
        return ObjectRef(bucket=at or bucket, key=key, size_bytes=len(body), etag=etag, seq=1)

    def body(self, bucket: str, key: str, at: str | None = None) -> bytes | None:
        """Content of an object; None if there is none."""
        return self._stores[bucket].body(key, at)


class S3Buckets:
    """A client over the sandbox."""

    def __init__(self, sandbox: Sandbox, calls: S3Api, kept: S3Versions) -> None:
        self.sandbox = sandbox
        self.calls = calls
        self.kept = kept
        self.sink = S3Sink(calls)

    def remover(self, bucket: str) -> Remover:
        """The remover for objects of a bucket."""
        return S3Remover(self.calls, self.kept, BucketState(versioning=STATES.get(bucket, Versioning.OFF)))

    def put(self, bucket: str, key: str, body: bytes = b"picture", at: str | None = None) -> ObjectRef:
        """Store an object in ``bucket``, or in another bucket ``at``."""
        stored = self.sandbox.put(at or bucket, key, body)
        return ObjectRef(bucket=at or bucket, key=key, size_bytes=len(body), etag=stored.etag, seq=1)

    def body(self, bucket: str, key: str, at: str | None = None) -> bytes | None:
        """Content of an object; None if there is none."""
        stored = self.sandbox.bucket(at or bucket).get(key)
        return stored.body if stored else None

    def stored(self, bucket: str, key: str) -> Stored:
        """The stored object with all its attributes."""
        found = self.sandbox.bucket(bucket).get(key)
        assert found is not None
        return found


Buckets = MemoryBuckets | S3Buckets


async def open_s3(stack: AsyncExitStack, client: ClientKind) -> S3Buckets:
    """A sandbox with a bucket of each kind, signatures verified, and a client over it."""
    options = SandboxOptions(
        buckets=tuple(BucketSpec(name) for name in (*STATES, BIN, "locked")),
        verify_signatures=True,
        check_images=False,
        deny=(
            DenyRule("DeleteObject", "*/locked*"),
            DenyRule("HeadObject", "*/unreadable*"),
            DenyRule("GetBucketVersioning", "locked*"),
            DenyRule("PutObjectTagging", "*/untaggable*"),
        ),
    )
    sandbox = await stack.enter_async_context(serving(options))
    for name, versioning in STATES.items():
        sandbox.bucket(name).versioning = _SANDBOX_STATES[versioning]
    session = await stack.enter_async_context(open_aws(Aws(client=client), timeout_s=0.5, connections=20))
    signed_client = await stack.enter_async_context(open_signed_client(session))
    calls: S3Api = FastS3(session, signed_client) if client is ClientKind.FAST else BotoS3(session)
    return S3Buckets(sandbox, calls, S3Versions(session))


@pytest_asyncio.fixture(params=["memory", *ClientKind], scope="module", loop_scope="module")
async def buckets(request: pytest.FixtureRequest) -> AsyncIterator[Buckets]:
    """The removers of every kind."""
    async with AsyncExitStack() as stack:
        yield MemoryBuckets() if request.param == "memory" else await open_s3(stack, request.param)


@pytest_asyncio.fixture(params=list(ClientKind), scope="module", loop_scope="module")
async def s3(request: pytest.FixtureRequest) -> AsyncIterator[S3Buckets]:
    """S3 with each of the clients."""
    async with AsyncExitStack() as stack:
        yield await open_s3(stack, request.param)


def requests(images: Sequence[ObjectRef]) -> list[DeleteRequest]:
    """The arguments of ``Remover.delete``."""
    return [DeleteRequest(key=image.key, etag=image.etag, size_bytes=image.size_bytes) for image in images]


def location(image: ObjectRef) -> S3Location:
    """The location of an image."""
    return S3Location(image.bucket, image.key)


def codes(results: Sequence[DeleteResult | CallError]) -> list[str]:
    """The outcome of each delete: the class of its result, or the error code."""
    return [result.code if isinstance(result, ImageError) else type(result).__name__ for result in results]


# -- Every remover -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bucket", STATES)
async def test_any_key_is_deleted_and_nothing_else(buckets: Buckets, bucket: str) -> None:
    """docs/guarantees.md, *Any key works*: any key that S3 allows is deleted; similar keys stay."""
    images = [buckets.put(bucket, key) for key in HOSTILE_KEYS]
    beside = [buckets.put(bucket, key[:-1] + "!") for key in HOSTILE_KEYS]
    results = await buckets.remover(bucket).delete(bucket, requests(images))
    assert codes(results) == ["DeleteResult"] * len(HOSTILE_KEYS)
    assert {buckets.body(bucket, key) for key in HOSTILE_KEYS} == {None}
    assert {buckets.body(bucket, one.key) for one in beside} == {b"picture"}
    markers = [result.marker for result in results if isinstance(result, DeleteResult)]
    if bucket == "raw-on":
        assert len(set(markers)) == len(HOSTILE_KEYS)
    else:
        assert set(markers) == {NULL_VERSION if bucket == "raw-suspended" else ""}


@pytest.mark.parametrize("bucket", STATES)
@pytest.mark.parametrize("suffix", ["", "\x01"])
async def test_each_delete_is_on_condition_of_its_etag(buckets: Buckets, bucket: str, suffix: str) -> None:
    """Changed objects stay, missing ones are reported, the others are deleted; in a batch and singly."""
    kept, changed, gone = (buckets.put(bucket, f"{name}{suffix}") for name in ("good", "changed", "gone"))
    buckets.put(bucket, changed.key, b"newer")
    await buckets.remover(bucket).delete(bucket, requests([gone]))
    results = await buckets.remover(bucket).delete(bucket, requests([changed, gone, kept]))
    assert codes(results) == ["changed", "vanished", "DeleteResult"]
    assert buckets.body(bucket, changed.key) == b"newer"


async def test_a_thousand_go_in_one_batch(buckets: Buckets) -> None:
    """A batch of the size that S3 allows has a result for each key."""
    images = [buckets.put("raw-on", f"many/{n:04}") for n in range(1000)]
    buckets.put("raw-on", "many/0500", b"newer")
    results = await buckets.remover("raw-on").delete("raw-on", requests(images))
    assert [position for position, code in enumerate(codes(results)) if code != "DeleteResult"] == [500]


@pytest.mark.parametrize("key", HOSTILE_KEYS)
async def test_removing_the_marker_brings_the_very_object_back(buckets: Buckets, key: str) -> None:
    """The marker that a delete returns is the newest version; removing it restores the object unchanged."""
    image = buckets.put("raw-on", key, b"old")
    image = buckets.put("raw-on", key, f"picture of {key}".encode())
    remover = buckets.remover("raw-on")
    (gone,) = await remover.delete("raw-on", requests([image]))
    assert isinstance(gone, DeleteResult)
    assert await remover.head(location(image)) is None
    versions = await remover.versions(location(image))
    assert versions[0] == VersionState(id=gone.marker, is_marker=True)
    assert (versions[1].etag, versions[1].size_bytes) == (image.etag, image.size_bytes)
    for _ in range(2):  # a repetition is harmless
        await remover.remove_marker(location(image), gone.marker)
    assert await remover.head(location(image)) == ObjectState(etag=image.etag, size_bytes=image.size_bytes)
    assert buckets.body("raw-on", key) == f"picture of {key}".encode()


async def test_versions_are_of_one_key(buckets: Buckets) -> None:
    """Keys with the same prefix are not mixed up; without versioning there is at most the object itself."""
    image = buckets.put("raw-on", "one")
    buckets.put("raw-on", "one and more")
    assert [one.etag for one in await buckets.remover("raw-on").versions(location(image))] == [image.etag]
    assert await buckets.remover("raw-on").versions(S3Location("raw-on", "none")) == []


async def test_head(buckets: Buckets) -> None:
    """``head`` gives ETag and size, or None."""
    image = buckets.put("raw-off", "look", b"12345")
    assert await buckets.remover("raw-off").head(location(image)) == ObjectState(etag=image.etag, size_bytes=5)
    assert await buckets.remover("raw-off").head(S3Location("raw-off", "nothing")) is None


async def test_copies_report_an_existing_object(buckets: Buckets) -> None:
    """The target gets a new copy, or has the same content already, or another object, which is not overwritten."""
    image, remover = buckets.put("raw-off", "copied"), buckets.remover("raw-off")
    target = S3Location(BIN, "copied")
    effect = Effect(kind=ActionKind.COPY, source=image, target=target, if_exists=IfExists.FAIL)
    assert await remover.copy(effect) == CopyResult(etag=image.etag, is_new=True)
    assert await remover.copy(effect) == CopyResult(etag=image.etag, is_new=False)
    buckets.put("raw-off", "copied", b"another", at=BIN)
    with pytest.raises(ImageError) as caught:
        await remover.copy(effect)
    assert caught.value.code == "target_exists"
    buckets.put("raw-off", "copied", b"newer")
    with pytest.raises(ImageError) as caught:
        await remover.copy(effect)
    assert caught.value.code == "changed"
    assert buckets.body("raw-off", "copied", at=BIN) == b"another"


async def test_an_object_at_a_target_is_checked_before_a_delete(buckets: Buckets) -> None:
    """``existing_copy`` gives None, a copy of the source's image, or an error; never another object."""
    image, remover = buckets.put("raw-off", "stale"), buckets.remover("raw-off")
    effect = Effect(kind=ActionKind.COPY, source=image, target=S3Location(BIN, "stale"), if_exists=IfExists.FAIL)
    assert await remover.existing_copy(effect) is None
    await remover.copy(effect)
    assert await remover.existing_copy(effect) == CopyResult(etag=image.etag, is_new=False)
    buckets.put("raw-off", "stale", b"newer")
    with pytest.raises(ImageError) as caught:
        await remover.existing_copy(effect)
    assert caught.value.code == "changed"
    buckets.put("raw-off", "stale")
    buckets.put("raw-off", "stale", b"another", at=BIN)
    with pytest.raises(ImageError) as caught:
        await remover.existing_copy(effect)
    assert caught.value.code == "target_exists"


async def test_a_target_that_may_not_be_looked_at_is_guarded_by_the_condition(s3: S3Buckets) -> None:
    """Without s3:ListBucket a missing object answers 403; a copy is still made where no object is, and only there."""
    remover, image = s3.remover("raw-off"), s3.put("raw-off", "seen.jpg")
    effect = Effect(
        kind=ActionKind.COPY, source=image, target=S3Location(BIN, "unreadable/1.jpg"), if_exists=IfExists.FAIL
    )
    assert await remover.copy(effect) == CopyResult(etag=image.etag, is_new=True)
    s3.put("raw-off", "unreadable/1.jpg", b"another", at=BIN)
    with pytest.raises(PermissionDeniedError):
        await remover.copy(effect)
    assert s3.body("raw-off", "unreadable/1.jpg", at=BIN) == b"another"


# -- S3 ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("bucket", "versioning"), STATES.items())
async def test_what_deleting_means(s3: S3Buckets, bucket: str, versioning: Versioning) -> None:
    """The bucket's versioning state; unknown if permission is denied, and an error if the bucket is missing."""
    assert await s3.kept.state(bucket) == BucketState(versioning=versioning)
    assert await s3.kept.state("locked") == BucketState(versioning=Versioning.UNKNOWN)
    with pytest.raises(BucketNotFoundError):
        await s3.kept.state("no-such-bucket")


async def test_a_denied_key_is_its_own(s3: S3Buckets) -> None:
    """A forbidden key, in a batch or singly, is reported for that key; the others are deleted."""
    names = ["locked.jpg", "free.jpg", "locked\x01.jpg", "free\x01.jpg"]
    images = [s3.put("raw-off", name) for name in names]
    results = await s3.remover("raw-off").delete("raw-off", requests(images))
    assert codes(results) == ["access_denied", "DeleteResult", "access_denied", "DeleteResult"]
    denied = results[0]
    assert isinstance(denied, ImageError)
    assert denied.access
    assert "s3:DeleteObject" in str(denied.hint)
    unreadable = s3.put("raw-off", "unreadable.jpg")
    with pytest.raises(ImageError) as caught:
        await s3.remover("raw-off").head(location(unreadable))
    assert (caught.value.code, caught.value.access) == ("access_denied", True)


async def test_a_batch_that_fails_as_a_whole(s3: S3Buckets) -> None:
    """After a throttle nothing was done; after no answer or half an answer the delete may have been done."""
    for fault, error in (("slowdown", ThrottledError), ("internal", TransientError), ("reset", TransientError),
                         ("timeout", TransientError), ("cut", TransientError)):  # fmt: skip
        image = s3.put("raw-off", f"{fault}.jpg")
        await set_faults(s3.sandbox, f"{fault}:DeleteObjects=100%")
        with pytest.raises(error):
            await s3.remover("raw-off").delete("raw-off", requests([image]))
        await set_faults(s3.sandbox)
        again = await s3.remover("raw-off").delete("raw-off", requests([image]))
        assert codes(again) == (["vanished"] if fault in {"reset", "timeout", "cut"} else ["DeleteResult"])
    with pytest.raises(BucketNotFoundError):
        await s3.remover("raw-off").delete("no-such-bucket", [DeleteRequest(key="a", etag="b", size_bytes=1)])


async def test_a_single_delete_that_fails_in_passing_is_a_value(s3: S3Buckets) -> None:
    """An error for a key with control characters does not hide the results of the batch."""
    images = [s3.put("raw-off", "in batch"), s3.put("raw-off", "alone\x01")]
    await set_faults(s3.sandbox, "slowdown:DeleteObject=100%")
    results = await s3.remover("raw-off").delete("raw-off", requests(images))
    await set_faults(s3.sandbox)
    assert codes(results) == ["DeleteResult", "ThrottledError"]


async def test_a_single_delete_without_an_answer_may_have_been_done(s3: S3Buckets) -> None:
    """The client does not repeat a delete itself: a hidden repetition would report a missing object."""
    if isinstance(s3.calls, BotoS3):
        pytest.skip("aiohttp repeats a DELETE by itself over a connection that was kept alive")
    image = s3.put("raw-off", "unanswered\x01")
    await s3.remover("raw-off").head(location(image))  # a connection that is kept alive
    await set_faults(s3.sandbox, "reset:DeleteObject=1x")
    results = await s3.remover("raw-off").delete("raw-off", requests([image]))
    await set_faults(s3.sandbox)
    assert (codes(results), s3.body("raw-off", image.key)) == (["TransientError"], None)


async def test_every_error_of_a_batch_is_reported_by_key() -> None:
    """Error codes of single keys have the meaning they have for a request; keys are returned unescaped."""
    body = (
        b'<?xml version="1.0"?><DeleteResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        b"<Deleted><Key>a&amp;b</Key><DeleteMarker>true</DeleteMarker>"
        b"<DeleteMarkerVersionId>m1</DeleteMarkerVersionId></Deleted>"
        b"<Deleted><Key>c</Key></Deleted>"
        b"<Error><Key>d&#x20;&lt;</Key><Code>SlowDown</Code><Message>Please reduce</Message></Error>"
        b"<Error><Key>e</Key><VersionId>v</VersionId><Code>InternalError</Code><Message>We</Message></Error>"
        b"</DeleteResult>"
    )
    outcomes = read_outcomes(body, "raw")
    assert outcomes["a&b"] == Deleted("m1")
    assert outcomes["c"] == Deleted("")
    reported = {key: answer.code for key, answer in outcomes.items() if isinstance(answer, ErrorResponse)}
    assert reported == {"d <": "SlowDown", "e": "InternalError"}
    assert b"<Key>&lt;a&gt;&amp;</Key><ETag>&quot;e-2&quot;</ETag>" in delete_request([("<a>&", "e-2")])


class PartialDeletes:
    """A client whose DeleteObjects names only some of the keys."""

    def __init__(self, outcomes: dict[str, Any]) -> None:
        self._outcomes = outcomes

    async def delete_objects(self, bucket: str, wanted: Sequence[tuple[str, str]]) -> dict[str, Any]:
        """See ``S3Api``."""
        return self._outcomes


async def test_a_key_the_answer_does_not_name_is_unknown() -> None:
    """A key without a result is neither deleted nor failed, but uncertain."""
    client: Any = PartialDeletes({"a": Deleted("")})
    remover = S3Remover(client, client, BucketState(versioning=Versioning.OFF))
    results = await remover.delete("raw", [DeleteRequest(key=key, etag="1", size_bytes=1) for key in "ab"])
    assert codes(results) == ["DeleteResult", "TransientError"]


class Heads:
    """A client whose copies all find an object at the target."""

    def __init__(self, source: ObjectHead, target: ObjectHead) -> None:
        self._heads = {"raw": source, BIN: target}

    async def copy_object(self, source: ObjectRef, target: S3Location, *, only_new: bool) -> str:
        """See ``S3Api``."""
        assert only_new
        raise ErrorResponseError(ErrorResponse(operation=Operation.COPY_OBJECT, where=target.uri, status=412))

    async def head_object(self, bucket: str, key: str) -> ObjectHead:
        """See ``S3Api``."""
        return self._heads[bucket]


CRC, SHA = "x-amz-checksum-crc32", "x-amz-checksum-sha256"


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ({CRC: "same"}, {CRC: "same"}, True),
        ({CRC: "same", SHA: "same"}, {CRC: "same"}, True),
        ({CRC: "same", SHA: "one"}, {CRC: "same", SHA: "other"}, False),
        ({SHA: "one"}, {SHA: "other"}, False),
        ({SHA: "same-2"}, {SHA: "same-2"}, False),
        ({SHA: "same"}, {CRC: "same"}, False),
        ({}, {}, False),
    ],
)
async def test_what_lies_at_the_target_is_the_image_only_by_all_its_checksums(
    one: dict[str, str], other: dict[str, str], is_same: bool
) -> None:
    """An object counts as the image's copy only if no checksum that both have differs."""
    heads: Any = Heads(ObjectHead("e-2", 7, archived=False, checksums=one), ObjectHead("f-3", 7, False, other))
    image = ObjectRef(bucket="raw", key="k", size_bytes=7, etag="e-2", seq=1)
    effect = Effect(kind=ActionKind.COPY, source=image, target=S3Location(BIN, "k"), if_exists=IfExists.FAIL)
    if is_same:
        assert await S3Sink(heads).copy(effect) == CopyResult(etag="f-3", is_new=False)
    else:
        with pytest.raises(ImageError) as caught:
            await S3Sink(heads).copy(effect)
        assert caught.value.code == "target_exists"


# -- Tags --------------------------------------------------------------------------------------------------------------


def tagging(image: ObjectRef, **tags: str) -> Effect:
    """The effect that writes ``tags``."""
    return Effect(kind=ActionKind.TAG, source=image, tags=tags)


@pytest.mark.parametrize("bucket", STATES)
@pytest.mark.parametrize("key", HOSTILE_KEYS)
async def test_tags_are_added_to_what_is_there(s3: S3Buckets, bucket: str, key: str) -> None:
    """Other tags stay, an existing name gets the new value, and a repetition changes nothing."""
    image = s3.put(bucket, key)
    s3.sandbox.bucket(bucket).set_tags(s3.stored(bucket, key), {"owner": "shop + co", "class": "unknown"})
    for _ in range(2):
        await s3.sink.perform(tagging(image, **{"class": "person", "rule-1": "a:b/c@d"}))
        assert s3.stored(bucket, key).tags == {"owner": "shop + co", "class": "person", "rule-1": "a:b/c@d"}
    assert s3.stored(bucket, key).etag == image.etag


async def test_ten_tags_are_the_most(s3: S3Buckets) -> None:
    """One tag too many fails the image, and existing tags stay."""
    image = s3.put("raw-off", "full.jpg")
    nine = {f"t{n}": "x" for n in range(9)}
    s3.sandbox.bucket("raw-off").set_tags(s3.stored("raw-off", "full.jpg"), nine)
    await s3.sink.perform(tagging(image, ten="x"))
    with pytest.raises(ImageError, match="has 10 tags, 11 with") as caught:
        await s3.sink.perform(tagging(image, eleven="x"))
    assert caught.value.code == "too_many_tags"
    assert s3.stored("raw-off", "full.jpg").tags == {**nine, "ten": "x"}


@pytest.mark.parametrize("bucket", STATES)
async def test_only_what_was_examined_is_tagged(s3: S3Buckets, bucket: str) -> None:
    """A replaced object is reported as changed and not tagged, a missing one as vanished."""
    image = s3.put(bucket, "replaced.jpg")
    s3.put(bucket, "replaced.jpg", b"newer")
    with pytest.raises(ImageError) as caught:
        await s3.sink.perform(tagging(image, a="b"))
    assert caught.value.code == "changed"
    assert s3.stored(bucket, "replaced.jpg").tags is None
    gone = ObjectRef(bucket=bucket, key="gone.jpg", size_bytes=1, etag="e", seq=1)
    with pytest.raises(ImageError) as caught:
        await s3.sink.perform(tagging(gone, a="b"))
    assert caught.value.code == "vanished"


async def test_tagging_that_is_not_allowed_is_the_accounts(s3: S3Buckets) -> None:
    """The hint names the permission."""
    image = s3.put("raw-off", "untaggable.jpg")
    with pytest.raises(PermissionDeniedError) as caught:
        await s3.sink.perform(tagging(image, a="b"))
    assert "s3:PutObjectTagging" in str(caught.value.hint)


# -- Same MD5, other picture -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rest", [b"", b"x" * 1000, b"y" * (PART_BYTES + 77)])
async def test_equal_etags_do_not_make_two_objects_the_same(buckets: Buckets, rest: bytes) -> None:
    """Two contents with one MD5 and one size differ, of any size; two objects with the same bytes do not."""
    one, other = same_md5(rest)
    image, twin = buckets.put("raw-off", "twin a.jpg", one), buckets.put("raw-off", "twin+b.jpg", one)
    different = buckets.put("raw-off", "twin c.jpg", other)
    assert image.etag == different.etag
    remover = buckets.remover("raw-off")
    assert await remover.same_content(image, twin)
    assert not await remover.same_content(image, different)
    assert not await remover.same_content(different, image)


async def test_what_is_compared_is_what_was_examined(buckets: Buckets) -> None:
    """An image or an original that was replaced or deleted is not compared."""
    image, original = buckets.put("raw-off", "now a.jpg", b"a"), buckets.put("raw-off", "now b.jpg", b"a")
    remover = buckets.remover("raw-off")
    buckets.put("raw-off", "now b.jpg", b"b")
    for gone in (original, ObjectRef(bucket="raw-off", key="none.jpg", size_bytes=1, etag=original.etag, seq=1)):
        with pytest.raises(ImageError) as caught:
            await remover.same_content(image, gone)
        assert caught.value.code == "original_gone"
    buckets.put("raw-off", "now a.jpg", b"b")
    with pytest.raises(ImageError) as caught:
        await remover.same_content(image, buckets.put("raw-off", "now b.jpg", b"a"))
    assert caught.value.code == "changed"


async def test_sha256_of_whole_objects_saves_the_reading(s3: S3Buckets) -> None:
    """Where both have one, no byte is read; one of an upload in parts is no sum of the bytes."""
    one, other = same_md5(b"z")
    image, different = s3.put("raw-off", "sum a.jpg", one), s3.put("raw-off", "sum b.jpg", other)
    twin = s3.put("raw-off", "sum c.jpg", one)
    remover = s3.remover("raw-off")

    def give(ref: ObjectRef, sum_: str) -> None:
        checksums = s3.stored(ref.bucket, ref.key).attributes.checksums
        checksums.clear()
        checksums.update({"x-amz-checksum-sha256": sum_} if sum_ else {})

    def read() -> int:
        found = s3.sandbox.stats().operations.get("GetObject")
        return found.attempts if found is not None else 0

    give(image, sha256_of(one))
    give(different, sha256_of(other))
    give(twin, sha256_of(one))
    before = read()
    assert (await remover.same_content(image, twin), await remover.same_content(image, different)) == (True, False)
    assert read() == before
    # Both say the same of their parts, which says nothing of their bytes.
    for ref in (image, different, twin):
        give(ref, "AAAA-3")
    assert (await remover.same_content(image, twin), await remover.same_content(image, different)) == (True, False)
    give(twin, "")
    assert await remover.same_content(image, twin)
    assert read() > before


async def test_a_store_that_ignores_ranges_shows_no_duplicates(s3: S3Buckets, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first bytes, sent again for every part, are not taken for the whole."""
    rest = b"y" * PART_BYTES
    image, twin = s3.put("raw-off", "part a.jpg", b"a" + rest), s3.put("raw-off", "part b.jpg", b"a" + rest)

    async def ignoring(image: ObjectRef, start: int, size_bytes: int) -> bytes | None:
        del image, size_bytes
        return None if start else b"a"

    monkeypatch.setattr(s3.calls, "read_part", ignoring)
    with pytest.raises((ImageError, TransientError)):
        await s3.remover("raw-off").same_content(image, twin)


def sha256_of(body: bytes) -> str:
    """The value of the header."""
    return b64encode(hashlib.sha256(body).digest()).decode()


@pytest.mark.parametrize(
    ("status", "content_range", "start", "is_that_part"),
    [
        (206, "bytes 0-9/100", 0, True),
        (206, "bytes 10-19/100", 10, True),
        (206, "bytes 0-9/100", 10, False),
        (206, "bytes 1-9/100", 10, False),
        (206, "", 10, False),
        (200, "", 0, False),
        (200, "bytes 10-19/100", 10, False),
    ],
)
async def test_a_part_is_the_one_asked_for(status: int, content_range: str, start: int, *, is_that_part: bool) -> None:
    """Nothing else is compared as that part."""
    assert is_part(status, content_range, start) is is_that_part


async def test_another_object_with_the_same_etag_is_no_copy(s3: S3Buckets) -> None:
    """What stands at the target of a copy counts as the copy only while no checksum says otherwise."""
    one, other = same_md5(b"copy")
    image, there = s3.put("raw-off", "copy a.jpg", one), s3.put("raw-off", "copy a.jpg", other, BIN)
    effect = Effect(kind=ActionKind.COPY, source=image, target=location(there), if_exists=IfExists.FAIL)
    for ref, body in ((image, one), (there, other)):
        s3.stored(ref.bucket, ref.key).attributes.checksums["x-amz-checksum-sha256"] = sha256_of(body)
    with pytest.raises(ImageError) as caught:
        await s3.remover("raw-off").copy(effect)
    assert caught.value.code == "target_exists"
