"""The guarantees of source, detector and sink, on both clients, against the sandbox with signatures verified.

One sandbox and one session per client serve the whole module: making botocore's clients takes most of the time.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest
import pytest_asyncio

from asyncfilter.aws import AwsSession, open_aws, quota_tps
from asyncfilter.aws.clients.boto import BotoDetect, BotoS3
from asyncfilter.aws.clients.fast import FastDetect, FastS3
from asyncfilter.aws.clients.protocols import DetectCall, S3Api
from asyncfilter.aws.clients.signed_http import open_signed_client
from asyncfilter.aws.detectors.base import RekognitionDetector
from asyncfilter.aws.detectors.custom_labels import CustomLabelsDetector
from asyncfilter.aws.s3.diagnosis import Diagnosis
from asyncfilter.aws.s3.source_sink import S3Sink, S3Source
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
from tests.kit.keys import HOSTILE_KEYS
from tests.kit.services import aws_settings, serving, set_faults
from tests.kit.workspace import PATIENCE_S

pytestmark = pytest.mark.asyncio(loop_scope="module")

RAW, CLEAN, FAR = "raw-images", "clean-images", "far-images"
TIMEOUT_S = 0.4
UNUSED = Sandbox()
"""The sandbox of ports whose service is another one."""


@dataclass
class Ports:
    """One client's ports over the module's sandbox."""

    sandbox: Sandbox
    session: AwsSession
    calls: S3Api
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
        await set_faults(self.sandbox, *rules)
        try:
            yield
        finally:
            await set_faults(self.sandbox)


@asynccontextmanager
async def open_ports(sandbox: Sandbox, client: ClientKind, region: str = "us-east-1") -> AsyncIterator[Ports]:
    """Ports of a client without preflight."""
    custom_spec = DetectorSpec(kind=DetectorKind.CUSTOM_LABELS, model=DEFAULT_MODEL_ARN)
    async with (
        open_aws(Aws(client=client), timeout_s=TIMEOUT_S, connections=20) as session,
        open_signed_client(session) as signed_client,
    ):
        calls: S3Api
        call: DetectCall
        custom: DetectCall
        if client is ClientKind.FAST:
            calls = FastS3(session, signed_client)
            endpoint = await session.endpoint("rekognition", region)
            call, custom = (
                FastDetect(signed_client, endpoint, DetectorSpec()),
                FastDetect(signed_client, endpoint, custom_spec),
            )
        else:
            calls = BotoS3(session)
            rekognition = await session.client("rekognition", region)
            call, custom = (
                BotoDetect(session, rekognition, DetectorSpec()),
                BotoDetect(session, rekognition, custom_spec),
            )
        diagnosis = Diagnosis(session, calls, region)
        yield Ports(
            sandbox,
            session,
            calls,
            RekognitionDetector(call, diagnosis),
            CustomLabelsDetector(custom, diagnosis, model=DEFAULT_MODEL_ARN),
            S3Sink(calls),
        )


@pytest_asyncio.fixture(params=list(ClientKind), scope="module", loop_scope="module")
async def ports(request: pytest.FixtureRequest) -> AsyncIterator[Ports]:
    """The ports of one client."""
    options = SandboxOptions(
        buckets=(BucketSpec(RAW), BucketSpec(CLEAN), BucketSpec(FAR, "eu-west-1"), BucketSpec("locked")),
        verify_signatures=True,
        check_images=False,
        noise=Noise(0, 0, 0, 0),
        deny=(DenyRule("*", "locked/*"),),
    )
    async with serving(options) as sandbox, open_ports(sandbox, request.param) as it:
        yield it


# -- Source ------------------------------------------------------------------------------------------------------------


async def test_any_key_is_listed_examined_and_copied(ports: Ports) -> None:
    """docs/guarantees.md, *Any key works*: it arrives unchanged in the listing, at Rekognition and at the target."""
    for key in HOSTILE_KEYS:
        ports.put(key, bucket="hostile")
    page = await ports.source("hostile").page(None)
    assert [item.key for item in page.objects] == ports.sandbox.keys("hostile")
    assert page.is_last
    for item in page.objects:
        image = ObjectRef(bucket="hostile", key=item.key, size_bytes=item.size_bytes, etag=item.etag, seq=1)
        assert (await ports.detector.detect(image)).labels
        await ports.copy(image)
        assert ports.body_at(item.key) == b"picture"


async def test_a_listing_continues_after_any_key(ports: Ports) -> None:
    """``page(after)`` begins with the next key in the order of UTF-8 bytes, as in S3."""
    for key in HOSTILE_KEYS:
        ports.put(key, bucket="hostile")
    everything = sorted(HOSTILE_KEYS, key=lambda key: key.encode())
    for position, after in enumerate(everything):
        page = await ports.source("hostile").page(after)
        assert [item.key for item in page.objects] == everything[position + 1 :]


async def test_pages_of_a_long_listing_join_without_gap_or_overlap(ports: Ports) -> None:
    """2,345 objects come in three pages; only the last is marked as the last."""
    for n in range(2345):
        ports.sandbox.put("long", f"p/{n:05}", b"")
    ports.sandbox.put("long", "q", b"")
    source = ports.source("long", "p/")
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


async def test_a_listing_has_size_etag_and_storage_class(ports: Ports) -> None:
    """A listed object has all fields that the free checks need; an empty prefix gives an empty last page."""
    image = ports.put("meta/a.jpg", b"12345")
    ports.put("meta/b.jpg", b"", Attributes(storage_class="GLACIER"))
    objects = (await ports.source(prefix="meta/").page(None)).objects
    assert [(one.key, one.size_bytes, one.storage_class) for one in objects] == [
        ("meta/a.jpg", 5, "STANDARD"),
        ("meta/b.jpg", 0, "GLACIER"),
    ]
    assert objects[0].etag == image.etag
    nothing = await ports.source(prefix="nothing/").page(None)
    assert (list(nothing.objects), nothing.is_last) == ([], True)


async def test_a_missing_or_forbidden_bucket_stops_the_listing(ports: Ports) -> None:
    """They are errors of the account, never an empty listing."""
    with pytest.raises(BucketNotFoundError, match="no-such-bucket"):
        await ports.source("no-such-bucket").page(None)
    with pytest.raises(PermissionDeniedError) as caught:
        await ports.source("locked").page(None)
    assert "s3:ListBucket" in (caught.value.hint or "")


# -- Detector ----------------------------------------------------------------------------------------------------------


async def test_both_detectors_give_labels(ports: Ports) -> None:
    """DetectLabels gives a label with its ancestors, DetectCustomLabels the model's own labels."""
    image = ports.put("raw/robin/1.jpg")
    detection = await ports.detector.detect(image)
    assert {label.name for label in detection.labels} >= {"Robin", "Bird"}
    assert detection.model_version
    custom = await ports.custom.detect(image)
    assert "Robin" in {label.name for label in custom.labels}


@pytest.mark.parametrize(
    ("fault", "cause", "billed"),
    [
        ("throttle", ThrottleCause.RATE, False),
        ("ramp", ThrottleCause.RAMP, False),
        ("s3-read", ThrottleCause.S3_READ, False),
        ("unavailable", ThrottleCause.SERVER, False),
    ],
)
async def test_throttles_have_their_cause(ports: Ports, fault: str, cause: ThrottleCause, billed: bool) -> None:
    """Each cause has its own error class; none is billed, whatever the HTTP status (``unavailable``: 500)."""
    image = ports.put("raw/robin/1.jpg")
    async with ports.faults(f"{fault}=100%"):
        with pytest.raises(ThrottledError) as caught:
            await ports.detector.detect(image)
    assert (caught.value.cause, caught.value.may_be_billed) == (cause, billed)


@pytest.mark.parametrize("fault", ["internal", "timeout", "reset", "cut"])
async def test_what_may_have_been_billed_is_said_to_be(ports: Ports, fault: str) -> None:
    """docs/guarantees.md, *The budget is a ceiling*: a 5xx, a timeout, a reset after sending, half an answer count."""
    image = ports.put("raw/robin/1.jpg")
    async with ports.faults(f"{fault}=100%"):
        with pytest.raises(TransientError) as caught:
            await ports.detector.detect(image)
    assert caught.value.may_be_billed
    assert (await ports.detector.detect(image)).labels


@pytest.mark.parametrize(
    ("fault", "kind", "hint"),
    [("denied", PermissionDeniedError, "rekognition:DetectLabels"), ("expired", CredentialsError, "aws sso login")],
)
async def test_what_the_account_may_not_do_is_no_image_s_fault(
    ports: Ports, fault: str, kind: type[AccessError], hint: str
) -> None:
    """docs/guarantees.md, *One image cannot stop a run, the account can*: the run stops, with the remedy."""
    image = ports.put("raw/robin/1.jpg")
    async with ports.faults(f"{fault}=100%"):
        with pytest.raises(kind) as caught:
            await ports.detector.detect(image)
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("attributes", "code", "access"),
    [
        (Attributes(storage_class="GLACIER"), "archived", False),
        (Attributes(kms_denied=True), "kms_denied", True),
        (Attributes(denied=True), "access_denied", True),
    ],
)
async def test_an_unreadable_object_is_diagnosed(ports: Ports, attributes: Attributes, code: str, access: bool) -> None:
    """Rekognition has one error for all of them; a request to S3 finds the cause."""
    image = ports.put(f"unreadable/{code}.jpg", attributes=attributes)
    with pytest.raises(ImageError) as caught:
        await ports.detector.detect(image)
    assert (caught.value.code, caught.value.access) == (code, access)
    assert image.uri in caught.value.message


async def test_a_missing_and_a_replaced_object_have_different_codes(ports: Ports) -> None:
    """``vanished`` when no object is there, ``changed`` when an unreadable other object is."""
    image = ports.put("unreadable/replaced.jpg")
    ports.put("unreadable/replaced.jpg", b"other", Attributes(storage_class="GLACIER"))
    with pytest.raises(ImageError) as caught:
        await ports.detector.detect(image)
    assert caught.value.code == "changed"
    missing = ObjectRef(bucket=RAW, key="unreadable/missing.jpg", size_bytes=1, etag="e", seq=1)
    with pytest.raises(ImageError) as caught:
        await ports.detector.detect(missing)
    assert caught.value.code == "vanished"


async def test_a_bucket_of_another_region_stops_the_run(ports: Ports) -> None:
    """A missing bucket is an error of the account: none of its images can be examined."""
    image = ports.put("robin.jpg", bucket=FAR)
    with pytest.raises(RegionMismatchError, match="eu-west-1"):
        await ports.detector.detect(image)


async def test_a_fault_of_the_diagnosis_is_repeated_and_not_billed(ports: Ports) -> None:
    """A throttle by S3 must not lower the detector's rate."""
    image = ports.put("unreadable/slow.jpg", attributes=Attributes(storage_class="GLACIER"))
    async with ports.faults("slowdown:HeadObject=100%"):
        with pytest.raises(TransientError) as caught:
            await ports.detector.detect(image)
    assert not caught.value.may_be_billed


async def test_cancelling_a_call_leaves_the_client_usable(ports: Ports) -> None:
    """A call can be cancelled; the next one works."""
    image = ports.put("raw/robin/1.jpg")
    async with ports.faults("timeout=100%"):
        with anyio.move_on_after(0.05) as scope:
            await ports.detector.detect(image)
        assert scope.cancelled_caught
    assert (await ports.detector.detect(image)).labels


# -- Sink --------------------------------------------------------------------------------------------------------------


async def test_a_copy_repeated_is_harmless(ports: Ports) -> None:
    """docs/guarantees.md, *Effects once*, for every ``if_exists``: a copy already made counts as done."""
    for if_exists in IfExists:
        image = ports.put(f"copy/{if_exists}.jpg", b"same")
        await ports.copy(image, if_exists=if_exists)
        await ports.copy(image, if_exists=if_exists)
        assert ports.body_at(image.key) == b"same"


async def test_an_object_at_the_target_is_treated_as_the_job_says(ports: Ports) -> None:
    """The target is overwritten, the copy skipped, or the image failed."""
    image = ports.put("copy/exists.jpg", b"new")
    ports.put("copy/exists.jpg", b"old", bucket=CLEAN)
    await ports.copy(image, if_exists=IfExists.SKIP)
    assert ports.body_at(image.key) == b"old"
    with pytest.raises(ImageError) as caught:
        await ports.copy(image, if_exists=IfExists.FAIL)
    assert caught.value.code == "target_exists"
    assert ports.body_at(image.key) == b"old"
    await ports.copy(image)
    assert ports.body_at(image.key) == b"new"


@pytest.mark.parametrize("if_exists", list(IfExists))
async def test_a_source_that_changed_or_vanished_is_not_copied(ports: Ports, if_exists: IfExists) -> None:
    """docs/guarantees.md, *Effects once*: the examined version is copied, or nothing."""
    image = ports.put("copy/changing.jpg", b"examined")
    ports.put("copy/changing.jpg", b"replaced")
    with pytest.raises(ImageError) as caught:
        await ports.copy(image, f"changed-{if_exists}", if_exists=if_exists)
    assert caught.value.code == "changed"
    vanished = ObjectRef(bucket=RAW, key="copy/gone.jpg", size_bytes=1, etag="e", seq=1)
    with pytest.raises(ImageError) as caught:
        await ports.copy(vanished, f"gone-{if_exists}", if_exists=if_exists)
    assert caught.value.code == "vanished"
    assert ports.body_at(f"changed-{if_exists}") is None
    assert ports.body_at(f"gone-{if_exists}") is None


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
async def test_a_copy_that_failed_is_not_taken_for_done(ports: Ports, fault: str, kind: type[Exception]) -> None:
    """An error after the 200, S3's throttle, no answer and half an answer are all transient."""
    image = ports.put("copy/faulty.jpg")
    async with ports.faults(f"{fault}=100%"):
        with pytest.raises(kind):
            await ports.copy(image, f"faulty-{fault}")
    await ports.copy(image, f"faulty-{fault}")
    assert ports.body_at(f"faulty-{fault}") == b"picture"


async def test_a_copy_that_only_lost_its_answer_is_done_when_repeated(ports: Ports) -> None:
    """With ``fail`` a repetition finds the copy of its own first attempt and must accept it."""
    image = ports.put("copy/lost.jpg")
    async with ports.faults("timeout:CopyObject=100%"):
        with pytest.raises(TransientError):
            await ports.copy(image, "lost", if_exists=IfExists.FAIL)
    assert ports.body_at("lost") == b"picture"
    await ports.copy(image, "lost", if_exists=IfExists.FAIL)


@pytest.mark.parametrize(
    ("attributes", "code"),
    [
        (Attributes(storage_class="DEEP_ARCHIVE"), "archived"),
        (Attributes(denied=True), "access_denied"),
        (Attributes(kms_denied=True), "kms_denied"),
    ],
)
async def test_a_source_that_cannot_be_read_is_one_image_s_failure(
    ports: Ports, attributes: Attributes, code: str
) -> None:
    """CopyObject answers 403 for reading and writing alike; the denied read is diagnosed."""
    image = ports.put(f"copy/{code}.jpg", attributes=attributes)
    with pytest.raises(ImageError) as caught:
        await ports.copy(image)
    assert caught.value.code == code


async def test_a_target_that_cannot_be_written_stops_the_run(ports: Ports) -> None:
    """A missing permission or bucket concerns every image and is an error of the account."""
    image = ports.put("copy/denied.jpg")
    with pytest.raises(PermissionDeniedError) as caught:
        await ports.copy(image, bucket="locked")
    assert "s3:PutObject" in (caught.value.hint or "")
    with pytest.raises(BucketNotFoundError, match="no-such-bucket"):
        await ports.copy(image, bucket="no-such-bucket")


async def test_a_copy_goes_to_the_region_of_its_target(ports: Ports) -> None:
    """Source and target may be in different regions; the target's region carries out the copy."""
    image = ports.put("copy/far.jpg")
    await ports.copy(image, bucket=FAR)
    assert ports.body_at(image.key, FAR) == b"picture"


async def test_a_sink_takes_nothing_out_of_the_source(ports: Ports) -> None:
    """Moves and deletes belong to ``apply`` alone: the sink refuses them."""
    image = ports.put("copy/other.jpg")
    for kind in (ActionKind.MOVE, ActionKind.DELETE):
        with pytest.raises(UsageError, match=kind.value):
            await ports.sink.perform(Effect(kind=kind, source=image))


# -- Quotas ------------------------------------------------------------------------------------------------------------


async def test_the_quota_comes_from_service_quotas(ports: Ports) -> None:
    """The applied value; each region has its own."""
    answer = await quota_tps(ports.session, DetectorKind.REKOGNITION, "us-east-1")
    assert (answer.tps, answer.origin, answer.reason) == (50.0, QuotaOrigin.APPLIED, None)
    elsewhere = await quota_tps(ports.session, DetectorKind.REKOGNITION, "eu-central-1")
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
async def test_a_failed_quota_request_never_stops_a_run(ports: Ports, rules: list[str], origin: QuotaOrigin) -> None:
    """The default value, else the documented one, with the reason."""
    async with ports.faults(*rules):
        answer = await quota_tps(ports.session, DetectorKind.REKOGNITION, "us-east-1")
    assert (answer.tps, answer.origin) == (50.0, origin)
    assert bool(answer.reason) is (origin is QuotaOrigin.DOCUMENTED)


# -- Real bodies -------------------------------------------------------------------------------------------------------

RECORDED = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "rekognition" / "real_errors.jsonl"


S3_FINE = (
    b'HTTP/1.1 200 OK\r\nConnection: close\r\nETag: "e"\r\nx-amz-bucket-region: us-east-1\r\nContent-Length: 0\r\n\r\n'
)


class Redecider:
    """A server that gives the same raw answer to every POST; requests to S3 for the cause find no error."""

    def __init__(self) -> None:
        self.raw = b""
        self.keeps_sending = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            writer.write(self.raw if head.startswith(b"POST") else S3_FINE)
            while self.keeps_sending:
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


def settings_for(port: int) -> AbstractContextManager[None]:
    """Settings of a service on this port of the machine."""
    return aws_settings(
        AWS_ENDPOINT_URL=f"http://127.0.0.1:{port}",
        AWS_ACCESS_KEY_ID="AKIA",
        AWS_SECRET_ACCESS_KEY="secret",
        AWS_REGION="us-east-1",
        NO_PROXY="127.0.0.1",
    )


@pytest_asyncio.fixture(params=list(ClientKind), scope="module", loop_scope="module")
async def replayed(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Ports, Redecider]]:
    """Ports whose service is a ``Redecider``."""
    replay = Redecider()
    async with await asyncio.start_server(replay.serve, "127.0.0.1") as server:
        port = server.sockets[0].getsockname()[1]
        with settings_for(port):
            async with open_ports(UNUSED, request.param) as ports:
                yield ports, replay


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
    replayed: tuple[Ports, Redecider], status: int, code: str, message: str, kind: type[Exception], mark: Any
) -> None:
    """Recorded error bodies become the right exception, on both clients."""
    ports, replay = replayed
    body = json.dumps({"__type": code, "Code": code, "Logref": "0-0", "Message": message}).encode()
    replay.answer(status, body, {"Content-Type": "application/x-amz-json-1.1"})
    with pytest.raises(kind) as caught:
        await ports.detector.detect(IMAGE)
    assert type(caught.value) is kind
    assert mark in (getattr(caught.value, "code", None), getattr(caught.value, "cause", None))


async def test_a_model_that_does_not_run_is_named(replayed: tuple[Ports, Redecider]) -> None:
    """The error names the model's ARN and the remedy."""
    ports, replay = replayed
    for code in ("ResourceNotReadyException", "ResourceNotFoundException"):
        replay.answer(400, json.dumps({"__type": code, "Message": "x"}).encode())
        with pytest.raises(AccessError) as caught:
            await ports.custom.detect(IMAGE)
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
    replayed: tuple[Ports, Redecider], status: int, body: bytes, length: int | None
) -> None:
    """A proxy's page, half an answer and an empty one are errors, never an image without labels."""
    ports, replay = replayed
    replay.answer(status, body, length=length)
    with pytest.raises(TransientError) as caught:
        await ports.detector.detect(IMAGE)
    assert caught.value.may_be_billed


async def test_a_retry_after_of_the_service_is_passed_on(replayed: tuple[Ports, Redecider]) -> None:
    """The error carries the delay of ``Retry-After``."""
    ports, replay = replayed
    replay.answer(400, b'{"__type":"ThrottlingException","message":"Rate exceeded"}', {"Retry-After": "3"})
    with pytest.raises(ThrottledError) as caught:
        await ports.detector.detect(IMAGE)
    assert caught.value.retry_after_s == 3.0


async def test_a_connection_that_the_server_dropped_is_not_used_for_ever(replayed: tuple[Ports, Redecider]) -> None:
    """The server closes a connection it announced to keep: at most one attempt fails, as transient and billed."""
    ports, replay = replayed
    replay.answer(200, b'{"Labels": []}', {"Connection": "keep-alive"})
    outcomes = []
    for _ in range(6):
        try:
            outcomes.append((await ports.detector.detect(IMAGE)).labels == ())
        except TransientError as exc:
            outcomes.append(not exc.may_be_billed)
    assert outcomes[0]
    assert outcomes.count(True) >= 3


async def test_an_answer_that_drips_ends_at_the_deadline(replayed: tuple[Ports, Redecider]) -> None:
    """The deadline covers the whole attempt: bytes that keep arriving do not extend it."""
    ports, replay = replayed
    replay.answer(200, b'{"Labels": []}', length=10_000)
    replay.keeps_sending = True
    with anyio.fail_after(PATIENCE_S), pytest.raises(TransientError) as caught:
        await ports.detector.detect(IMAGE)
    replay.keeps_sending = False
    assert caught.value.may_be_billed


async def test_no_connection_is_not_billed() -> None:
    """Nothing listens on the port: the request cannot have been received and is not billed."""
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
    with settings_for(port):
        for client in ClientKind:
            async with open_ports(UNUSED, client) as ports:
                with pytest.raises(TransientError) as caught:
                    await ports.detector.detect(IMAGE)
                assert not caught.value.may_be_billed


@pytest.mark.real
@pytest.mark.skipif(not RECORDED.exists(), reason="no recorded errors on this machine")
async def test_the_recorded_raw_answer_is_understood(replayed: tuple[Ports, Redecider]) -> None:
    """The one recorded answer with headers and body is that of an unreadable object; S3 gives the cause."""
    ports, replay = replayed
    record = next(r for r in map(json.loads, RECORDED.read_text().splitlines()) if r["kind"] == "raw_http")
    replay.answer(
        record["status"], record["body"].encode(), {"x-amzn-RequestId": record["headers"]["x-amzn-RequestId"]}
    )
    with pytest.raises(ImageError) as caught:
        await ports.detector.detect(IMAGE)
    assert caught.value.code == "invalid_s3_object"
