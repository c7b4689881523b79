"""Reference images over both clients: objects in their own region, files by their bytes, and errors."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from asyncfilter.aws import AwsReferences, open_aws, open_clients, open_references
from asyncfilter.errors import BucketNotFoundError, ImageError, ThrottledError, UsageError
from asyncfilter.job.spec import Aws, ClientKind, DetectorSpec
from asyncfilter.model import ListedObject, ObjectRef
from asyncfilter.sandbox import BucketSpec, Sandbox, SandboxOptions
from asyncfilter.wiring import label_references
from tests.kit.pictures import plain
from tests.kit.services import serving


def serve(tps: float | None = None) -> AbstractAsyncContextManager[Sandbox]:
    """A sandbox to which the clients of this process connect."""
    return serving(SandboxOptions(buckets=(BucketSpec("good"), BucketSpec("far", "eu-west-1")), tps=tps))


def picture(colour: str, side: int = 150) -> bytes:
    """A small JPEG."""
    return plain("JPEG", side, side, colour)


@asynccontextmanager
async def references(client: ClientKind, *uris: str, spec: DetectorSpec | None = None) -> AsyncIterator[AwsReferences]:
    """The port, with a client of its own."""
    aws = Aws(client=client)
    async with (
        open_aws(aws, timeout_s=5, connections=4) as session,
        open_clients(aws, session) as clients,
    ):
        yield await open_references(uris, clients=clients, spec=spec or DetectorSpec())


def as_image(listed: ListedObject) -> ObjectRef:
    """The item that the engine makes for a reference."""
    return ObjectRef(bucket="", key=listed.key, size_bytes=listed.size_bytes, etag=listed.etag, seq=1)


@pytest.mark.parametrize("client", list(ClientKind))
async def test_objects_and_files_are_examined(client: ClientKind, tmp_path: Path) -> None:
    """Objects are sent by reference, each in its bucket's region, with any key; files by their bytes."""
    file = tmp_path / "a good one.jpg"
    file.write_bytes(picture("red"))
    uris = ["s3://good/robin/a b+c%20.jpg", "s3://far/robin/1.jpg", str(file)]
    async with serve() as sandbox, references(client, *uris) as port:
        sandbox.put("good", "robin/a b+c%20.jpg", picture("green"))
        sandbox.put("far", "robin/1.jpg", picture("blue"))
        found = [await port.head(uri) for uri in uris]
        assert [one.size_bytes for one in found] == [len(picture(colour)) for colour in ("green", "blue", "red")]
        assert len({one.etag for one in found}) == 3
        detections = [await port.detect(as_image(one)) for one in found]
        assert {"Robin"} <= {label.name for label in detections[0].labels}
        assert {"Robin"} <= {label.name for label in detections[1].labels}
        assert sandbox.stats().operations["DetectLabels"].billed == 3


@pytest.mark.parametrize("client", list(ClientKind))
async def test_references_that_cannot_be_examined_are_reported(client: ClientKind, tmp_path: Path) -> None:
    """Missing, too large, no picture, too small, no bucket: each has its own error code."""
    large, text, small = tmp_path / "large.jpg", tmp_path / "text.jpg", tmp_path / "small.jpg"
    large.write_bytes(b"x" * (5 * 1024 * 1024 + 1))
    text.write_text("no picture")
    small.write_bytes(picture("red", 20))
    async with serve(), references(client, "s3://good/x.jpg") as port:
        for uri, code in (
            ("s3://good/gone.jpg", "vanished"),
            (str(tmp_path / "gone.jpg"), "vanished"),
            (str(tmp_path), "vanished"),
            (str(large), "image_too_large"),
        ):
            with pytest.raises(ImageError) as caught:
                await port.head(uri)
            assert caught.value.code == code
        for file, code in ((text, "invalid_image_format"), (small, "image_rejected")):
            with pytest.raises(ImageError) as caught:
                await port.detect(as_image(await port.head(str(file))))
            assert caught.value.code == code
        with pytest.raises(BucketNotFoundError):
            await port.head("s3://no-such-bucket/x.jpg")


@pytest.mark.parametrize("client", list(ClientKind))
async def test_throttles_reach_the_engine(client: ClientKind, tmp_path: Path) -> None:
    """A refused attempt with bytes has the same error as for any image."""
    file = tmp_path / "x.jpg"
    file.write_bytes(picture("red"))
    async with serve(tps=0.01) as _, references(client, str(file)) as port:
        listed = await port.head(str(file))
        await port.detect(as_image(listed))
        with pytest.raises(ThrottledError):
            await port.detect(as_image(listed))


async def test_files_alone_need_a_region(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a region for the files the error names the setting."""
    async with serve():
        for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
        with pytest.raises(UsageError, match="no region is set"):
            async with references(ClientKind.FAST, str(tmp_path / "x.jpg")):
                pass


async def test_labels_are_paid_for_once_and_kept(tmp_path: Path) -> None:
    """A second request is free, also under another name; a changed picture is not; the labels have their own file."""
    file, store = tmp_path / "x.jpg", tmp_path / "kept" / "references.db"
    file.write_bytes(picture("red"))
    async with serve() as sandbox:
        sandbox.put("good", "robin/1.jpg", picture("green"))
        sandbox.put("good", "robin/2.jpg", picture("green"))
        first = await label_references(["s3://good/robin/1.jpg", str(file), str(file)], store=store)
        assert (first.calls, first.spent_micros, list(first.labels)) == (2, 2000, ["s3://good/robin/1.jpg", str(file)])
        again = await label_references([str(file), "s3://good/robin/2.jpg"], store=store)
        assert (again.calls, again.spent_micros) == (0, 0)
        assert again.labels[str(file)] == first.labels[str(file)]
        file.write_bytes(picture("orange"))
        assert (await label_references([str(file)], store=store)).calls == 1
        assert sandbox.stats().operations["DetectLabels"].billed == 3
