"""What source, detector and sink promise, on both clients, against the sandbox with signatures verified.

One sandbox and one session a client serve the whole module: making botocore's clients is what costs time.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import pytest
import pytest_asyncio

from asyncfilter.aws import AwsSession, open_aws, quota_tps
from asyncfilter.aws.boto import BotoDetect, BotoS3
from asyncfilter.aws.calls import DetectCall, S3Calls
from asyncfilter.aws.custom_labels import CustomLabelsDetector
from asyncfilter.aws.diagnosis import Diagnosis
from asyncfilter.aws.fast import FastDetect, FastS3
from asyncfilter.aws.rekognition import RekognitionDetector
from asyncfilter.aws.s3 import S3Sink, S3Source
from asyncfilter.aws.wire import open_wire
from asyncfilter.errors import (
    AccessError,
    BucketNotFoundError,
    CredentialsError,
    ImageError,
    PermissionDeniedError,
    RegionMismatchError,
    ThrottleCause,
    ThrottledError,
    TransientError,
    UsageError,
)
from asyncfilter.job.spec import Aws, ClientKind, DetectorKind, DetectorSpec
from asyncfilter.model import ActionKind, Effect, IfExists, ObjectRef, S3Location
from asyncfilter.policy.quota import QuotaOrigin
from asyncfilter.sandbox import BucketSpec, Sandbox, SandboxOptions
from asyncfilter.sandbox.access import DenyRule
from asyncfilter.sandbox.answers.folder import Noise
from asyncfilter.sandbox.options import DEFAULT_MODEL_ARN
from asyncfilter.sandbox.store import Attributes

pytestmark = pytest.mark.asyncio(loop_scope="module")

RAW, CLEAN, FAR = "raw-images", "clean-images", "far-images"
TIMEOUT_S = 0.4
UNUSED = Sandbox()
"""Stands in a kit whose service is another one."""
HOSTILE_KEYS = [
    "a b.jpg",
    " lead and trail ",
    "a+b.jpg",
    "100%.jpg",
    "%2B%20.jpg",
    "emoji 😀.jpg",
    "line\nbreak.jpg",
    "tab\tand\rreturn.jpg",
    "control\x01.jpg",
    "../up.jpg",
    "a/../b.jpg",
    "./here.jpg",
    "/lead.jpg",
    "//double//slash.jpg",
    "query?versionId=1&x=2.jpg",
    "#fragment;semi:colon@at.jpg",
    "<a>&amp;'\"`{}|\\^[].jpg",
    "~!*'()$,=.jpg",
    "e\N{COMBINING ACUTE ACCENT} and é.jpg",
    "x" * 1020 + ".jpg",
    "日" * 341 + "x",
]
ENVIRONMENT = ("AWS_PROFILE", "AWS_SESSION_TOKEN", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")


@asynccontextmanager
async def environment(**settings: str) -> AsyncIterator[None]:
    """The process's AWS settings replaced while the context is open."""
    names = {*settings, *ENVIRONMENT}
    before = {name: os.environ.pop(name, None) for name in names}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


@dataclass
class Kit:
    """One client's ports over the module's sandbox."""

    sandbox: Sandbox
    session: AwsSession
    calls: S3Calls
    detector: RekognitionDetector
    custom: CustomLabelsDetector
    sink: S3Sink

    def source(self, bucket: str = RAW, prefix: str = "") -> S3Source:
        return S3Source(self.calls, bucket, prefix)

    def put(
        self, key: str, body: bytes = b"picture", attributes: Attributes | None = None, bucket: str = RAW
    ) -> ObjectRef:
        """Store an object; the reference a listing would give."""
        stored = self.sandbox.put(bucket, key, body, attributes)
        return ObjectRef(bucket=bucket, key=key, size_bytes=len(body), etag=stored.etag, seq=1)

    def body_at(self, key: str, bucket: str = CLEAN) -> bytes | None:
        stored = self.sandbox.bucket(bucket).get(key)
        return stored.body if stored else None

    async def copy(
        self, image: ObjectRef, key: str | None = None, *, bucket: str = CLEAN, if_exists: IfExists = IfExists.OVERWRITE
    ) -> None:
        target = S3Location(bucket, image.key if key is None else key)
        await self.sink.perform(Effect(kind=ActionKind.COPY, source=image, target=target, if_exists=if_exists))

    @asynccontextmanager
    async def faults(self, *rules: str) -> AsyncIterator[None]:
        """Inject faults while the context is open."""
        await self._set_faults(rules)
        try:
            yield
        finally:
            await self._set_faults(())

    async def _set_faults(self, rules: Sequence[str]) -> None:
        url = f"{self.sandbox.endpoint_url}/_sandbox/faults"
        async with aiohttp.ClientSession() as http, http.post(url, json={"faults": list(rules)}) as answer:
            assert answer.status == 200, await answer.text()


@asynccontextmanager
async def open_kit(sandbox: Sandbox, client: ClientKind, region: str = "us-east-1") -> AsyncIterator[Kit]:
    """Ports of a client without preflight."""
    custom_spec = DetectorSpec(kind=DetectorKind.CUSTOM_LABELS, model=DEFAULT_MODEL_ARN)
    async with open_aws(Aws(client=client), timeout_s=TIMEOUT_S, connections=20) as session, open_wire(session) as wire:
        calls: S3Calls
        call: DetectCall
        custom: DetectCall
        if client is ClientKind.FAST:
            calls = FastS3(session, wire)
            endpoint = await session.endpoint("rekognition", region)
            call, custom = FastDetect(wire, endpoint, DetectorSpec()), FastDetect(wire, endpoint, custom_spec)
        else:
            calls = BotoS3(session)
            rekognition = await session.client("rekognition", region)
            call, custom = (
                BotoDetect(session, rekognition, DetectorSpec()),
                BotoDetect(session, rekognition, custom_spec),
            )
        look = Diagnosis(session, calls, region)
        yield Kit(
            sandbox,
            session,
            calls,
            RekognitionDetector(call, look),
            CustomLabelsDetector(custom, look, model=DEFAULT_MODEL_ARN),
            S3Sink(calls),
        )


@pytest_asyncio.fixture(params=list(ClientKind), scope="module", loop_scope="module")
async def kit(request: pytest.FixtureRequest) -> AsyncIterator[Kit]:
    """The ports of one client."""
    options = SandboxOptions(
        buckets=(BucketSpec(RAW), BucketSpec(CLEAN), BucketSpec(FAR, "eu-west-1"), BucketSpec("locked")),
        verify_signatures=True,
        check_images=False,
        noise=Noise(0, 0, 0, 0),
        deny=(DenyRule("*", "locked/*"),),
    )
    async with (
        Sandbox(options) as sandbox,
        environment(**sandbox.environment()),
        open_kit(sandbox, request.param) as it,
    ):
        yield it


# -- Source ------------------------------------------------------------------------------------------------------------


async def test_any_key_is_listed_examined_and_copied(kit: Kit) -> None:
    """docs/guarantees.md, *Any key works*: it arrives unchanged in the listing, at Rekognition and at the target."""
    for key in HOSTILE_KEYS:
        kit.put(key, bucket="hostile")
    page = await kit.source("hostile").page(None)
    assert [item.key for item in page.objects] == kit.sandbox.keys("hostile")
    assert page.is_last
    for item in page.objects:
        image = ObjectRef(bucket="hostile", key=item.key, size_bytes=item.size_bytes, etag=item.etag, seq=1)
        assert (await kit.detector.detect(image)).labels
        await kit.copy(image)
        assert kit.body_at(item.key) == b"picture"


async def test_a_listing_goes_on_after_any_key(kit: Kit) -> None:
    """``page(after)`` begins with the next key in the order of UTF-8 bytes, which is S3's."""
    for key in HOSTILE_KEYS:
        kit.put(key, bucket="hostile")
    everything = sorted(HOSTILE_KEYS, key=lambda key: key.encode())
    for position, after in enumerate(everything):
        page = await kit.source("hostile").page(after)
        assert [item.key for item in page.objects] == everything[position + 1 :]


async def test_pages_of_a_long_listing_join_without_gap_or_overlap(kit: Kit) -> None:
    """2,345 objects come in three pages; only the last says it is the last."""
    for n in range(2345):
        kit.sandbox.put("long", f"p/{n:05}", b"")
    kit.sandbox.put("long", "q", b"")
    source = kit.source("long", "p/")
    keys: list[str] = []
    last: list[bool] = []
    after = None
    while not last or not last[-1]:
        page = await source.page(after)
        keys += [item.key for item in page.objects]
        after = keys[-1]
        last.append(page.is_last)
    assert keys == [f"p/{n:05}" for n in range(2345)]
    assert last == [False, False, True]


async def test_a_listing_tells_size_etag_and_storage_class(kit: Kit) -> None:
    """The free checks need all of them; an empty prefix is an empty last page."""
    image = kit.put("meta/a.jpg", b"12345")
    kit.put("meta/b.jpg", b"", Attributes(storage_class="GLACIER"))
    objects = (await kit.source(prefix="meta/").page(None)).objects
    assert [(one.key, one.size_bytes, one.storage_class) for one in objects] == [
        ("meta/a.jpg", 5, "STANDARD"),
        ("meta/b.jpg", 0, "GLACIER"),
    ]
    assert objects[0].etag == image.etag
    nothing = await kit.source(prefix="nothing/").page(None)
    assert (list(nothing.objects), nothing.is_last) == ([], True)


async def test_a_missing_or_forbidden_bucket_stops_the_listing(kit: Kit) -> None:
    """Causes of the account, never an empty listing."""
    with pytest.raises(BucketNotFoundError, match="no-such-bucket"):
        await kit.source("no-such-bucket").page(None)
    with pytest.raises(PermissionDeniedError) as caught:
        await kit.source("locked").page(None)
    assert "s3:ListBucket" in (caught.value.hint or "")


# -- Detector ----------------------------------------------------------------------------------------------------------


async def test_both_detectors_give_labels(kit: Kit) -> None:
    """DetectLabels gives ancestors beside the label, DetectCustomLabels the model's own."""
    image = kit.put("raw/robin/1.jpg")
    detection = await kit.detector.detect(image)
    assert {label.name for label in detection.labels} >= {"Robin", "Bird"}
    assert detection.model_version
    custom = await kit.custom.detect(image)
    assert "Robin" in {label.name for label in custom.labels}


@pytest.mark.parametrize(
    ("fault", "cause", "billed"),
    [
        ("throttle", ThrottleCause.RATE, False),
        ("ramp", ThrottleCause.RAMP, False),
        ("s3-read", ThrottleCause.S3_READ, False),
        ("unavailable", ThrottleCause.SERVER, True),
    ],
)
async def test_throttles_tell_their_cause(kit: Kit, fault: str, cause: ThrottleCause, billed: bool) -> None:
    """The engine treats each otherwise; those with HTTP 5xx count as billed."""
    image = kit.put("raw/robin/1.jpg")
    async with kit.faults(f"{fault}=100%"):
        with pytest.raises(ThrottledError) as caught:
            await kit.detector.detect(image)
    assert (caught.value.cause, caught.value.may_be_billed) == (cause, billed)


@pytest.mark.parametrize("fault", ["internal", "timeout", "reset", "cut"])
async def test_what_may_have_been_billed_is_said_to_be(kit: Kit, fault: str) -> None:
    """docs/guarantees.md, *The budget is a ceiling*: a 5xx, a timeout, a reset after sending, half an answer count."""
    image = kit.put("raw/robin/1.jpg")
    async with kit.faults(f"{fault}=100%"):
        with pytest.raises(TransientError) as caught:
            await kit.detector.detect(image)
    assert caught.value.may_be_billed
    assert (await kit.detector.detect(image)).labels


@pytest.mark.parametrize(
    ("fault", "kind", "hint"),
    [("denied", PermissionDeniedError, "rekognition:DetectLabels"), ("expired", CredentialsError, "aws sso login")],
)
async def test_what_the_account_may_not_do_is_no_image_s_fault(
    kit: Kit, fault: str, kind: type[AccessError], hint: str
) -> None:
    """docs/guarantees.md, *One image cannot stop a run, the account can*: it stops the run, with the remedy."""
    image = kit.put("raw/robin/1.jpg")
    async with kit.faults(f"{fault}=100%"):
        with pytest.raises(kind) as caught:
            await kit.detector.detect(image)
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("attributes", "code", "access"),
    [
        (Attributes(storage_class="GLACIER"), "archived", False),
        (Attributes(kms_denied=True), "kms_denied", True),
        (Attributes(denied=True), "access_denied", True),
    ],
)
async def test_an_unreadable_object_is_diagnosed(kit: Kit, attributes: Attributes, code: str, access: bool) -> None:
    """Rekognition says one word for all of them; S3 is asked what it is."""
    image = kit.put(f"unreadable/{code}.jpg", attributes=attributes)
    with pytest.raises(ImageError) as caught:
        await kit.detector.detect(image)
    assert (caught.value.code, caught.value.access) == (code, access)
    assert image.uri in caught.value.message


async def test_a_missing_and_a_replaced_object_are_told_apart(kit: Kit) -> None:
    """``vanished`` when nothing is there, ``changed`` when something else is, which cannot be read."""
    image = kit.put("unreadable/replaced.jpg")
    kit.put("unreadable/replaced.jpg", b"other", Attributes(storage_class="GLACIER"))
    with pytest.raises(ImageError) as caught:
        await kit.detector.detect(image)
    assert caught.value.code == "changed"
    missing = ObjectRef(bucket=RAW, key="unreadable/missing.jpg", size_bytes=1, etag="e", seq=1)
    with pytest.raises(ImageError) as caught:
        await kit.detector.detect(missing)
    assert caught.value.code == "vanished"


async def test_a_bucket_of_another_region_stops_the_run(kit: Kit) -> None:
    """No image of it can be examined."""
    image = kit.put("robin.jpg", bucket=FAR)
    with pytest.raises(RegionMismatchError, match="eu-west-1"):
        await kit.detector.detect(image)


async def test_trouble_while_the_cause_is_looked_for_is_repeated_and_not_billed(kit: Kit) -> None:
    """S3's slowness must not lower the detector's rate."""
    image = kit.put("unreadable/slow.jpg", attributes=Attributes(storage_class="GLACIER"))
    async with kit.faults("slowdown:HeadObject=100%"):
        with pytest.raises(TransientError) as caught:
            await kit.detector.detect(image)
    assert not caught.value.may_be_billed


async def test_cancelling_a_call_leaves_the_client_usable(kit: Kit) -> None:
    """A drain may cut a call short; the next one works."""
    image = kit.put("raw/robin/1.jpg")
    async with kit.faults("timeout=100%"):
        with anyio.move_on_after(0.05) as scope:
            await kit.detector.detect(image)
        assert scope.cancelled_caught
    assert (await kit.detector.detect(image)).labels


# -- Sink --------------------------------------------------------------------------------------------------------------


async def test_a_copy_repeated_is_harmless(kit: Kit) -> None:
    """docs/guarantees.md, *Effects once*, for every treatment of an existing target: done already counts as done."""
    for if_exists in IfExists:
        image = kit.put(f"copy/{if_exists}.jpg", b"same")
        await kit.copy(image, if_exists=if_exists)
        await kit.copy(image, if_exists=if_exists)
        assert kit.body_at(image.key) == b"same"


async def test_an_object_at_the_target_is_treated_as_the_job_says(kit: Kit) -> None:
    """Overwritten, left alone, or a failed image."""
    image = kit.put("copy/exists.jpg", b"new")
    kit.put("copy/exists.jpg", b"old", bucket=CLEAN)
    await kit.copy(image, if_exists=IfExists.SKIP)
    assert kit.body_at(image.key) == b"old"
    with pytest.raises(ImageError) as caught:
        await kit.copy(image, if_exists=IfExists.FAIL)
    assert caught.value.code == "target_exists"
    assert kit.body_at(image.key) == b"old"
    await kit.copy(image)
    assert kit.body_at(image.key) == b"new"


@pytest.mark.parametrize("if_exists", list(IfExists))
async def test_a_source_that_changed_or_vanished_is_not_copied(kit: Kit, if_exists: IfExists) -> None:
    """docs/guarantees.md, *Effects once*: the version examined or nothing."""
    image = kit.put("copy/changing.jpg", b"examined")
    kit.put("copy/changing.jpg", b"replaced")
    with pytest.raises(ImageError) as caught:
        await kit.copy(image, f"changed-{if_exists}", if_exists=if_exists)
    assert caught.value.code == "changed"
    vanished = ObjectRef(bucket=RAW, key="copy/gone.jpg", size_bytes=1, etag="e", seq=1)
    with pytest.raises(ImageError) as caught:
        await kit.copy(vanished, f"gone-{if_exists}", if_exists=if_exists)
    assert caught.value.code == "vanished"
    assert kit.body_at(f"changed-{if_exists}") is None
    assert kit.body_at(f"gone-{if_exists}") is None


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("late-error", TransientError),
        ("internal:CopyObject", TransientError),
        ("slowdown", ThrottledError),
        ("unavailable:CopyObject", ThrottledError),
        ("timeout:CopyObject", TransientError),
        ("cut:CopyObject", TransientError),
    ],
)
async def test_a_copy_that_failed_is_not_taken_for_done(kit: Kit, fault: str, kind: type[Exception]) -> None:
    """An error after the 200, S3's throttle, silence and half an answer are all worth repeating."""
    image = kit.put("copy/faulty.jpg")
    async with kit.faults(f"{fault}=100%"):
        with pytest.raises(kind):
            await kit.copy(image, f"faulty-{fault}")
    await kit.copy(image, f"faulty-{fault}")
    assert kit.body_at(f"faulty-{fault}") == b"picture"


async def test_a_copy_that_only_lost_its_answer_is_done_when_repeated(kit: Kit) -> None:
    """With ``fail`` the repetition meets its own first attempt and must not call it a stranger."""
    image = kit.put("copy/lost.jpg")
    async with kit.faults("timeout:CopyObject=100%"):
        with pytest.raises(TransientError):
            await kit.copy(image, "lost", if_exists=IfExists.FAIL)
    assert kit.body_at("lost") == b"picture"
    await kit.copy(image, "lost", if_exists=IfExists.FAIL)


@pytest.mark.parametrize(
    ("attributes", "code"),
    [
        (Attributes(storage_class="DEEP_ARCHIVE"), "archived"),
        (Attributes(denied=True), "access_denied"),
        (Attributes(kms_denied=True), "kms_denied"),
    ],
)
async def test_a_source_that_cannot_be_read_is_one_image_s_failure(kit: Kit, attributes: Attributes, code: str) -> None:
    """CopyObject says 403 for reading and writing alike; the read is found out."""
    image = kit.put(f"copy/{code}.jpg", attributes=attributes)
    with pytest.raises(ImageError) as caught:
        await kit.copy(image)
    assert caught.value.code == code


async def test_a_target_that_cannot_be_written_stops_the_run(kit: Kit) -> None:
    """A permission or a bucket that is missing concerns every image."""
    image = kit.put("copy/denied.jpg")
    with pytest.raises(PermissionDeniedError) as caught:
        await kit.copy(image, bucket="locked")
    assert "s3:PutObject" in (caught.value.hint or "")
    with pytest.raises(BucketNotFoundError, match="no-such-bucket"):
        await kit.copy(image, bucket="no-such-bucket")


async def test_a_copy_goes_to_the_region_of_its_target(kit: Kit) -> None:
    """Source and target may lie apart; the target's region carries out the copy."""
    image = kit.put("copy/far.jpg")
    await kit.copy(image, bucket=FAR)
    assert kit.body_at(image.key, FAR) == b"picture"


async def test_a_sink_takes_nothing_out_of_the_source(kit: Kit) -> None:
    """Moves and deletes are for ``apply`` alone: a run that came to ask for one would be refused."""
    image = kit.put("copy/other.jpg")
    for kind in (ActionKind.MOVE, ActionKind.DELETE):
        with pytest.raises(UsageError, match=kind.value):
            await kit.sink.perform(Effect(kind=kind, source=image))


# -- Around ------------------------------------------------------------------------------------------------------------


async def test_the_quota_comes_from_service_quotas(kit: Kit) -> None:
    """The applied value; a region of its own is asked for its own."""
    answer = await quota_tps(kit.session, DetectorKind.REKOGNITION, "us-east-1")
    assert (answer.tps, answer.origin, answer.reason) == (50.0, QuotaOrigin.APPLIED, None)
    elsewhere = await quota_tps(kit.session, DetectorKind.REKOGNITION, "eu-central-1")
    assert elsewhere.tps == 5.0


@pytest.mark.parametrize(
    ("rules", "origin"),
    [
        (["denied:GetServiceQuota=100%"], QuotaOrigin.DEFAULT),
        (["denied:Get*Quota=100%"], QuotaOrigin.DOCUMENTED),
        (["timeout:Get*Quota=100%"], QuotaOrigin.DOCUMENTED),
        (["internal:Get*Quota=100%"], QuotaOrigin.DOCUMENTED),
    ],
)
async def test_a_quota_that_cannot_be_asked_never_stops_a_run(kit: Kit, rules: list[str], origin: QuotaOrigin) -> None:
    """The default, else the documented value, with the reason."""
    async with kit.faults(*rules):
        answer = await quota_tps(kit.session, DetectorKind.REKOGNITION, "us-east-1")
    assert (answer.tps, answer.origin) == (50.0, origin)
    assert bool(answer.reason) is (origin is QuotaOrigin.DOCUMENTED)


# -- Real bodies -------------------------------------------------------------------------------------------------------

RECORDED = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "rekognition" / "real_errors.jsonl"


S3_FINE = (
    b'HTTP/1.1 200 OK\r\nConnection: close\r\nETag: "e"\r\nx-amz-bucket-region: us-east-1\r\nContent-Length: 0\r\n\r\n'
)


class Replay:
    """A server that gives the same raw answer to every POST; S3, asked why, finds nothing wrong."""

    def __init__(self) -> None:
        self.raw = b""
        self.drips = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            writer.write(self.raw if head.startswith(b"POST") else S3_FINE)
            while self.drips:
                writer.write(b" ")
                await asyncio.sleep(TIMEOUT_S / 10)
        finally:
            writer.close()

    def answer(
        self, status: int, body: bytes, headers: dict[str, str] | None = None, *, length: int | None = None
    ) -> None:
        lines = {
            "Content-Length": str(len(body) if length is None else length),
            "Connection": "close",
            **(headers or {}),
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self.raw = f"HTTP/1.1 {status} X\r\n{head}\r\n".encode() + body


@pytest_asyncio.fixture(params=list(ClientKind), scope="module", loop_scope="module")
async def replayed(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Kit, Replay]]:
    """Ports whose service is a ``Replay``."""
    replay = Replay()
    async with await asyncio.start_server(replay.serve, "127.0.0.1") as server:
        port = server.sockets[0].getsockname()[1]
        async with (
            environment(
                AWS_ENDPOINT_URL=f"http://127.0.0.1:{port}",
                AWS_ACCESS_KEY_ID="AKIA",
                AWS_SECRET_ACCESS_KEY="secret",
                AWS_REGION="us-east-1",
                AWS_CONFIG_FILE=os.devnull,
                AWS_SHARED_CREDENTIALS_FILE=os.devnull,
                NO_PROXY="127.0.0.1",
            ),
            open_kit(UNUSED, request.param) as kit,
        ):
            yield kit, replay


IMAGE = ObjectRef(bucket=RAW, key="k.jpg", size_bytes=1, etag="e", seq=1)


@pytest.mark.parametrize(
    ("status", "code", "message", "kind", "mark"),
    [
        (400, "InvalidParameterException", "Request has Invalid Parameters", ImageError, "image_rejected"),
        (400, "ImageTooLargeException", "Image size is too large", ImageError, "image_too_large"),
        (400, "InvalidImageFormatException", "Invalid image encoding", ImageError, "invalid_image_format"),
        (400, "BrandNewException", "x", ImageError, "brand_new"),
        (400, "ProvisionedThroughputExceededException", "Provisioned rate exceeded", ThrottledError, "rate"),
        (400, "ProvisionedThroughputExceededException", "S3 download limit exceeded", ThrottledError, "s3_read"),
        (400, "ThrottlingException", "Slow down; sudden increase in rate of requests.", ThrottledError, "ramp"),
        (500, "ThrottlingException", "Service Unavailable", ThrottledError, "server"),
        (500, "InternalServerError", "Internal server error", TransientError, None),
        (400, "AccessDeniedException", "not authorized to perform", PermissionDeniedError, None),
        (400, "UnrecognizedClientException", "x", CredentialsError, None),
        (400, "ResourceNotReadyException", "not ready", AccessError, None),
    ],
)
async def test_error_bodies_end_as_their_class(
    replayed: tuple[Kit, Replay], status: int, code: str, message: str, kind: type[Exception], mark: Any
) -> None:
    """From the bytes on the wire to the exception, on both clients."""
    kit, replay = replayed
    body = json.dumps({"__type": code, "Code": code, "Logref": "0-0", "Message": message}).encode()
    replay.answer(status, body, {"Content-Type": "application/x-amz-json-1.1"})
    with pytest.raises(kind) as caught:
        await kit.detector.detect(IMAGE)
    assert type(caught.value) is kind
    assert mark in (getattr(caught.value, "code", None), getattr(caught.value, "cause", None))


async def test_a_model_that_does_not_run_is_named(replayed: tuple[Kit, Replay]) -> None:
    """By its ARN, with what to do."""
    kit, replay = replayed
    for code in ("ResourceNotReadyException", "ResourceNotFoundException"):
        replay.answer(400, json.dumps({"__type": code, "Message": "x"}).encode())
        with pytest.raises(AccessError) as caught:
            await kit.custom.detect(IMAGE)
        assert DEFAULT_MODEL_ARN in caught.value.message
        assert caught.value.hint


@pytest.mark.parametrize(
    ("status", "body", "length"),
    [
        (200, b"<html>Please sign in</html>", None),
        (200, b'{"Labels": [', None),
        (200, b'{"Labels": []}', 400),
        (502, b"<html>Bad gateway</html>", None),
        (200, b"", None),
    ],
)
async def test_nonsense_counts_as_billed_and_is_repeated(
    replayed: tuple[Kit, Replay], status: int, body: bytes, length: int | None
) -> None:
    """A proxy's page, half an answer, an empty one: never an image without labels."""
    kit, replay = replayed
    replay.answer(status, body, length=length)
    with pytest.raises(TransientError) as caught:
        await kit.detector.detect(IMAGE)
    assert caught.value.may_be_billed


async def test_a_wait_that_the_service_asks_for_is_passed_on(replayed: tuple[Kit, Replay]) -> None:
    """``Retry-After`` reaches the engine."""
    kit, replay = replayed
    replay.answer(400, b'{"__type":"ThrottlingException","message":"Rate exceeded"}', {"Retry-After": "3"})
    with pytest.raises(ThrottledError) as caught:
        await kit.detector.detect(IMAGE)
    assert caught.value.retry_after_s == 3.0


async def test_a_connection_that_the_server_dropped_is_not_used_for_ever(replayed: tuple[Kit, Replay]) -> None:
    """Kept alive by word and closed in deed: at worst one attempt fails as transient and billed, and the next works."""
    kit, replay = replayed
    replay.answer(200, b'{"Labels": []}', {"Connection": "keep-alive"})
    outcomes = []
    for _ in range(6):
        try:
            outcomes.append((await kit.detector.detect(IMAGE)).labels == ())
        except TransientError as exc:
            outcomes.append(not exc.may_be_billed)
    assert outcomes[0]
    assert outcomes.count(True) >= 3


async def test_an_answer_that_drips_ends_at_the_deadline(replayed: tuple[Kit, Replay]) -> None:
    """The deadline is for the whole attempt: bytes that keep coming do not extend it."""
    kit, replay = replayed
    replay.answer(200, b'{"Labels": []}', length=10_000)
    replay.drips = True
    with anyio.fail_after(TIMEOUT_S * 4), pytest.raises(TransientError) as caught:
        await kit.detector.detect(IMAGE)
    replay.drips = False
    assert caught.value.may_be_billed


async def test_no_connection_is_not_billed() -> None:
    """Nothing listens: the request cannot have reached anybody."""
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
    async with environment(
        AWS_ENDPOINT_URL=f"http://127.0.0.1:{port}",
        AWS_ACCESS_KEY_ID="AKIA",
        AWS_SECRET_ACCESS_KEY="secret",
        AWS_CONFIG_FILE=os.devnull,
        AWS_SHARED_CREDENTIALS_FILE=os.devnull,
        NO_PROXY="127.0.0.1",
    ):
        for client in ClientKind:
            async with open_kit(UNUSED, client) as kit:
                with pytest.raises(TransientError) as caught:
                    await kit.detector.detect(IMAGE)
                assert not caught.value.may_be_billed


@pytest.mark.real
@pytest.mark.skipif(not RECORDED.exists(), reason="no recorded errors on this machine")
async def test_the_recorded_raw_answer_is_understood(replayed: tuple[Kit, Replay]) -> None:
    """The one recorded answer with headers and body is an unreadable object, which leads to S3."""
    kit, replay = replayed
    record = next(r for r in map(json.loads, RECORDED.read_text().splitlines()) if r["kind"] == "raw_http")
    replay.answer(
        record["status"], record["body"].encode(), {"x-amzn-RequestId": record["headers"]["x-amzn-RequestId"]}
    )
    with pytest.raises(ImageError) as caught:
        await kit.detector.detect(IMAGE)
    assert caught.value.code == "invalid_s3_object"
