"""The images of a folder, and links that lead out of it."""

from __future__ import annotations

import os
from pathlib import Path

import anyio
import pytest

from asyncfilter.errors import AccessError, BucketNotFoundError, ImageError, PermissionDeniedError
from asyncfilter.folders import FolderContents, FolderSource, check_folder
from asyncfilter.folders.files import etag_of
from asyncfilter.model import ListedObject, ObjectRef, Skip
from asyncfilter.policy.globs import KeyFilter
from asyncfilter.policy.object_filter import skip_reason


def listed(root: Path) -> dict[str, ListedObject]:
    """All listed objects of a folder, by key."""
    page = anyio.run(FolderSource(root).page, None)
    assert page.is_last
    return {item.key: item for item in page.objects}


def reference(root: Path, key: str) -> ObjectRef:
    """The listed object as the engine's image."""
    item = listed(root)[key]
    return ObjectRef(bucket=f"file://{root}", key=key, size_bytes=item.size_bytes, etag=item.etag, seq=1)


def read(image: ObjectRef, first_bytes: int | None = None) -> bytes:
    """The bytes of an image."""

    async def act() -> bytes:
        return await FolderContents().read(image, first_bytes=first_bytes)

    return anyio.run(act)


def refused(image: ObjectRef) -> str:
    """The error code of reading an image."""
    with pytest.raises(ImageError) as caught:
        read(image)
    assert image.key in caught.value.message
    return caught.value.code


def test_files_are_read_whole_or_from_their_start(tmp_path: Path) -> None:
    """The bytes are those of the file that was listed."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a b.jpg").write_bytes(b"0123456789")
    image = reference(tmp_path, "sub/a b.jpg")
    assert (read(image), read(image, 4)) == (b"0123456789", b"0123")
    assert image.uri == f"file://{tmp_path}/sub/a b.jpg"


def test_a_file_that_changed_is_not_read(tmp_path: Path) -> None:
    """Other bytes, another file of the same size and time, and a missing file differ from the listed one."""
    path = tmp_path / "a.jpg"
    path.write_bytes(b"one")
    image = reference(tmp_path, "a.jpg")
    path.write_bytes(b"four")
    assert refused(image) == "changed"
    image = reference(tmp_path, "a.jpg")
    times = path.stat()
    (tmp_path / "b").write_bytes(b"FOUR")
    os.utime(tmp_path / "b", ns=(times.st_atime_ns, times.st_mtime_ns))
    (tmp_path / "b").replace(path)
    assert refused(image) == "changed"
    path.unlink()
    assert refused(image) == "vanished"
    path.mkdir()
    assert refused(image) == "vanished"
    path.rmdir()
    os.mkfifo(path)
    assert refused(image) == "vanished"


def test_links_to_files_are_files_and_links_to_folders_are_not_followed(tmp_path: Path) -> None:
    """A symbolic link inside the source is read as its file; a folder is never entered through one."""
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "sub" / "a.jpg").write_bytes(b"abc")
    (root / "link.jpg").symlink_to("sub/a.jpg")
    (root / "loop").symlink_to(root)
    (root / "gone.jpg").symlink_to("nowhere")
    os.mkfifo(root / "pipe.jpg")
    keys = KeyFilter(["*.jpg"])
    found = {key: skip_reason(item, keys, 15 * 1024 * 1024) for key, item in listed(root).items()}
    assert found == {"sub/a.jpg": None, "link.jpg": None, "loop/": Skip.FOLDER, "gone.jpg": Skip.EMPTY}
    assert read(reference(root, "link.jpg")) == b"abc"


def test_nothing_outside_the_source_is_read(tmp_path: Path) -> None:
    """A link that leads out of the source is recorded as failed, with its destination."""
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    root = tmp_path / "root"
    root.mkdir()
    (root / "a.jpg").symlink_to(tmp_path / "secret.jpg")
    assert refused(reference(root, "a.jpg")) == "outside_source"


def test_names_that_are_no_text_fail_with_a_message(tmp_path: Path) -> None:
    """Bytes that are not UTF-8 are escaped in the key, also in folders' names, and the file is not examined."""
    folder = os.fsencode(tmp_path) + b"/d\xe9j\xe0"
    Path(os.fsdecode(folder)).mkdir()
    Path(os.fsdecode(folder + b"/vu.jpg")).write_bytes(b"x")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.jpg")).write_bytes(b"x")
    keys = ["\\xff.jpg", "d\\xe9j\\xe0/vu.jpg"]
    assert sorted(listed(tmp_path)) == keys
    assert refused(reference(tmp_path, keys[0])) == "invalid_name"
    assert refused(reference(tmp_path, keys[1])) in {"invalid_name", "vanished"}


def test_what_cannot_be_listed_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A source that is missing, is a file, or cannot be read is an error of the job, with its path."""
    with pytest.raises(BucketNotFoundError, match="nowhere"):
        check_folder(tmp_path / "nowhere")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(AccessError, match="no such folder"):
        check_folder(tmp_path / "file")
    (tmp_path / "closed").mkdir()
    real = os.scandir

    def scandir(path: bytes) -> object:
        if path.endswith(b"closed"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(PermissionDeniedError, match="closed: may not be listed"):
        listed(tmp_path / "closed")


def test_a_folder_that_goes_while_it_is_listed_is_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files deleted during the listing are left out; the listing continues."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b.jpg").write_bytes(b"x")
    real = os.scandir

    def scandir(path: bytes) -> object:
        if path.endswith(b"/a"):
            raise FileNotFoundError(2, "No such file")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert list(listed(tmp_path)) == ["b.jpg"]


@pytest.mark.parametrize("key", ["../secret.jpg", "sub/../../secret.jpg", "link/secret.jpg", "./../secret.jpg"])
def test_a_key_that_leads_out_of_the_folder_is_not_read(tmp_path: Path, key: str) -> None:
    """No listing has such a key; a checkpoint from somebody else may."""
    root = tmp_path / "photos"
    (root / "sub").mkdir(parents=True)
    (root / "link").symlink_to(tmp_path)
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(b"secret")
    image = ObjectRef(bucket=f"file://{root}", key=key, size_bytes=6, etag=etag_of(secret.stat()), seq=1)
    assert refused(image) == "outside_source"
