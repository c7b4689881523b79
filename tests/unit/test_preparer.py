"""What goes to the service by reference, what by its bytes, what is converted, and what is refused at no cost."""

from __future__ import annotations

import io
from collections.abc import Mapping

import anyio
import pytest
from PIL import Image

from asyncfilter.datasets.preparing import Preparer
from asyncfilter.errors import ImageError
from asyncfilter.job.spec import DetectorKind
from asyncfilter.model import Detection, Label, ObjectRef
from asyncfilter.policy.detectors import PROFILES
from asyncfilter.policy.footnote import Footnote, annotate, footnote_of
from asyncfilter.policy.header import MAX_HEADER_BYTES


def encoded(kind: str, width: int = 200, height: int = 100) -> bytes:
    """A picture of noise."""
    out = io.BytesIO()
    Image.effect_noise((width, height), 99).convert("RGB").save(out, kind)
    return out.getvalue()


class Shelf:
    """``Contents`` of a mapping; ``reads`` has the bytes asked for, None for all."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = files
        self.reads: list[int | None] = []

    async def read(self, image: ObjectRef, *, first_bytes: int | None = None) -> bytes:
        """See ``Contents``."""
        self.reads.append(first_bytes)
        return self.files[image.key][:first_bytes]


class Service:
    """Counts what it was given."""

    def __init__(self) -> None:
        self.referred: list[str] = []
        self.sent: list[bytes] = []

    async def detect(self, image: ObjectRef) -> Detection:
        """By reference."""
        self.referred.append(image.key)
        return Detection((Label("Cat", 90.0),), "3.0", b'{"ImageProperties":{"Quality":1}}')

    async def send(self, image: ObjectRef, content: bytes) -> Detection:
        """By bytes."""
        self.sent.append(content)
        return Detection((Label("Cat", 90.0),), "3.0")


class World:
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
        self.contents, self.service = Shelf(files), Service()
        self._preparer = Preparer(
            contents=self.contents,
            detector=self.service,
            send=self.service.send,
            limits=PROFILES[kind].image_limits,
            by_reference=by_reference,
            converts=converts,
            compares=compares,
        )

    def examine(self, key: str, size_bytes: int | None = None) -> Footnote:
        """Prepare an image and examine it."""
        size = len(self.contents.files[key]) if size_bytes is None else size_bytes
        image = ObjectRef(bucket="raw", key=key, size_bytes=size, etag="e", seq=1)

        async def act() -> Detection:
            prepared = await self._preparer.prepare(image)
            return await (self.service if prepared is None else prepared.detector).detect(image)

        return footnote_of(anyio.run(act))

    def refused(self, key: str) -> str:
        """The code with which an image is refused."""
        with pytest.raises(ImageError) as caught:
            self.examine(key)
        assert f"s3://raw/{key}" in caught.value.message
        assert not self.service.sent
        assert not self.service.referred
        return caught.value.code


def test_good_pictures_go_by_reference_after_one_look() -> None:
    """A JPEG that the service takes costs one read of its beginning, and is not sent."""
    world = World({"a.jpg": encoded("JPEG")})
    assert world.examine("a.jpg") == Footnote()
    assert (world.service.referred, world.service.sent) == (["a.jpg"], [])
    assert len(world.contents.reads) == 1


def test_a_frame_far_behind_is_found_and_what_is_too_far_is_left_to_the_service() -> None:
    """Headers are read on as far as it takes, up to a bound; beyond it the service decides."""
    body = encoded("JPEG", 60, 60)
    segment = b"\xff\xe2\xff\xff" + bytes(0xFFFD)
    world = World({"far.jpg": body[:2] + 5 * segment + body[2:]})
    assert world.refused("far.jpg") == "image_rejected"
    assert len(world.contents.reads) == 3
    world = World({"beyond.jpg": body[:2] + 40 * segment + body[2:]})
    world.examine("beyond.jpg")
    assert world.service.referred == ["beyond.jpg"]
    assert max(size or 0 for size in world.contents.reads) == MAX_HEADER_BYTES


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (encoded("GIF"), "invalid_image_format"),
        (encoded("WEBP"), "invalid_image_format"),
        (b"<Error>", "invalid_image_format"),
        (encoded("PNG", 79, 100), "image_rejected"),
        (encoded("PNG", 10_001, 80), "image_too_large"),
        (encoded("JPEG")[:20], "invalid_image_format"),
    ],
)
def test_what_the_service_would_refuse_fails_before_it_is_asked(body: bytes, code: str) -> None:
    """The codes are the service's own, and nothing is sent or referred to."""
    assert World({"a.jpg": body}).refused("a.jpg") == code


def test_custom_labels_has_its_own_limits() -> None:
    """64 px are enough, sides of over 1:20 and over 4,096 px are not."""
    kind = DetectorKind.CUSTOM_LABELS
    World({"a.png": encoded("PNG", 64, 64)}, kind=kind).examine("a.png")
    assert World({"a.png": encoded("PNG", 64, 1281)}, kind=kind).refused("a.png") == "image_rejected"
    assert World({"a.png": encoded("PNG", 4097, 300)}, kind=kind).refused("a.png") == "image_too_large"


@pytest.mark.parametrize("kind", ["WEBP", "GIF", "TIFF", "BMP", "AVIF"])
def test_what_can_be_converted_is_sent_as_jpeg(kind: str) -> None:
    """Converting fetches only what the service cannot read itself, sends a JPEG, and notes what was sent."""
    world = World({"a": encoded(kind), "b": encoded("PNG")}, converts=True)
    note = world.examine("a")
    (sent,) = world.service.sent
    assert sent.startswith(b"\xff\xd8\xff")
    assert note.sent is not None
    assert (note.sent.bytes, note.sent.width, note.sent.height) == (len(sent), 200, 100)
    assert note.sent.converted_from == kind.lower()
    assert world.examine("b") == Footnote()
    assert world.service.referred == ["b"]


def test_too_large_an_object_is_converted() -> None:
    """Over 15 MB by the listing: fetched, and sent within the limit."""
    padded = encoded("PNG") + bytes(15 * 1024 * 1024)
    world = World({"a.png": padded}, converts=True)
    note = world.examine("a.png")
    assert note.sent is not None
    assert note.sent.converted_from == "png"
    assert World({"a.png": padded}).refused("a.png") == "image_too_large"


def test_without_a_reference_good_pictures_are_sent_as_they_are() -> None:
    """Files, and objects of another region: what fits goes byte for byte; what does not is refused or converted."""
    small, large = encoded("JPEG"), encoded("PNG") + bytes(6 * 1024 * 1024)
    world = World({"a.jpg": small, "b.png": large}, by_reference=False)
    note = world.examine("a.jpg")
    assert world.service.sent == [small]
    assert note.sent is not None
    assert note.sent.converted_from is None
    assert note.blake2b is not None
    world.service.sent.clear()
    assert world.refused("b.png") == "image_too_large"
    converting = World({"b.png": large}, by_reference=False, converts=True)
    converting.examine("b.png")
    assert len(converting.service.sent[0]) <= 5 * 1024 * 1024


def test_likeness_is_noted_without_changing_the_way() -> None:
    """Comparing reads every image; one that goes by reference still does, and keeps what else the service said."""
    world = World({"a.jpg": encoded("JPEG")}, compares=True)
    note = world.examine("a.jpg")
    assert world.service.referred == ["a.jpg"]
    assert note.sent is None
    assert note.likeness is not None
    assert len(note.likeness) == 16


def test_footnotes_stand_beside_what_the_service_said() -> None:
    """Nothing of an answer is lost, and what is no footnote is none."""
    detection = annotate(Detection((), "3.0", b'{"ImageProperties":{"Quality":1}}'), Footnote(likeness="00"))
    assert b'"ImageProperties":{"Quality":1}' in detection.extra
    assert footnote_of(detection).likeness == "00"
    assert footnote_of(annotate(detection, Footnote(blake2b="11"))) == Footnote(blake2b="11")
    for extra in (b"", b'{"asyncfilter":7}', b"[]"):
        assert footnote_of(Detection((), "", extra)) == Footnote()
    assert footnote_of(None) == Footnote()
