"""Copies between a folder and S3: what every copier guarantees, both ways, with both clients against the sandbox."""

from __future__ import annotations

import errno
import hashlib
import os
import zlib
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import anyio
import pytest
import pytest_asyncio
from msgspec import structs

from asyncfilter.aws import S3End, open_aws
from asyncfilter.aws.clients.boto import BotoS3
from asyncfilter.aws.clients.fast import FastS3
from asyncfilter.aws.clients.protocols import S3Api, Written
from asyncfilter.aws.clients.signed_http import open_signed_client
from asyncfilter.aws.s3 import end as s3_end
from asyncfilter.aws.s3.end import PART_BYTES
from asyncfilter.errors import (
    AccessError,
    CallError,
    ImageError,
    PermissionDeniedError,
    ThrottledError,
    TransientError,
)
from asyncfilter.folders import FolderEnd
from asyncfilter.folders import end as folder_end
from asyncfilter.folders.files import etag_of
from asyncfilter.job.spec import Aws, ClientKind
from asyncfilter.model import FOLDER, ActionKind, Effect, IfExists, ObjectRef, S3Location, location
from asyncfilter.ports.remover import CopyResult
from asyncfilter.sandbox import BucketSpec, Sandbox, SandboxOptions
from asyncfilter.sandbox.access import DenyRule
from asyncfilter.sandbox.store import Attributes
from asyncfilter.transfers.transfer import Transfer
from tests.kit.collision import same_md5
from tests.kit.keys import HOSTILE_KEYS
from tests.kit.services import serving, set_faults

pytestmark = pytest.mark.asyncio(loop_scope="module")

RAW, CLEAN = "raw-images", "clean-images"
JPEG = b"\xff\xd8\xff\xe0 a picture"
DIRECTIONS = ["up", "down"]


@dataclass
class S3:
    """The sandbox, and a client over it."""

    sandbox: Sandbox
    calls: S3Api


@pytest_asyncio.fixture(params=list(ClientKind), scope="module", loop_scope="module")
async def s3(request: pytest.FixtureRequest) -> AsyncIterator[S3]:
    """S3 with each of the clients."""
    options = SandboxOptions(
        buckets=(BucketSpec(RAW), BucketSpec(CLEAN)),
        verify_signatures=True,
        check_images=False,
        deny=(
            DenyRule("PutObject", "*/unwritable*"),
            DenyRule("GetObject", "*/unreadable*"),
            DenyRule("HeadObject", "*/unlisted*"),
        ),
    )
    async with AsyncExitStack() as stack:
        sandbox = await stack.enter_async_context(serving(options))
        session = await stack.enter_async_context(open_aws(Aws(client=request.param), timeout_s=5, connections=20))
        signed_client = await stack.enter_async_context(open_signed_client(session))
        yield S3(sandbox, FastS3(session, signed_client) if request.param is ClientKind.FAST else BotoS3(session))


class Upload:
    """From a folder into S3."""

    def __init__(self, s3: S3, root: Path) -> None:
        self.s3, self.root = s3, root / "photos"
        self.root.mkdir()
        self.copier = Transfer(FolderEnd([self.root]), S3End(s3.calls))

    def source(self, key: str, body: bytes = JPEG) -> ObjectRef:
        """An image in the source."""
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
        etag = etag_of(path.stat())
        return ObjectRef(bucket=f"{FOLDER}{self.root}", key=key, size_bytes=len(body), etag=etag, seq=1)

    def vanish(self, image: ObjectRef) -> None:
        """Delete an image like another program."""
        (self.root / image.key).unlink()

    def target(self, key: str) -> S3Location:
        """The place of a copy."""
        return S3Location(CLEAN, f"{self.root.parent.name}/{key}")

    def put(self, key: str, body: bytes) -> ObjectRef:
        """Store an object at the place of a copy."""
        place = self.target(key)
        stored = self.s3.sandbox.put(place.bucket, place.key, body)
        return ObjectRef(bucket=place.bucket, key=place.key, size_bytes=len(body), etag=stored.etag, seq=1)

    def body(self, key: str) -> bytes | None:
        """What is at the place of a copy."""
        stored = self.s3.sandbox.bucket(CLEAN).get(self.target(key).key)
        return stored.body if stored else None


class Download:
    """From S3 into a folder."""

    def __init__(self, s3: S3, root: Path) -> None:
        self.s3, self.root, self.prefix = s3, root / "clean", root.name
        self.copier = Transfer(S3End(s3.calls), FolderEnd([self.root]))

    def source(self, key: str, body: bytes = JPEG, attributes: Attributes | None = None) -> ObjectRef:
        """An image in the source."""
        stored = self.s3.sandbox.put(RAW, f"{self.prefix}/{key}", body, attributes)
        return ObjectRef(bucket=RAW, key=stored.key, size_bytes=len(body), etag=stored.etag, seq=1)

    def vanish(self, image: ObjectRef) -> None:
        """Delete an image like another program."""
        self.s3.sandbox.bucket(RAW).delete(image.key)

    def target(self, key: str) -> S3Location:
        """The place of a copy."""
        return S3Location(f"{FOLDER}{self.root}", key)

    def put(self, key: str, body: bytes) -> ObjectRef:
        """Store a file at the place of a copy."""
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
        place = self.target(key)
        return ObjectRef(bucket=place.bucket, key=key, size_bytes=len(body), etag=etag_of(path.stat()), seq=1)

    def body(self, key: str) -> bytes | None:
        """What is at the place of a copy."""
        path = self.root / key
        return path.read_bytes() if path.exists() else None

    def files(self) -> list[str]:
        """Every file and link below the target."""
        return sorted(str(path.relative_to(self.root)) for path in self.root.rglob("*") if not path.is_dir())


Direction = Upload | Download


@pytest.fixture(params=[Upload, Download], ids=DIRECTIONS)
def direction(request: pytest.FixtureRequest, s3: S3, tmp_path: Path) -> Direction:
    """Either direction."""
    made: Direction = request.param(s3, tmp_path)
    return made


@pytest.fixture
def upload(s3: S3, tmp_path: Path) -> Upload:
    """From a folder into S3."""
    return Upload(s3, tmp_path)


@pytest.fixture
def download(s3: S3, tmp_path: Path) -> Download:
    """From S3 into a folder."""
    return Download(s3, tmp_path)


def effect(direction: Direction, image: ObjectRef, key: str = "a.jpg", if_exists: IfExists = IfExists.FAIL) -> Effect:
    """A copy."""
    return Effect(kind=ActionKind.COPY, source=image, target=direction.target(key), if_exists=if_exists)


async def failure(direction: Direction, wanted: Effect) -> str:
    """The code with which a copy fails."""
    with pytest.raises(ImageError) as caught:
        await direction.copier.copy(wanted)
    return caught.value.code


# -- Both ways ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("if_exists", IfExists)
@pytest.mark.parametrize("body", [b"x", JPEG, bytes(PART_BYTES), os.urandom(2 * PART_BYTES + 77)])
async def test_a_copy_has_the_bytes_of_the_image_and_may_be_repeated(
    direction: Direction, body: bytes, if_exists: IfExists
) -> None:
    """Of any size; the first one is new, and a repetition finds it."""
    image = direction.source("a.jpg", body)
    copied = await direction.copier.copy(effect(direction, image, if_exists=if_exists))
    assert copied.is_new
    assert direction.body("a.jpg") == body
    again = await direction.copier.copy(effect(direction, image, if_exists=if_exists))
    assert again.is_new is (if_exists is IfExists.OVERWRITE)
    assert direction.body("a.jpg") == body
    if if_exists is not IfExists.OVERWRITE:
        assert again.etag == copied.etag


@pytest.mark.parametrize("if_exists", IfExists)
async def test_what_changed_or_vanished_is_not_copied(direction: Direction, if_exists: IfExists) -> None:
    """The copy is on condition of what was examined; nothing is written."""
    image = direction.source("a.jpg")
    direction.source("a.jpg", b"another picture")
    assert await failure(direction, effect(direction, image, if_exists=if_exists)) == "changed"
    direction.vanish(image)
    assert await failure(direction, effect(direction, image, if_exists=if_exists)) == "vanished"
    assert direction.body("a.jpg") is None
    direction.put("a.jpg", JPEG)
    assert await failure(direction, effect(direction, image, if_exists=if_exists)) == "vanished"


@pytest.mark.parametrize("other", [b"another", bytes(len(JPEG))])
async def test_other_objects_at_the_target(direction: Direction, other: bytes) -> None:
    """``fail`` and ``skip`` leave them as they are, ``overwrite`` replaces them."""
    image = direction.source("a.jpg")
    there = direction.put("a.jpg", other)
    assert await failure(direction, effect(direction, image)) == "target_exists"
    skipped = await direction.copier.copy(effect(direction, image, if_exists=IfExists.SKIP))
    assert skipped == CopyResult(etag=there.etag, is_new=False)
    assert direction.body("a.jpg") == other
    assert (await direction.copier.copy(effect(direction, image, if_exists=IfExists.OVERWRITE))).is_new
    assert direction.body("a.jpg") == JPEG


async def test_equal_bytes_count_as_the_copy_and_equal_md5_does_not(direction: Direction) -> None:
    """Whoever wrote them; another picture with the same MD5 and size is another picture."""
    one, other = same_md5(b"rest")
    image = direction.source("a.jpg", one)
    direction.put("a.jpg", one)
    assert not (await direction.copier.copy(effect(direction, image))).is_new
    direction.put("b.jpg", other)
    assert await failure(direction, effect(direction, image, "b.jpg")) == "target_exists"
    assert direction.body("b.jpg") == other


async def test_an_object_at_a_target_is_checked_before_a_delete(direction: Direction) -> None:
    """``existing_copy`` gives None, a copy of the image as it was examined, or an error."""
    image = direction.source("a.jpg")
    wanted = effect(direction, image)
    assert await direction.copier.existing_copy(wanted) is None
    made = await direction.copier.copy(wanted)
    assert await direction.copier.existing_copy(wanted) == CopyResult(etag=made.etag, is_new=False)
    direction.put("a.jpg", b"another")
    for error in ("target_exists", "changed", "vanished"):
        with pytest.raises(ImageError) as caught:
            await direction.copier.existing_copy(wanted)
        assert caught.value.code == error
        if error == "changed":
            direction.vanish(image)
        else:
            direction.source("a.jpg", b"newer")


async def test_the_same_content_is_told_by_the_bytes(direction: Direction) -> None:
    """And errors tell which of the two is not what it was."""
    one, other = same_md5(b"x" * 100)
    image, twin, different = direction.source("a.jpg", one), direction.put("b.jpg", one), direction.put("c.jpg", other)
    assert await direction.copier.same_content(image, twin)
    assert not await direction.copier.same_content(image, different)
    assert not await direction.copier.same_content(image, direction.put("d.jpg", b"short"))
    direction.put("b.jpg", bytes(len(one)))
    with pytest.raises(ImageError) as caught:
        await direction.copier.same_content(image, twin)
    assert caught.value.code == "original_gone"
    direction.vanish(image)
    with pytest.raises(ImageError) as caught:
        await direction.copier.same_content(image, different)
    assert caught.value.code == "vanished"


@pytest.mark.parametrize("fault", ["slowdown", "internal", "reset", "cut"])
async def test_a_copy_that_failed_in_passing_can_be_repeated(direction: Direction, fault: str) -> None:
    """Whether it took effect or not: the repetition finds a copy or makes one; nothing half remains."""
    if fault == "cut" and isinstance(direction, Upload):
        pytest.skip("the answer to an upload has no body to cut")
    image = direction.source("a.jpg")
    operation = "PutObject" if isinstance(direction, Upload) else "GetObject"
    await set_faults(direction.s3.sandbox, f"{fault}:{operation}=100%")
    try:
        with pytest.raises(CallError) as caught:
            await direction.copier.copy(effect(direction, image))
        assert isinstance(caught.value, ThrottledError | TransientError)
    finally:
        await set_faults(direction.s3.sandbox)
    await direction.copier.copy(effect(direction, image))
    assert direction.body("a.jpg") == JPEG
    if isinstance(direction, Download):
        assert direction.files() == ["a.jpg"]


@pytest.mark.parametrize("if_exists", IfExists)
async def test_many_copies_to_one_target_leave_one_whole_object(direction: Direction, if_exists: IfExists) -> None:
    """Races have one winner."""
    images = [direction.source(f"{at}.jpg", f"{at}".encode() * 1000) for at in range(6)]
    results: list[str] = []

    async def copy(image: ObjectRef) -> None:
        try:
            results.append(
                "new" if (await direction.copier.copy(effect(direction, image, "one", if_exists))).is_new else "old"
            )
        except ImageError as error:
            results.append(error.code)

    async with anyio.create_task_group() as tasks:
        for image in images:
            tasks.start_soon(copy, image)
    others = {IfExists.FAIL: "target_exists", IfExists.SKIP: "old", IfExists.OVERWRITE: "new"}[if_exists]
    assert sorted(results) == sorted(["new", *[others] * 5])
    assert direction.body("one") in {f"{at}".encode() * 1000 for at in range(6)}


# -- Uploads -----------------------------------------------------------------------------------------------------------


PLAIN_KEYS = [key for key in HOSTILE_KEYS if not {"", ".", ".."} & {*key.split("/")} and len(key.encode()) < 200]


@pytest.mark.parametrize("key", PLAIN_KEYS)
async def test_any_name_of_a_file_is_uploaded(upload: Upload, key: str) -> None:
    """docs/guarantees.md, *Any key works*."""
    image = upload.source(key, key.encode())
    assert (await upload.copier.copy(effect(upload, image, key))).is_new
    assert upload.body(key) == key.encode()


@pytest.mark.parametrize(
    ("name", "body", "type_"),
    [
        ("a.jpg", JPEG, "image/jpeg"),
        ("really a png.jpg", b"\x89PNG\r\n\x1a\n....", "image/png"),
        ("a.webp", b"RIFF....WEBPVP8 ", "image/webp"),
        ("unknown.tif", b"?", "image/tiff"),
        ("unknown", b"?", "application/octet-stream"),
    ],
)
async def test_content_type_and_checksum_are_set(upload: Upload, name: str, body: bytes, type_: str) -> None:
    """By the bytes, else by the name; the object has the SHA-256 of its bytes, by which it is recognised."""
    await upload.copier.copy(effect(upload, upload.source(name, body), name))
    stored = upload.s3.sandbox.bucket(CLEAN).get(upload.target(name).key)
    assert stored is not None
    assert stored.attributes.content_type == type_
    assert stored.attributes.checksums == {"x-amz-checksum-sha256": b64encode(hashlib.sha256(body).digest()).decode()}


async def test_a_file_that_changes_while_it_is_read_is_not_uploaded(
    upload: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is checked again after its last byte, and only then is the request sent."""
    image = upload.source("a.jpg", b"1" * 3_000_000)
    real, seen = folder_end._read, []

    def read(one: ObjectRef, *more: Any) -> bytes:
        seen.append(one)
        if len(seen) == 2:
            (upload.root / "a.jpg").write_bytes(b"2" * 3_000_000)
        return real(one, *more)

    monkeypatch.setattr(folder_end, "_read", read)
    assert await failure(upload, effect(upload, image)) == "changed"
    assert upload.body("a.jpg") is None


@pytest.mark.parametrize("if_exists", IfExists)
async def test_other_bytes_under_the_same_time_and_inode_are_not_uploaded(upload: Upload, if_exists: IfExists) -> None:
    """Where the hash of what was examined is known; nor do they count as the copy that is there."""
    image = upload.source("a.jpg", JPEG)
    path, known = upload.root / "a.jpg", hashlib.blake2b(JPEG, digest_size=16).hexdigest()
    wanted = structs.replace(effect(upload, image, if_exists=if_exists), blake2b=known)
    assert (await upload.copier.copy(wanted)).is_new
    before = path.stat()
    with path.open("r+b") as file:
        file.write(b"other")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    if if_exists is not IfExists.SKIP:
        assert await failure(upload, wanted) == "changed"
    assert await failure(upload, structs.replace(wanted, target=upload.target("b.jpg"))) == "changed"
    assert (upload.body("a.jpg"), upload.body("b.jpg")) == (JPEG, None)


async def test_where_nothing_may_be_written_the_run_ends(upload: Upload) -> None:
    """With the permission that lacks."""
    with pytest.raises(PermissionDeniedError) as caught:
        await upload.copier.copy(effect(upload, upload.source("a.jpg"), "unwritable.jpg"))
    assert "s3:PutObject" in str(caught.value.hint)


async def test_a_target_that_may_not_be_looked_at_is_guarded_by_the_condition(upload: Upload) -> None:
    """Without s3:ListBucket a missing object answers 403; a copy is made where no object is, and only there."""
    image = upload.source("a.jpg")
    assert (await upload.copier.copy(effect(upload, image, "unlisted.jpg"))).is_new
    upload.put("unlisted.jpg", b"another")
    with pytest.raises(PermissionDeniedError):
        await upload.copier.copy(effect(upload, image, "unlisted.jpg"))
    assert upload.body("unlisted.jpg") == b"another"


async def test_a_store_that_keeps_other_bytes_is_noticed(upload: Upload, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has neither the MD5 nor the SHA-256 of what was sent; the object is read to be sure."""
    image, real = upload.source("a.jpg"), upload.s3.calls.put_object

    async def broken(target: S3Location, body: bytes, **more: Any) -> Any:
        bad = body[:-1] + b"!"
        more["sha256"] = hashlib.sha256(bad).digest()
        return await real(target, bad, **more)

    monkeypatch.setattr(upload.s3.calls, "put_object", broken)
    assert await failure(upload, effect(upload, image)) == "not_verified"


@pytest.mark.parametrize("has_checksum", [True, False])
async def test_an_etag_that_is_no_md5_is_verified_by_checksum_or_by_reading(
    upload: Upload, monkeypatch: pytest.MonkeyPatch, has_checksum: bool
) -> None:
    """As under a KMS key."""
    image, real = upload.source("a.jpg"), upload.s3.calls.put_object
    etag = "0" * 32

    async def sealed(target: S3Location, body: bytes, **more: Any) -> Written:
        await real(target, body, **more)
        stored = upload.s3.sandbox.bucket(CLEAN).get(target.key)
        assert stored is not None
        stored.etag = etag
        if not has_checksum:
            stored.attributes.checksums.clear()
        return Written(etag, {})

    monkeypatch.setattr(upload.s3.calls, "put_object", sealed)
    assert await upload.copier.copy(effect(upload, image)) == CopyResult(etag=etag, is_new=True)
    assert await upload.copier.copy(effect(upload, image)) == CopyResult(etag=etag, is_new=False)


async def test_more_than_one_request_takes_is_refused(upload: Upload) -> None:
    """Before anything is read."""
    image = structs.replace(upload.source("a.jpg"), size_bytes=5 * 1024**3 + 1)
    assert await failure(upload, effect(upload, image, if_exists=IfExists.OVERWRITE)) == "too_large_to_copy"


async def test_bodies_in_memory_are_bounded(upload: Upload, monkeypatch: pytest.MonkeyPatch) -> None:
    """Uploads wait for their turn; one that is larger than the bound goes alone."""
    monkeypatch.setattr(s3_end, "UPLOAD_BYTES", 25)
    copier, real = Transfer(FolderEnd([upload.root]), S3End(upload.s3.calls)), upload.s3.calls.put_object
    held, most = [0], [0]

    async def put(target: S3Location, body: bytes, **more: Any) -> Written:
        held[0] += len(body)
        most[0] = max(most[0], held[0])
        try:
            return await real(target, body, **more)
        finally:
            held[0] -= len(body)

    monkeypatch.setattr(upload.s3.calls, "put_object", put)
    async with anyio.create_task_group() as tasks:
        for at in range(9):
            image = upload.source(f"{at}.jpg", b"x" * (40 if at == 4 else 10))
            tasks.start_soon(copier.copy, effect(upload, image, f"{at}.jpg"))
    assert most == [40]
    assert [len(upload.body(f"{at}.jpg") or b"") for at in range(9)] == [10] * 4 + [40] + [10] * 4


@pytest.mark.parametrize("client", ClientKind)
async def test_a_large_body_has_more_time_than_other_requests(client: ClientKind) -> None:
    """A second for every 64 KiB: a slow line is no failure."""
    async with (
        serving(SandboxOptions(buckets=(BucketSpec(CLEAN),))) as sandbox,
        open_aws(Aws(client=client), timeout_s=0.5, connections=2) as session,
        open_signed_client(session) as signed_client,
    ):
        calls: S3Api = FastS3(session, signed_client) if client is ClientKind.FAST else BotoS3(session)
        await session.place(CLEAN)
        async with aiohttp.ClientSession() as http:
            url = f"{sandbox.endpoint_url}/_sandbox/latency"
            async with http.post(url, json={"s3": "1s"}) as response:
                assert response.status == 200
        body, digest = bytes(20 * 64 * 1024), hashlib.sha256(bytes(20 * 64 * 1024)).digest()
        with pytest.raises(TransientError):
            await calls.head_object(CLEAN, "large")
        written = await calls.put_object(
            S3Location(CLEAN, "large"), body, content_type="image/jpeg", sha256=digest, only_new=True
        )
        assert written.etag == hashlib.md5(body, usedforsecurity=False).hexdigest()


# -- Downloads ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", PLAIN_KEYS)
async def test_any_key_that_is_a_plain_path_is_downloaded(download: Download, key: str) -> None:
    """docs/guarantees.md, *Any key works*; no other file is left."""
    image = download.source(key, key.encode())
    assert (await download.copier.copy(effect(download, image, key))).is_new
    assert download.body(key) == key.encode()
    assert download.files() == [key]


@pytest.mark.parametrize(
    "key", ["../x.jpg", "a/../../x.jpg", "/etc/x.jpg", "a//b.jpg", "./x.jpg", "a/", "nul\0.jpg", ""]
)
@pytest.mark.parametrize("if_exists", IfExists)
async def test_no_key_leaves_the_folder(download: Download, key: str, if_exists: IfExists) -> None:
    """A key that is no plain path is a failure of that image."""
    image = download.source("a.jpg")
    assert await failure(download, effect(download, image, key, if_exists)) == "target_unsafe"
    assert not download.root.exists() or download.files() == []


@pytest.mark.parametrize("is_inside", [True, False])
@pytest.mark.parametrize("if_exists", IfExists)
async def test_no_link_below_the_folder_is_followed(
    download: Download, tmp_path: Path, if_exists: IfExists, is_inside: bool
) -> None:
    """Neither out of it nor within it; the folder itself may be one."""
    place = (download.root if is_inside else tmp_path) / "elsewhere"
    place.mkdir(parents=True)
    download.root.mkdir(exist_ok=True)
    (download.root / "link").symlink_to(place)
    image = download.source("a.jpg")
    assert await failure(download, effect(download, image, "link/a.jpg", if_exists)) == "target_unsafe"
    assert await failure(download, effect(download, image, "link/b/a.jpg", if_exists)) == "target_unsafe"
    assert list(place.iterdir()) == []
    (tmp_path / "direction in").symlink_to(place)
    wanted = Effect(kind=ActionKind.COPY, source=image, target=S3Location(f"{FOLDER}{tmp_path}/direction in", "a.jpg"))
    await download.copier.copy(wanted)
    assert (place / "a.jpg").read_bytes() == JPEG


async def test_a_link_at_the_place_of_a_file_is_never_written_through(download: Download, tmp_path: Path) -> None:
    """It is another object; ``overwrite`` replaces the link, and not what it leads to."""
    victim = tmp_path / "victim"
    victim.write_bytes(JPEG)
    download.root.mkdir()
    (download.root / "a.jpg").symlink_to(victim)
    image = download.source("a.jpg")
    assert await failure(download, effect(download, image)) == "target_exists"
    assert (await download.copier.copy(effect(download, image, if_exists=IfExists.OVERWRITE))).is_new
    assert not (download.root / "a.jpg").is_symlink()
    (download.root / "b.jpg").symlink_to(tmp_path / "nothing")
    assert not (await download.copier.copy(effect(download, image, "b.jpg", IfExists.SKIP))).is_new
    assert victim.read_bytes() == JPEG
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize("if_exists", IfExists)
async def test_keys_that_are_both_file_and_folder(download: Download, if_exists: IfExists) -> None:
    """The second one is a failure of that image, whichever it is."""
    image = download.source("a.jpg")
    await download.copier.copy(effect(download, image, "one"))
    assert await failure(download, effect(download, image, "one/two.jpg", if_exists)) == "target_blocked"
    await download.copier.copy(effect(download, image, "three/four.jpg"))
    assert await failure(download, effect(download, image, "three", if_exists)) == "target_blocked"
    assert download.files() == ["one", "three/four.jpg"]


async def test_a_name_that_is_too_long_is_a_failure_of_that_image(download: Download) -> None:
    """Of a file or of a folder; S3 takes names of 1,024 bytes, a file system 255."""
    image = download.source("a.jpg")
    for key in ("x" * 256, "é" * 128, f"{'x' * 256}/a.jpg"):
        assert await failure(download, effect(download, image, key)) == "target_too_long"
    assert download.files() == []


class FoldedNames:
    """A file system that takes upper and lower case for one, as those of macOS and of USB sticks do."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._lstat, self._open, self._link = os.lstat, os.open, os.link
        for name in ("lstat", "open", "link"):
            patch.setattr(os, name, getattr(self, f"_{name}_folded"))

    def _there(self, name: Any, dir_fd: int | None) -> Any:
        if dir_fd is None:
            return name
        names = os.listdir(dir_fd)  # noqa: PTH208  a descriptor
        return next((one for one in names if one.casefold() == str(name).casefold()), name)

    def _lstat_folded(self, name: Any, *, dir_fd: int | None = None) -> Any:
        return self._lstat(self._there(name, dir_fd), dir_fd=dir_fd)

    def _open_folded(self, name: Any, *more: Any, dir_fd: int | None = None) -> int:
        return self._open(self._there(name, dir_fd), *more, dir_fd=dir_fd)

    def _link_folded(self, part: Any, name: Any, *, src_dir_fd: int, dst_dir_fd: int, follow_symlinks: bool) -> None:
        name = self._there(name, dst_dir_fd)
        self._link(part, name, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd, follow_symlinks=follow_symlinks)


@pytest.mark.parametrize("if_exists", IfExists)
@pytest.mark.parametrize(("one", "other"), [("a.jpg", "A.JPG"), ("cat/a.jpg", "Cat/a.jpg"), ("cat/b/c", "cat/B/d")])
async def test_names_that_a_file_system_takes_for_one(
    download: Download, monkeypatch: pytest.MonkeyPatch, one: str, other: str, if_exists: IfExists
) -> None:
    """The copy of one key never counts as that of another, and never replaces it."""
    first, second = download.source("1.jpg", b"first"), download.source("2.jpg", b"second")
    FoldedNames(monkeypatch)
    await download.copier.copy(effect(download, first, one))
    assert await failure(download, effect(download, second, other, if_exists)) == "target_collision"
    assert download.body(one) == b"first"
    assert download.files() == [one]
    assert not (await download.copier.copy(effect(download, first, one))).is_new


async def test_bytes_that_were_changed_on_their_way_are_not_kept(
    download: Download, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the ETag where it is MD5, by the checksums of the store, else by reading again; no file is left."""
    real = download.s3.calls.read_object
    spoilt = [0]

    async def spoil(image: ObjectRef, **more: Any) -> bytes:
        spoilt[0] += 1
        content = await real(image, **more)
        return content if spoilt[0] % 2 == 0 else content[:-1] + b"!"

    plain = download.source("a.jpg")
    crc = Attributes(checksums={"x-amz-checksum-crc32": b64encode(zlib.crc32(JPEG).to_bytes(4, "big")).decode()})
    summed, neither = download.source("b.jpg", attributes=crc), download.source("c.jpg")
    for image in (summed, neither):
        stored = download.s3.sandbox.bucket(RAW).get(image.key)
        assert stored is not None
        stored.etag = "0" * 30 + "-2"
    monkeypatch.setattr(download.s3.calls, "read_object", spoil)
    for image in (plain, summed, neither):
        spoilt[0] = 0
        one = structs.replace(image, etag=image.etag if image is plain else "0" * 30 + "-2")
        with pytest.raises(TransientError):
            await download.copier.copy(effect(download, one))
        assert download.files() == []
    spoilt[0] = 1
    assert (await download.copier.copy(effect(download, plain))).is_new


async def test_an_object_without_known_checksum_is_read_twice(download: Download) -> None:
    """As one that was uploaded in parts, or under a KMS key."""
    image = download.source("a.jpg")
    stored = download.s3.sandbox.bucket(RAW).get(image.key)
    assert stored is not None
    stored.etag = "0" * 30 + "-2"
    before = download.s3.sandbox.stats().operations["GetObject"].attempts
    assert (await download.copier.copy(effect(download, structs.replace(image, etag=stored.etag)))).is_new
    assert download.s3.sandbox.stats().operations["GetObject"].attempts == before + 2


async def test_a_store_that_sends_no_parts_sends_the_whole(download: Download, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large objects come in parts; where a store ignores ranges, its whole answer is used."""
    image = download.source("a.jpg", os.urandom(PART_BYTES + 1))

    async def ignoring(*_: Any) -> None:
        return None

    monkeypatch.setattr(download.s3.calls, "read_part", ignoring)
    assert (await download.copier.copy(effect(download, image))).is_new
    stored = download.s3.sandbox.bucket(RAW).get(image.key)
    assert stored is not None
    assert download.body("a.jpg") == stored.body


async def test_a_full_disk_ends_the_run_before_it_is_full(download: Download, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is written, and the hint says what to do; so it is where the disk is full in the middle."""
    image = download.source("a.jpg")
    free = SimpleNamespace(f_bavail=1000, f_frsize=4096)
    monkeypatch.setattr(os, "fstatvfs", lambda _: free)
    with pytest.raises(AccessError) as caught:
        await download.copier.copy(effect(download, image))
    assert "Free space" in str(caught.value.hint)
    free.f_bavail = 10**9
    monkeypatch.setattr(os, "write", _full)
    with pytest.raises(AccessError):
        await download.copier.copy(effect(download, image))
    monkeypatch.undo()
    assert download.files() == []


def _full(*_: Any) -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


async def test_a_file_system_without_hard_links(download: Download, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name is reserved by an empty file."""
    image = download.source("a.jpg")

    def no_link(*_: Any, **__: Any) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", no_link)
    assert (await download.copier.copy(effect(download, image))).is_new
    assert not (await download.copier.copy(effect(download, image))).is_new
    download.put("b.jpg", b"another")
    assert await failure(download, effect(download, image, "b.jpg")) == "target_exists"
    assert download.files() == ["a.jpg", "b.jpg"]


async def test_an_image_that_may_not_be_read_fails_alone(download: Download) -> None:
    """A denial of one object is no end of the run."""
    image = download.source("unreadable.jpg")
    assert await failure(download, effect(download, image)) == "access_denied"
    assert download.files() == []


async def test_a_file_in_a_folder_that_may_not_be_written_ends_the_run(download: Download) -> None:
    """With the remedy."""
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    download.root.mkdir(mode=0o500)
    with pytest.raises(PermissionDeniedError):
        await download.copier.copy(effect(download, download.source("a.jpg")))


async def test_others_may_read_a_download_as_the_umask_says(download: Download) -> None:
    """As every file that a program makes; the address from a checkpoint leads to the same file."""
    image, former = download.source("a.jpg"), os.umask(0o027)
    try:
        await download.copier.copy(effect(download, image))
    finally:
        os.umask(former)
    assert (download.root / "a.jpg").stat().st_mode & 0o777 == 0o640
    stored = location(download.target("a.jpg").uri)
    assert not (await download.copier.copy(structs.replace(effect(download, image), target=stored))).is_new
