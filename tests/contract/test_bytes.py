"""Images that are sent as bytes, read, refused or converted: both clients on the sandbox, signatures verified."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from asyncfilter import Job, run
from asyncfilter.aws import S3Store, open_aws, open_clients, open_detector, open_store
from asyncfilter.aws.detectors.base import RekognitionDetector
from asyncfilter.checkpoint import read_images
from asyncfilter.errors import AccessError, ImageError, RegionMismatchError
from asyncfilter.model import ObjectRef
from asyncfilter.policy.provenance import provenance_of
from asyncfilter.sandbox import Attributes, BucketSpec, DenyRule, Noise, Sandbox, SandboxOptions
from asyncfilter.sandbox.options import DEFAULT_MODEL_ARN
from tests.kit import jobs
from tests.kit.pictures import noise
from tests.kit.services import serving

CALM = Noise(0, 0, 0, 0)
pytestmark = pytest.mark.filterwarnings(
    "ignore:Sending a large body directly:ResourceWarning"  # aiohttp's advice to aiobotocore, which takes bytes alone
)
CLIENTS = pytest.mark.parametrize("client", ["fast", "aioboto3"])


def serve(**options: Any) -> AbstractAsyncContextManager[Sandbox]:
    """A sandbox to which the clients of this process connect."""
    buckets = (BucketSpec("raw"), BucketSpec("clean"), BucketSpec("far", "eu-west-1"), BucketSpec("locked"))
    deny = (DenyRule("*", "locked/*"),)
    settings = {"buckets": buckets, "verify_signatures": True, "noise": CALM, "deny": deny, **options}
    return serving(SandboxOptions(**settings))


make_job = partial(
    jobs.make_bare_job,
    source={"uri": "s3://raw/", "include": "*"},
    rules=[{"keep": {"none": "Nothing"}}],
    limits={"tps": 500},
)
"""A job that keeps every image that could be examined."""


@asynccontextmanager
async def opened(job: Job) -> AsyncIterator[tuple[RekognitionDetector, S3Store]]:
    """Detector and store of a job."""
    async with open_aws(job.aws, timeout_s=5, connections=10) as session, open_clients(job.aws, session) as clients:
        store = await open_store(job, clients)
        detector, _ = await open_detector(job, clients, bucket_region=store.region)
        yield detector, store


def put(
    sandbox: Sandbox, key: str, body: bytes, attributes: Attributes | None = None, bucket: str = "raw"
) -> ObjectRef:
    """Store an object; the reference a listing would give."""
    stored = sandbox.put(bucket, key, body, attributes)
    return ObjectRef(bucket=bucket, key=key, size_bytes=len(body), etag=stored.etag, seq=1)


# -- The ports ---------------------------------------------------------------------------------------------------------


@CLIENTS
async def test_bytes_are_examined_as_the_object_is(client: str, tmp_path: Path) -> None:
    """Bytes get the labels of their content, with any key and size."""
    async with (
        serve(synthetic=()) as sandbox,
        opened(make_job(base_dir=tmp_path, aws={"client": client})) as (detector, _),
    ):
        large = noise("PNG", 1400, 1300)
        assert 3_500_000 < len(large) < 5 * 1024 * 1024
        for body in (noise(), large):
            image = put(sandbox, "birds/robin/a.jpg", body)
            found = await detector.detect_content(image, body)
            again = await detector.detect_content(image, body)
            assert found == again
            assert found.model_version
        stats = sandbox.stats().operations["DetectLabels"]
        assert (stats.attempts, stats.billed) == (4, 4)


@CLIENTS
async def test_custom_labels_take_bytes_too(client: str, tmp_path: Path) -> None:
    """DetectCustomLabels gives labels for bytes as it does for references."""
    model = {"kind": "rekognition-custom-labels", "model": DEFAULT_MODEL_ARN}
    job = make_job(base_dir=tmp_path, aws={"client": client}, detector=model)
    async with serve() as sandbox, opened(job) as (detector, _):
        image = put(sandbox, "birds/robin/a.jpg", noise())
        await detector.detect_content(image, noise())
        assert sandbox.stats().operations["DetectCustomLabels"].billed == 1


@CLIENTS
@pytest.mark.parametrize(
    ("body", "code"),
    [
        (noise("WEBP"), "invalid_image_format"),
        (noise("PNG", 79, 200), "image_rejected"),
        (noise("PNG") + bytes(5 * 1024 * 1024), "image_too_large"),
    ],
)
async def test_refused_bytes_have_the_codes_of_refused_objects(
    client: str, body: bytes, code: str, tmp_path: Path
) -> None:
    """The service's refusal of bytes has the same code as that of an object and as the free check."""
    async with serve() as sandbox, opened(make_job(base_dir=tmp_path, aws={"client": client})) as (detector, _):
        image = put(sandbox, "a.jpg", body)
        with pytest.raises(ImageError) as caught:
            await detector.detect_content(image, body)
        assert caught.value.code == code


@CLIENTS
async def test_objects_are_read_whole_or_from_their_start(client: str, tmp_path: Path) -> None:
    """Any key can be read; a range beyond the end gives the bytes that exist."""
    async with serve() as sandbox, opened(make_job(base_dir=tmp_path, aws={"client": client})) as (_, store):
        for key in ("plain.jpg", "a b+c%2F/../é\n😀.jpg"):
            image = put(sandbox, key, b"0123456789")
            assert await store.contents.read(image) == b"0123456789"
            assert await store.contents.read(image, first_bytes=4) == b"0123"
            assert await store.contents.read(image, first_bytes=64) == b"0123456789"


@CLIENTS
async def test_objects_that_cannot_be_read_have_their_cause(client: str, tmp_path: Path) -> None:
    """Missing, replaced, denied, archived and encrypted objects each have their own code."""
    async with serve() as sandbox, opened(make_job(base_dir=tmp_path, aws={"client": client})) as (_, store):
        replaced = put(sandbox, "replaced.jpg", b"one")
        sandbox.put("raw", "replaced.jpg", b"two")
        cases = {
            "vanished": ObjectRef(bucket="raw", key="gone.jpg", size_bytes=3, etag="0" * 32, seq=1),
            "changed": replaced,
            "access_denied": put(sandbox, "a.jpg", b"one", bucket="locked"),
            "archived": put(sandbox, "cold.jpg", b"one", Attributes(storage_class="GLACIER")),
            "kms_denied": put(sandbox, "kms.jpg", b"one", Attributes(kms_denied=True)),
        }
        for code, image in cases.items():
            for first_bytes in (None, 2):
                with pytest.raises(ImageError) as caught:
                    await store.contents.read(image, first_bytes=first_bytes)
                assert (code, caught.value.code) == (code, code)
                assert caught.value.access is (code in {"access_denied", "kms_denied"})


# -- Whole runs --------------------------------------------------------------------------------------------------------

DIRT = {
    "a-good.jpg": noise(),
    "b-webp.jpg": noise("WEBP"),
    "c-small.png": noise("PNG", 79, 300),
    "d-wide.png": noise("PNG", 10_001, 81),
    "e-error.jpg": b"<Error><Code>AccessDenied</Code></Error>",
    "f-gif.gif": noise("GIF", sigma=0),
    "g-cut.webp": noise("WEBP")[:100],
    "h-good.png": noise("PNG"),
}
REFUSED = {"invalid_image_format": 4, "image_rejected": 1, "image_too_large": 1}


def fill(sandbox: Sandbox, bucket: str = "raw") -> None:
    """Store valid pictures and several kinds of invalid ones."""
    for key, body in DIRT.items():
        sandbox.put(bucket, f"birds/robin/{key}", body)


@CLIENTS
async def test_prechecked_rejections_never_reach_the_service(client: str, tmp_path: Path) -> None:
    """With ``precheck: header`` the outcome is the same as without it, and only valid pictures cost a call."""
    async with serve() as sandbox:
        fill(sandbox)
        plain = await run(make_job(base_dir=tmp_path, name="plain", aws={"client": client}))
        checked = await run(make_job(base_dir=tmp_path, name="checked", precheck="header", aws={"client": client}))
        assert plain.counts.failed == checked.counts.failed == REFUSED
        assert (plain.counts.calls, checked.counts.calls, checked.counts.billed_calls) == (8, 2, 2)
        assert plain.counts.keep == checked.counts.keep == 2


@CLIENTS
async def test_converting_rescues_what_shows_anything(client: str, tmp_path: Path) -> None:
    """WebP, GIF and too many pixels are sent as JPEGs; an invalid or too small picture fails at no cost."""
    async with serve() as sandbox:
        fill(sandbox)
        job = make_job(base_dir=tmp_path, convert=True, near_duplicates=True, aws={"client": client})
        summary = await run(job)
        assert summary.counts.failed == {"invalid_image_format": 2, "image_rejected": 1}
        assert (summary.counts.keep, summary.counts.calls) == (5, 5)
        stored = list(read_images(job.checkpoint))
    notes = {image.key: provenance_of(image.detection) for image in stored}
    sent = {key[12:]: note.sent.converted_from for key, note in notes.items() if note.sent is not None}
    assert sent == {"b-webp.jpg": "webp", "d-wide.png": "png", "f-gif.gif": "gif"}
    assert (
        notes["birds/robin/a-good.jpg"].perceptual_hash == notes["birds/robin/a-good.jpg"].perceptual_hash is not None
    )
    extras = [json.loads(image.detection.extra)["asyncfilter"] for image in stored if image.detection]
    assert {extra["sent"]["converted_from"] for extra in extras if "sent" in extra} == {"webp", "gif", "png"}
    wide = notes["birds/robin/d-wide.png"].sent
    assert wide is not None
    assert (wide.width, wide.height) == (10_000, 81)


@CLIENTS
async def test_images_of_another_region_are_sent(client: str, tmp_path: Path) -> None:
    """Rekognition cannot read a bucket of another region: refused without ``convert``, sent with it."""
    changes: dict[str, Any] = {
        "source": {"uri": "s3://far/", "include": "*"},
        "detector": {"region": "us-east-1"},
        "aws": {"client": client},
    }
    async with serve() as sandbox:
        fill(sandbox, "far")
        with pytest.raises(RegionMismatchError) as caught:
            await run(make_job(base_dir=tmp_path, **changes))
        assert "convert: true" in (caught.value.hint or "")
        job = make_job(base_dir=tmp_path, convert=True, **changes)
        summary = await run(job)
        assert (summary.counts.keep, summary.counts.calls) == (5, 5)
        notes = [provenance_of(image.detection) for image in read_images(job.checkpoint) if image.detection]
        assert all(note.sent is not None and note.blake2b is not None for note in notes)


async def test_a_folder_is_run_like_a_bucket(tmp_path: Path) -> None:
    """Files are sent, copied or linked by verdict, and not examined again in the second run."""
    photos = tmp_path / "photos"
    (photos / "deep" / "er").mkdir(parents=True)
    for key, body in DIRT.items():
        (photos / "deep" / "er" / key).write_bytes(body)
    async with serve() as sandbox:
        for action in ("copy", "link"):
            changes = {
                "name": action,
                "source": {"uri": "./photos", "include": "*"},
                "actions": {"keep": {action: f"./{action}/{{key}}"}},
            }
            first = await run(make_job(base_dir=tmp_path, **changes))
            again = await run(make_job(base_dir=tmp_path, **changes))
            assert first.counts.failed == {"invalid_image_format": 2, "image_rejected": 1}
            assert (first.counts.keep, first.counts.copied, again.this_run.calls) == (5, 5, 0)
            made = sorted((tmp_path / action).rglob("*.*"))
            assert [path.name for path in made] == ["a-good.jpg", "b-webp.jpg", "d-wide.png", "f-gif.gif", "h-good.png"]
            assert all(path.read_bytes() == DIRT[path.name] for path in made)
            assert {path.stat().st_nlink for path in made} == {1 if action == "copy" else 2}
        assert sandbox.stats().operations["DetectLabels"].billed == 10
        assert set(sandbox.stats().operations) & {"ListObjectsV2", "GetObject", "CopyObject"} == set()


async def test_a_folder_needs_a_region(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a region the run is refused and the error names the setting; calls go to the region that is set."""
    (tmp_path / "photos").mkdir()
    job = make_job(base_dir=tmp_path, source="./photos")
    async with serve():
        monkeypatch.delenv("AWS_REGION")
        monkeypatch.delenv("AWS_DEFAULT_REGION")
        with pytest.raises(AccessError) as caught:
            await run(job)
        assert "detector.region" in (caught.value.hint or "")
        there = make_job(base_dir=tmp_path, source="./photos", detector={"region": "eu-west-1"})
        async with open_aws(there.aws, timeout_s=5, connections=2) as session, open_clients(there.aws, session) as aws:
            assert (await open_detector(there, aws, bucket_region=None))[1] == "eu-west-1"
