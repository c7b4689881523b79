"""The bytes of examined images: in order, whatever the speed of each read, and never more than is allowed at once."""

from __future__ import annotations

from pathlib import Path
from random import Random

import anyio
import anyio.lowlevel
import pytest

from asyncfilter.errors import ImageError, TransientError
from asyncfilter.folders import FolderContents
from asyncfilter.folders.files import etag_of
from asyncfilter.model import ObjectRef
from asyncfilter.records.images import StoredImage
from asyncfilter.wiring import image_contents
from asyncfilter.wiring.image_contents import AT_ONCE, read_contents
from tests.kit.checkpoints import stored_image
from tests.kit.jobs import make_bare_job

MOST_BYTES = 30_000


class Received:
    """What came, in order."""

    def __init__(self) -> None:
        self.found: list[tuple[str, bytes | str]] = []

    def add(self, image: StoredImage, content: bytes) -> None:
        """Note an image."""
        self.found.append((image.key, content))

    def fail(self, image: StoredImage, error: ImageError) -> None:
        """Note a failure."""
        self.found.append((image.key, error.code))


def stored(root: Path, number: int, content: bytes) -> StoredImage:
    """A file in the source, and its image."""
    key = f"{number:03}.jpg"
    (root / key).write_bytes(content)
    status = (root / key).stat()
    return stored_image(number, key=key, etag=etag_of(status), size_bytes=status.st_size)


@pytest.mark.parametrize("seed", range(3))
async def test_order_and_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Images arrive as they are listed; those in memory never exceed the bound, nor their number."""
    rng = Random(seed)
    contents = [rng.randbytes(rng.choice([1, 100, 9_000])) for _ in range(150)]
    contents[70] = rng.randbytes(2 * MOST_BYTES)  # one that is larger than the bound is read alone
    images = [stored(tmp_path, number, content) for number, content in enumerate(contents, start=1)]
    images[20] = stored_image(21, key="021.jpg", etag="another", size_bytes=images[20].size_bytes)
    begun: dict[str, int] = {}
    received = Received()
    peaks: list[tuple[int, int]] = []
    read = FolderContents.read

    async def slow(self: FolderContents, image: ObjectRef, *, first_bytes: int | None = None) -> bytes:
        begun[image.key] = image.size_bytes
        arrived = {key for key, _ in received.found}
        held = [size_bytes for key, size_bytes in begun.items() if key not in arrived]
        peaks.append((sum(held), len(held)))
        await anyio.sleep(rng.choice([0, 0, 0.003]))
        return await read(self, image, first_bytes=first_bytes)

    monkeypatch.setattr(FolderContents, "read", slow)
    job = make_bare_job(source=str(tmp_path), base_dir=tmp_path)
    await read_contents(images, received, job, most_bytes=MOST_BYTES)
    expected: list[bytes | str] = [*contents]
    expected[20] = "changed"
    assert received.found == [(image.key, content) for image, content in zip(images, expected, strict=True)]
    assert all(size_bytes <= MOST_BYTES or number == 1 for size_bytes, number in peaks)
    assert 1 < max(number for _, number in peaks) <= AT_ONCE


class Network:
    """Decides which reads fail, as they do without a network.

    Attributes:
        broken: Files of which every read fails.
        good: How many reads of others succeed before ``outage`` of them in a row fail.
    """

    def __init__(self) -> None:
        self.broken: dict[str, int] = {}
        self.good = self.outage = 10_000

    def fails(self, key: str) -> bool:
        """Whether this read fails."""
        if key in self.broken:
            self.broken[key] += 1
            return True
        if self.good:
            self.good -= 1
            return False
        self.outage -= self.outage > 0
        return self.outage > 0


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    """A network between the program and its files; outages are short."""
    found, read = Network(), FolderContents.read

    async def flaky(self: FolderContents, image: ObjectRef, *, first_bytes: int | None = None) -> bytes:
        await anyio.lowlevel.checkpoint()
        if found.fails(image.key):
            raise TransientError(f"{image.uri}: no route to host", may_be_billed=False)
        return await read(self, image, first_bytes=first_bytes)

    monkeypatch.setattr(FolderContents, "read", flaky)
    monkeypatch.setattr(image_contents, "OUTAGE_PAUSE_S", 0.002)
    return found


async def received_from(root: Path, files: int) -> list[tuple[str, bytes | str]]:
    """What comes of a folder with some files of one byte, of which one attempt is made at a time."""
    images = [stored(root, number, b"x") for number in range(1, files + 1)]
    received = Received()
    await read_contents(images, received, make_bare_job(source=str(root), base_dir=root, limits={"max_attempts": 1}))
    return received.found


async def test_an_image_that_alone_fails_is_left_out(tmp_path: Path, network: Network) -> None:
    """Another one can be read meanwhile, twice: it is told, and nothing waits for it."""
    network.broken = {"040.jpg": 0, "100.jpg": 0}
    assert await received_from(tmp_path, 100) == [
        (f"{number:03}.jpg", "unavailable" if number in {40, 100} else b"x") for number in range(1, 101)
    ]
    assert network.broken == {"040.jpg": 2, "100.jpg": 2}


async def test_an_outage_is_waited_for(tmp_path: Path, network: Network) -> None:
    """Nothing can be read for a while, after something was: all images come in the end."""
    network.good, network.outage = 50, 500
    assert await received_from(tmp_path, 100) == [(f"{number:03}.jpg", b"x") for number in range(1, 101)]
    assert network.outage == 0


@pytest.mark.parametrize("good", [0, 50])
async def test_an_outage_that_does_not_end(tmp_path: Path, network: Network, good: int) -> None:
    """It is an error of access, at once where nothing was read yet."""
    network.good, network.outage = good, 1_000_000
    with pytest.raises(ExceptionGroup) as raised:
        await received_from(tmp_path, 100)
    assert raised.group_contains(TransientError, match="no route to host")
    assert TransientError.exit_code == 4
    failed = 1_000_000 - network.outage
    assert failed <= AT_ONCE if not good else failed > image_contents.OUTAGE_ROUNDS


async def test_a_slow_line_gets_fewer_reads_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where more than three at a time all time out, every image comes all the same."""
    running, peaks = 0, list[int]()

    async def slow(_self: FolderContents, image: ObjectRef, *, first_bytes: int | None = None) -> bytes:
        nonlocal running
        running += 1
        peaks.append(running)
        try:
            await anyio.sleep(0.001)
            if running > 3:
                raise TransientError(f"{image.uri}: timed out", may_be_billed=False)
            return b"x"  # not from a file: how threads take turns would decide how many run at a time
        finally:
            running -= 1

    async def no_pause(_: float) -> bool:
        await anyio.lowlevel.checkpoint()
        return True

    monkeypatch.setattr(FolderContents, "read", slow)
    monkeypatch.setattr(image_contents, "full_pause", lambda _: no_pause)
    images = [stored(tmp_path, number, b"x") for number in range(1, 101)]
    received = Received()
    await read_contents(images, received, make_bare_job(source=str(tmp_path), base_dir=tmp_path))
    assert received.found == [(image.key, b"x") for image in images]
    assert max(peaks) > 3
    assert max(peaks[-50:]) <= 5
