"""The bytes of examined images: in order, whatever the speed of each read, and never more than is allowed at once."""

from __future__ import annotations

from pathlib import Path
from random import Random

import anyio
import pytest

from asyncfilter.errors import ImageError
from asyncfilter.folders import FolderContents
from asyncfilter.folders.files import etag_of
from asyncfilter.model import ObjectRef
from asyncfilter.records.images import StoredImage
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
