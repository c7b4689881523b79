"""Stores that differ from S3, as sandboxes with quirks, on both clients: nothing loops, is lost, or is paid in vain."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from asyncfilter.aws import open_aws, open_clients, open_detector, open_remover, open_store
from asyncfilter.aws.factory import AwsClients, S3Store
from asyncfilter.aws.references import open_references
from asyncfilter.aws.s3.listing import MOST_EMPTY_PAGES
from asyncfilter.aws.s3.remover import S3Remover
from asyncfilter.errors import (
    EndpointError,
    ImageError,
    PermissionDeniedError,
    RegionMismatchError,
    StoreError,
    UsageError,
)
from asyncfilter.job.spec import Action, Aws, ClientKind, DetectorSpec, Job, SourceSpec
from asyncfilter.model import ActionKind, Effect, IfExists, ObjectRef, S3Location, Verdict
from asyncfilter.policy.object_filter import ARCHIVED_CLASSES
from asyncfilter.ports.remover import DeleteRequest, DeleteResult
from asyncfilter.records.removal import Versioning
from asyncfilter.sandbox import BucketSpec, Fault, FaultKind, Quirk, Sandbox, SandboxOptions
from asyncfilter.sandbox.access import DenyRule
from asyncfilter.sandbox.store import Stored
from tests.kit.jobs import make_bare_job
from tests.kit.services import aws_settings, serving

RAW, CLEAN = "raw", "clean"
KEYS = ["a%20b.jpg", "b+c.jpg", "d.jpg", "sub/e.jpg", "Zoë.jpg"]
CLIENTS = pytest.mark.parametrize("client", list(ClientKind))


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asyncfilter.aws.preflight._PAUSE_S", 0.0)


@pytest.fixture(autouse=True)
def _bare_environment() -> Iterator[None]:
    with aws_settings(AWS_EC2_METADATA_DISABLED="true"):
        yield


def job(client: ClientKind, *, bucket: str = RAW, prefix: str = "", detector: DetectorSpec | None = None) -> Job:
    """A job over these buckets."""
    return replace(
        make_bare_job(),
        source=SourceSpec(bucket=bucket, prefix=prefix),
        detector=detector or DetectorSpec(),
        actions={Verdict.KEEP: Action(kind=ActionKind.COPY, target=f"s3://{CLEAN}/{{key}}")},
        aws=Aws(client=client),
    )


class Opened:
    """A store of one client over a sandbox."""

    def __init__(self, sandbox: Sandbox, clients: AwsClients, store: S3Store, remover: S3Remover) -> None:
        self.sandbox = sandbox
        self.clients = clients
        self.store = store
        self.remover = remover

    def put(self, key: str, body: bytes = b"picture", bucket: str = RAW) -> ObjectRef:
        """Store an object; the reference that a listing would give."""
        stored = self.sandbox.put(bucket, key, body)
        return ObjectRef(bucket=bucket, key=key, size_bytes=len(body), etag=stored.etag, seq=1)

    def body(self, key: str, bucket: str = CLEAN) -> bytes | None:
        """Content of an object; None if there is none."""
        stored = self.sandbox.bucket(bucket).get(key)
        return stored.body if stored else None

    async def copy(self, image: ObjectRef, key: str, if_exists: IfExists = IfExists.OVERWRITE) -> None:
        """Copy as ``run`` does."""
        effect = Effect(kind=ActionKind.COPY, source=image, target=S3Location(CLEAN, key), if_exists=if_exists)
        await self.store.sink.perform(effect)

    async def tag(self, image: ObjectRef) -> None:
        """Tag as ``run`` does."""
        await self.store.sink.perform(Effect(kind=ActionKind.TAG, source=image, tags={"class": "bird"}))

    def requests(self, operation: str) -> int:
        """Requests of an operation that the sandbox has received."""
        operations = self.sandbox.stats().operations
        return operations[operation].attempts if operation in operations else 0


@asynccontextmanager
async def opening(client: ClientKind, *quirks: Quirk, one: Job | None = None, **options: Any) -> AsyncIterator[Opened]:
    """A store over a sandbox with quirks; its source has ``KEYS``, and its checks before a run passed."""
    one = one or job(client)
    both: dict[str, Any] = {
        "buckets": (BucketSpec(RAW), BucketSpec(CLEAN)),
        "check_images": False,
        "quirks": quirks,
    } | options
    async with serving(SandboxOptions(**both)) as sandbox:
        for key in KEYS:
            sandbox.put(RAW, key, key.encode())
        async with open_aws(one.aws, timeout_s=2, connections=5) as session, open_clients(one.aws, session) as clients:
            yield Opened(sandbox, clients, await open_store(one, clients), await open_remover(one, clients))


# -- Listings that do not go on ----------------------------------------------------------------------------------------


async def whole_listing(store: S3Store) -> list[str]:
    """The keys of all pages, read as a run reads them."""
    keys: list[str] = []
    after = None
    while True:
        page = await store.source.page(after)
        keys += [listed.key for listed in page.objects]
        if page.is_last:
            return keys
        after = keys[-1]


async def _list_many(client: ClientKind, quirk: Quirk) -> None:
    async with opening(client, quirk) as opened:
        for n in range(1200):
            opened.sandbox.put(RAW, f"many/{n:04}", b"x")
        await whole_listing(opened.store)


@CLIENTS
@pytest.mark.parametrize(
    ("quirk", "word"),
    [
        (Quirk.IGNORE_START_AFTER, "begins with"),
        (Quirk.INCLUSIVE_START_AFTER, "begins with"),
        (Quirk.UNORDERED, "not in order"),
        (Quirk.NO_TOKEN, "no token"),
        (Quirk.NO_ETAG, "no ETag"),
    ],
)
async def test_a_listing_that_does_not_go_on_ends_with_a_word(client: ClientKind, quirk: Quirk, word: str) -> None:
    """Two pages are read at most; the error is one of access, with a remedy."""
    with pytest.raises(StoreError, match=word) as caught:
        await _list_many(client, quirk)
    assert caught.value.exit_code == 4
    assert caught.value.hint


@CLIENTS
@pytest.mark.parametrize(
    ("quirk", "word", "most"),
    [
        (Quirk.EMPTY_PAGES, "in a row are empty", MOST_EMPTY_PAGES + 1),
        (Quirk.SAME_EMPTY_PAGE, "same token", 2),
    ],
)
async def test_empty_pages_end(client: ClientKind, quirk: Quirk, word: str, most: int) -> None:
    """Empty pages that repeat a token end at once, others after a bounded number."""
    options = SandboxOptions(buckets=(BucketSpec(RAW), BucketSpec(CLEAN)), quirks=(quirk,))
    async with serving(options) as sandbox:
        one = job(client)
        async with open_aws(one.aws, timeout_s=2, connections=5) as session, open_clients(one.aws, session) as clients:
            with pytest.raises(StoreError, match=word):
                await open_store(one, clients)
        assert sandbox.stats().operations["ListObjectsV2"].attempts == most


@CLIENTS
async def test_keys_outside_of_the_prefix_are_refused(client: ClientKind) -> None:
    """A store that ignores the prefix would have images examined that the job does not name."""
    with pytest.raises(StoreError, match="not below the prefix"):
        async with opening(client, Quirk.IGNORE_PREFIX, one=job(client, prefix="sub/")):
            pytest.fail("the store opened")


@CLIENTS
async def test_a_store_without_etags_is_refused_before_anything_is_paid(client: ClientKind) -> None:
    """The check of the source finds it, and a reference image without an ETag is refused too."""
    with pytest.raises(StoreError, match="no ETag"):
        async with opening(client, Quirk.NO_ETAG):
            pytest.fail("the store opened")


@CLIENTS
@pytest.mark.parametrize("quirk", [Quirk.NO_ENCODING, Quirk.ONLY_MD5, Quirk.IGNORE_CONDITIONS, Quirk.NO_VERSIONING])
async def test_differences_that_do_no_harm_are_taken(client: ClientKind, quirk: Quirk) -> None:
    """Keys arrive as they are, are copied, and deleted in one batch."""
    async with opening(client, quirk) as opened:
        keys = await whole_listing(opened.store)
        assert keys == sorted(KEYS)
        images = [opened.put(key) for key in keys]
        for image in images:
            await opened.copy(image, image.key)
        requests = [DeleteRequest(key=image.key, etag=image.etag, size_bytes=image.size_bytes) for image in images]
        results = await opened.remover.delete(RAW, requests)
        assert [type(result) for result in results] == [DeleteResult] * len(keys)
        assert opened.sandbox.keys(RAW) == []
        assert opened.sandbox.keys(CLEAN) == keys


@CLIENTS
@pytest.mark.parametrize("first_bytes", [None, 30])
async def test_bytes_of_another_object_are_refused_where_conditions_are_ignored(
    client: ClientKind, first_bytes: int | None
) -> None:
    """An object replaced since it was listed is not the one examined, though the store sends it."""
    async with opening(client, Quirk.IGNORE_CONDITIONS) as opened:
        image = opened.put(KEYS[0])
        opened.sandbox.put(RAW, image.key, b"x")
        with pytest.raises(ImageError) as raised:
            await opened.store.contents.read(image, first_bytes=first_bytes)
        assert raised.value.code == "changed"


# -- Regions, accounts, Requester Pays ---------------------------------------------------------------------------------


@CLIENTS
@pytest.mark.parametrize("region", ["eu-north-1", "sa-east-1", "cn-north-1", "garage"])
async def test_a_region_without_rekognition_is_refused_before_anything_is_paid(client: ClientKind, region: str) -> None:
    """The error names the regions that have it; an endpoint of one's own is the way out."""
    one = job(client, bucket="far")
    async with opening(client, one=one, buckets=(BucketSpec("far", region), BucketSpec(CLEAN))) as opened:
        with pytest.raises(RegionMismatchError, match=f"{region}.*eu-west-1") as caught:
            await open_detector(one, opened.clients, bucket_region=opened.store.region)
        assert "convert: true" in (caught.value.hint or "")
        with pytest.raises(RegionMismatchError):
            await open_references(["s3://far/a.jpg"], clients=opened.clients, spec=DetectorSpec())
        assert "DetectLabels" not in opened.sandbox.stats().operations
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AWS_ENDPOINT_URL_REKOGNITION", opened.sandbox.endpoint_url)
            _, found = await open_detector(one, opened.clients, bucket_region=opened.store.region)
        assert found == region


@CLIENTS
async def test_a_requester_pays_bucket_has_its_own_words(client: ClientKind) -> None:
    """The remedy is a copy of the images; a plain denial keeps its own."""
    with pytest.raises(PermissionDeniedError, match="Requester Pays") as caught:
        async with opening(client, Quirk.REQUESTER_PAYS):
            pytest.fail("the store opened")
    assert "--request-payer requester" in (caught.value.hint or "")
    with pytest.raises(PermissionDeniedError) as caught:
        async with opening(client, deny=(DenyRule("ListObjectsV2"),)):
            pytest.fail("the store opened")
    assert "Requester Pays" not in caught.value.message
    assert "s3:ListBucket" in (caught.value.hint or "")


@CLIENTS
@pytest.mark.parametrize(
    ("kind", "operation"),
    [
        (FaultKind.INTERNAL, "ListObjectsV2"),
        (FaultKind.UNAVAILABLE, "ListObjectsV2"),
        (FaultKind.CUT, "ListObjectsV2"),
        (FaultKind.RESET, "ListObjectsV2"),
        (FaultKind.RESET, "HeadBucket"),
        (FaultKind.INTERNAL, "GetBucketVersioning"),
    ],
)
async def test_s3_that_keeps_failing_is_an_error_of_access(client: ClientKind, kind: FaultKind, operation: str) -> None:
    """A 5xx that persists, and answers that never arrive, end with exit code 4 and a remedy, not as a defect."""
    with pytest.raises(EndpointError) as caught:
        async with opening(client, faults=(Fault(kind, 1.0, operation=operation),)):
            pytest.fail("the store opened")
    assert caught.value.exit_code == 4
    assert caught.value.hint


@CLIENTS
@pytest.mark.parametrize(
    "address",
    ["arn:aws:s3:::raw/a.jpg", "arn:aws:s3:us-east-1:123456789012:accesspoint/x/a.jpg", "s3://x-s3alias/a.jpg"],
)
async def test_a_reference_is_no_arn(client: ClientKind, address: str) -> None:
    """References of the command line get the words of the job file."""
    async with opening(client) as opened:
        with pytest.raises(UsageError, match=r"write s3://raw/a\.jpg|access point"):
            await open_references([address], clients=opened.clients, spec=DetectorSpec())


# -- Restored objects --------------------------------------------------------------------------------------------------


@CLIENTS
async def test_restored_objects_are_examined(client: ClientKind) -> None:
    """An archived object is skipped while it is archived; restored, it is listed as readable, copied and examined."""
    options: dict[str, Any] = {"archived": (f"{RAW}/d.jpg", f"{RAW}/sub/*"), "restored": (f"{RAW}/sub/*",)}
    async with opening(client, **options) as opened:
        listed = {one.key: one for one in (await opened.store.source.page(None)).objects}
        assert [key for key, one in listed.items() if one.storage_class in ARCHIVED_CLASSES] == ["d.jpg"]
        restored = listed["sub/e.jpg"]
        image = ObjectRef(bucket=RAW, key=restored.key, size_bytes=restored.size_bytes, etag=restored.etag, seq=1)
        await opened.copy(image, "copy")
        detector = await opened.clients.detector(DetectorSpec(), "us-east-1")
        assert (await detector.detect(image)).labels


# -- Tags --------------------------------------------------------------------------------------------------------------

TRAPS = {
    "JPEG": b"\xff\xd8\xff\xe0 <Tagging><TagSet></TagSet></Tagging>",
    "PNG": b"\x89PNG\r\n\x1a\n<?xml version='1.0'?><Tagging><TagSet/></Tagging>",
    "text": b"picture",
    "other XML": b"<?xml version='1.0'?><svg><Tagging><TagSet/></Tagging></svg>",
    "empty": b"",
}


@CLIENTS
@pytest.mark.parametrize("body", TRAPS.values(), ids=TRAPS)
async def test_tags_are_written_only_where_tags_were_read(client: ClientKind, body: bytes) -> None:
    """On a store that ignores ``?tagging`` the PUT would replace the image: no byte of it changes."""
    async with opening(client, Quirk.NO_TAGGING) as opened:
        image = opened.put("d.jpg", body)
        with pytest.raises(StoreError, match="nothing was written"):
            await opened.tag(image)
        assert opened.body("d.jpg", RAW) == body
        assert opened.requests("PutObject") == 0


@CLIENTS
async def test_tags_are_written_where_the_store_has_them(client: ClientKind) -> None:
    """An object without tags has an empty set of them."""
    async with opening(client) as opened:
        image = opened.put("d.jpg")
        await opened.tag(image)
        stored = opened.sandbox.bucket(RAW).get("d.jpg")
        assert stored is not None
        assert (stored.body, stored.tags) == (b"picture", {"class": "bird"})


@CLIENTS
@pytest.mark.parametrize("quirks", [(), (Quirk.TERSE_DENIALS,)])
@pytest.mark.parametrize("operation", ["GetObjectTagging", "PutObjectTagging"])
async def test_a_tagged_object_fails_alone_and_names_the_action(
    client: ClientKind, quirks: tuple[Quirk, ...], operation: str
) -> None:
    """CopyObject carries tags, which needs an action of its own; objects without tags are still copied."""
    async with opening(client, *quirks, deny=(DenyRule(operation),)) as opened:
        plain, tagged = opened.put("plain.jpg"), opened.put("tagged.jpg")
        stored = opened.sandbox.bucket(RAW).get("tagged.jpg")
        assert stored is not None
        stored.tags = {"a": "b"}
        await opened.copy(plain, "plain.jpg")
        with pytest.raises(ImageError) as caught:
            await opened.copy(tagged, "tagged.jpg")
        assert (caught.value.code, caught.value.access) == ("access_denied", True)
        assert f"s3:{operation}" in caught.value.message
        assert f"s3:{operation}" in (caught.value.hint or "")
        await opened.copy(plain, "again.jpg")


@CLIENTS
@pytest.mark.parametrize("tags", [None, {"a": "b"}])
async def test_a_target_that_may_not_be_written_stops_the_run_all_the_same(
    client: ClientKind, tags: dict[str, str] | None
) -> None:
    """Without a copy that was allowed, a denial that names no action is one of the account; the hint has both."""
    async with opening(client, deny=(DenyRule("CopyObject"), DenyRule("GetObjectTagging"))) as opened:
        image = opened.put("d.jpg")
        with pytest.raises(PermissionDeniedError) as caught:
            await opened.copy(image, "d.jpg")
        assert "s3:PutObject" in (caught.value.hint or "")
        assert "s3:GetObjectTagging" in (caught.value.hint or "")


# -- Conditions that are ignored ---------------------------------------------------------------------------------------


@CLIENTS
@pytest.mark.parametrize("if_exists", [IfExists.SKIP, IfExists.FAIL])
async def test_a_run_looks_before_it_copies(client: ClientKind, if_exists: IfExists) -> None:
    """docs/guarantees.md, *Effects once*: ``if_exists`` holds also where the condition of the copy is ignored."""
    async with opening(client, Quirk.IGNORE_CONDITIONS) as opened:
        image = opened.put("d.jpg", b"new")
        opened.put("d.jpg", b"old", CLEAN)
        if if_exists is IfExists.FAIL:
            with pytest.raises(ImageError) as caught:
                await opened.copy(image, "d.jpg", if_exists)
            assert caught.value.code == "target_exists"
        else:
            await opened.copy(image, "d.jpg", if_exists)
        assert opened.body("d.jpg") == b"old"
        await opened.copy(image, "free.jpg", if_exists)
        assert opened.body("free.jpg") == b"new"
        await opened.copy(image, "free.jpg", if_exists)
        assert opened.requests("CopyObject") == 1


@CLIENTS
@pytest.mark.parametrize("if_exists", list(IfExists))
async def test_a_replaced_source_is_told_by_the_answer_to_its_copy(client: ClientKind, if_exists: IfExists) -> None:
    """The image ends as ``changed``; the copy that was made is named and left alone."""
    async with opening(client, Quirk.IGNORE_CONDITIONS) as opened:
        image = opened.put("d.jpg", b"examined")
        opened.put("d.jpg", b"replaced")
        with pytest.raises(ImageError) as caught:
            await opened.copy(image, "copy.jpg", if_exists)
        assert caught.value.code == "changed"
        assert f"s3://{CLEAN}/copy.jpg" in caught.value.message
        assert opened.body("copy.jpg") == b"replaced"


@CLIENTS
@pytest.mark.parametrize("etag", ["0123456789abcdef0123456789abcdef-2", "f" * 32])
async def test_another_etag_alone_is_no_change(client: ClientKind, etag: str) -> None:
    """Copies of multipart uploads and KMS objects have an ETag of their own: the source shows that it is the same."""
    async with opening(client) as opened:
        image = opened.put("d.jpg", b"examined")
        stored = opened.sandbox.bucket(RAW).get("d.jpg")
        assert stored is not None
        stored.etag = etag
        with pytest.MonkeyPatch.context() as patch:
            target = opened.sandbox.bucket(CLEAN)
            patch.setattr(target, "put", lambda copy, put=target.put: put(_with_etag(copy, "c" * 32)))
            await opened.copy(msgspec.structs.replace(image, etag=etag), "copy.jpg")
        assert opened.body("copy.jpg") == b"examined"


def _with_etag(stored: Stored, etag: str) -> Stored:
    stored.etag = etag
    return stored


# -- Versions and deletes ----------------------------------------------------------------------------------------------


@CLIENTS
@pytest.mark.parametrize("quirks", [(), (Quirk.NO_ENCODING,)])
@pytest.mark.parametrize("key", ["a%20b.jpg", "a+b.jpg", "%2B.jpg", "a b.jpg", "100%25.jpg", "ü&<.jpg"])
async def test_versions_of_any_key_are_found(client: ClientKind, quirks: tuple[Quirk, ...], key: str) -> None:
    """Keys are decoded only where the response says that they are encoded; so a marker is found, and undo works."""
    async with opening(client, *quirks) as opened:
        opened.sandbox.bucket(RAW).versioning = "Enabled"
        key = f"v/{key}"
        image = opened.put(key)
        (gone,) = await opened.remover.delete(RAW, [DeleteRequest(key=key, etag=image.etag, size_bytes=7)])
        assert isinstance(gone, DeleteResult)
        versions = await opened.remover.versions(S3Location(RAW, key))
        assert [(version.is_marker, version.etag) for version in versions] == [(True, ""), (False, image.etag)]
        assert versions[0].id == gone.marker


@CLIENTS
async def test_a_store_without_versioning_deletes_for_ever(client: ClientKind) -> None:
    """docs/cleanup.md, *What deleting means*: 501 means that no versions are kept, and the consent says so."""
    async with opening(client, Quirk.NO_VERSIONING) as opened:
        assert (await opened.remover.state()).versioning is Versioning.OFF


@CLIENTS
async def test_deletes_carry_a_digest_that_every_store_knows(client: ClientKind) -> None:
    """Content-MD5 is sent with each batch, however many there are, and with tags."""
    async with opening(client, Quirk.ONLY_MD5) as opened:
        for body in (b"one", b"two"):
            image = opened.put("d.jpg", body)
            await opened.tag(image)
            (result,) = await opened.remover.delete(RAW, [DeleteRequest(key="d.jpg", etag=image.etag, size_bytes=3)])
            assert isinstance(result, DeleteResult)
