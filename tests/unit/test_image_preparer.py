"""Which images are sent by reference or as bytes, which are converted, and which are refused at no cost."""

from __future__ import annotations

import resource
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import BinaryIO

import anyio
import pytest

from asyncfilter.errors import AccessError, ImageError
from asyncfilter.job.spec import DetectorKind
from asyncfilter.model import Detection, Label, ObjectRef
from asyncfilter.pictures import picture_files
from asyncfilter.pictures.decoder_pool import DecoderPool
from asyncfilter.pictures.prepare import ImagePreparer
from asyncfilter.policy.detectors import PROFILES
from asyncfilter.policy.header import MAX_HEADER_BYTES
from asyncfilter.policy.provenance import Provenance, add_provenance, provenance_of
from tests.kit.pictures import noise


class MemoryLimit:
    """``Contents`` of a mapping; ``reads`` has the requested numbers of bytes, None for all."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = files
        self.reads: list[int | None] = []

    async def read(self, image: ObjectRef, *, first_bytes: int | None = None) -> bytes:
        """See ``Contents``."""
        self.reads.append(first_bytes)
        return self.files[image.key][:first_bytes]


class Service:
    """A detector that records its arguments."""

    def __init__(self) -> None:
        self.referred: list[str] = []
        self.sent: list[bytes] = []

    async def detect(self, image: ObjectRef) -> Detection:
        """Record an image sent by reference."""
        self.referred.append(image.key)
        return Detection((Label("Cat", 90.0),), "3.0", b'{"ImageProperties":{"Quality":1}}')

    async def send(self, image: ObjectRef, content: bytes) -> Detection:
        """Record an image sent as bytes."""
        self.sent.append(content)
        return Detection((Label("Cat", 90.0),), "3.0")


class Overrides:
    """A preparer over some files."""

    def __init__(
        self,
        files: Mapping[str, bytes],
        *,
        by_reference: bool = True,
        converts: bool = False,
        compares: bool = False,
        kind: DetectorKind = DetectorKind.REKOGNITION,
    ) -> None:
        self.contents, self.service = MemoryLimit(files), Service()
        self._preparer = partial(
            ImagePreparer,
            contents=self.contents,
            detector=self.service,
            send=self.service.send,
            limits=PROFILES[kind].image_limits,
            by_reference=by_reference,
            converts=converts,
            compares=compares,
        )

    def examine(self, key: str, size_bytes: int | None = None) -> Provenance:
        """Prepare an image and examine it."""
        size = len(self.contents.files[key]) if size_bytes is None else size_bytes
        image = ObjectRef(bucket="raw", key=key, size_bytes=size, etag="e", seq=1)

        async def act() -> Detection:
            with DecoderPool(processes=1) as decoders:
                prepared = await self._preparer(decoders=decoders).prepare(image)
            return await (self.service if prepared is None else prepared.detector).detect(image)

        return provenance_of(anyio.run(act))

    def refused(self, key: str) -> str:
        """The error code of preparing an image."""
        with pytest.raises(ImageError) as caught:
            self.examine(key)
        assert f"s3://raw/{key}" in caught.value.message
        assert not self.service.sent
        assert not self.service.referred
        return caught.value.code


def test_good_pictures_go_by_reference_after_one_read() -> None:
    """A JPEG that the service accepts costs one read of its first bytes, and is sent by reference."""
    overrides = Overrides({"a.jpg": noise("JPEG")})
    assert overrides.examine("a.jpg") == Provenance()
    assert (overrides.service.referred, overrides.service.sent) == (["a.jpg"], [])
    assert len(overrides.contents.reads) == 1


def test_a_frame_far_behind_is_found_and_what_is_too_far_is_left_to_the_service() -> None:
    """Headers are read as far as necessary, up to a bound; beyond it the service decides."""
    body = noise("JPEG", 60, 60)
    segment = b"\xff\xe2\xff\xff" + bytes(0xFFFD)
    overrides = Overrides({"far.jpg": body[:2] + 5 * segment + body[2:]})
    assert overrides.refused("far.jpg") == "image_rejected"
    assert len(overrides.contents.reads) == 3
    overrides = Overrides({"beyond.jpg": body[:2] + 40 * segment + body[2:]})
    overrides.examine("beyond.jpg")
    assert overrides.service.referred == ["beyond.jpg"]
    assert max(size or 0 for size in overrides.contents.reads) == MAX_HEADER_BYTES


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (noise("GIF"), "invalid_image_format"),
        (noise("WEBP"), "invalid_image_format"),
        (b"<Error>", "invalid_image_format"),
        (noise("PNG", 79, 100), "image_rejected"),
        (noise("PNG", 10_001, 80), "image_too_large"),
        (noise("JPEG")[:20], "invalid_image_format"),
    ],
)
def test_images_the_service_would_refuse_fail_before_a_call(body: bytes, code: str) -> None:
    """The codes are the service's own, and nothing is sent or referred to."""
    assert Overrides({"a.jpg": body}).refused("a.jpg") == code


def test_custom_labels_has_its_own_limits() -> None:
    """64 px are enough, sides of over 1:20 and over 4,096 px are not."""
    kind = DetectorKind.CUSTOM_LABELS
    Overrides({"a.png": noise("PNG", 64, 64)}, kind=kind).examine("a.png")
    assert Overrides({"a.png": noise("PNG", 64, 1281)}, kind=kind).refused("a.png") == "image_rejected"
    assert Overrides({"a.png": noise("PNG", 4097, 300)}, kind=kind).refused("a.png") == "image_too_large"


@pytest.mark.parametrize("kind", ["WEBP", "GIF", "TIFF", "BMP", "AVIF"])
def test_what_can_be_converted_is_sent_as_jpeg(kind: str) -> None:
    """Conversion fetches only images that the service cannot read, sends a JPEG, and records what was sent."""
    overrides = Overrides({"a": noise(kind), "b": noise("PNG")}, converts=True)
    note = overrides.examine("a")
    (sent,) = overrides.service.sent
    assert sent.startswith(b"\xff\xd8\xff")
    assert note.sent is not None
    assert (note.sent.bytes, note.sent.width, note.sent.height) == (len(sent), 200, 100)
    assert note.sent.converted_from == kind.lower()
    assert overrides.examine("b") == Provenance()
    assert overrides.service.referred == ["b"]


def test_too_large_an_object_is_converted() -> None:
    """An image of over 15 MB in the listing is fetched and sent within the limit."""
    padded = noise("PNG") + bytes(15 * 1024 * 1024)
    overrides = Overrides({"a.png": padded}, converts=True)
    note = overrides.examine("a.png")
    assert note.sent is not None
    assert note.sent.converted_from == "png"
    assert Overrides({"a.png": padded}).refused("a.png") == "image_too_large"


@pytest.mark.parametrize("fault", ["no folder", "a file as folder", "full", "no files left"])
def test_a_picture_that_cannot_be_stored_is_no_fault_of_the_picture(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run ends with the folder of temporary files as the remedy; the image is neither failed nor paid for."""
    (tmp_path / "file").touch()
    folder = {"no folder": tmp_path / "none", "a file as folder": tmp_path / "file"}.get(fault, tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setattr(picture_files, "SPOOLED_BYTES", 0)
    overrides = Overrides({"a": noise("TIFF", 300, 300)}, converts=True)
    monkeypatch.setattr(picture_files, "_written", _limited(fault, picture_files._written))
    with pytest.raises(AccessError) as caught:
        overrides.examine("a")
    assert "TMPDIR" in (caught.value.hint or "")
    assert not overrides.service.sent


def _limited(fault: str, write: Callable[[bytes], BinaryIO]) -> Callable[[bytes], BinaryIO]:
    """``write`` under a limit of this process, as a full disk shows itself."""
    limits = {"full": (resource.RLIMIT_FSIZE, 1_000), "no files left": (resource.RLIMIT_NOFILE, 0)}
    if fault not in limits:
        return write
    kind, least = limits[fault]

    def act(body: bytes) -> BinaryIO:
        before = resource.getrlimit(kind)
        resource.setrlimit(kind, (least, before[1]))
        try:
            return write(body)
        finally:
            resource.setrlimit(kind, before)

    return act


@pytest.mark.parametrize("by_reference", [True, False])
@pytest.mark.parametrize("compares", [True, False])
@pytest.mark.parametrize("body", [b"<Error>", b"BM\1\0\0\0\0\0\0\0", noise("PNG", 79, 100)])
def test_a_large_file_is_not_read_before_its_header_was(body: bytes, *, compares: bool, by_reference: bool) -> None:
    """A file that is too large to be sent and cannot be converted costs one read of its first bytes."""
    overrides = Overrides(
        {"a.jpg": body + bytes(7 * 1024 * 1024)}, by_reference=by_reference, converts=False, compares=compares
    )
    overrides.refused("a.jpg")
    assert overrides.contents.reads == [64 * 1024]


def test_without_a_reference_good_pictures_are_sent_as_they_are() -> None:
    """Files and objects of another region are sent unchanged if they fit; else they are refused or converted."""
    small, large = noise("JPEG"), noise("PNG") + bytes(6 * 1024 * 1024)
    overrides = Overrides({"a.jpg": small, "b.png": large}, by_reference=False)
    note = overrides.examine("a.jpg")
    assert overrides.service.sent == [small]
    assert note.sent is not None
    assert note.sent.converted_from is None
    assert note.blake2b is not None
    overrides.service.sent.clear()
    assert overrides.refused("b.png") == "image_too_large"
    converting = Overrides({"b.png": large}, by_reference=False, converts=True)
    converting.examine("b.png")
    assert len(converting.service.sent[0]) <= 5 * 1024 * 1024


def test_perceptual_hash_is_noted_without_changing_what_is_sent() -> None:
    """For comparison every image is read; one sent by reference still is, and keeps the rest of the answer."""
    overrides = Overrides({"a.jpg": noise("JPEG")}, compares=True)
    note = overrides.examine("a.jpg")
    assert overrides.service.referred == ["a.jpg"]
    assert note.sent is None
    assert note.perceptual_hash is not None
    assert len(note.perceptual_hash) == 16


def test_provenance_is_stored_with_the_rest_of_the_answer() -> None:
    """The answer is kept completely, and any other extra gives no provenance."""
    detection = add_provenance(
        Detection((), "3.0", b'{"ImageProperties":{"Quality":1}}'), Provenance(perceptual_hash="00")
    )
    assert b'"ImageProperties":{"Quality":1}' in detection.extra
    assert provenance_of(detection).perceptual_hash == "00"
    assert provenance_of(add_provenance(detection, Provenance(blake2b="11"))) == Provenance(blake2b="11")
    for extra in (b"", b'{"asyncfilter":7}', b"[]"):
        assert provenance_of(Detection((), "", extra)) == Provenance()
    assert provenance_of(None) == Provenance()
