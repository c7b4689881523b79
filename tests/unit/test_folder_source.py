"""The images of a folder, and links that lead out of it."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
from pathlib import Path
from typing import Any

import anyio
import pytest

from asyncfilter.errors import AccessError, BucketNotFoundError, ImageError, PermissionDeniedError
from asyncfilter.folders import FolderContents, FolderSource, check_folder
from asyncfilter.folders.files import etag_of
from asyncfilter.model import UNREADABLE, ListedObject, ObjectRef, Skip
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
    with pytest.raises(AccessError, match="no such folder: it is a file"):
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


# -- What cannot be looked at fails alone ------------------------------------------------------------------------------


def outcomes(root: Path) -> dict[str, str | None]:
    """For each listed key that passes the filter: the error code of reading it, None where it can be read."""
    keys = KeyFilter(["*.jpg"])
    found: dict[str, str | None] = {}
    for key, item in listed(root).items():
        if skip_reason(item, keys, 15 * 1024 * 1024) is None:
            image = ObjectRef(bucket=f"file://{root}", key=key, size_bytes=item.size_bytes, etag=item.etag, seq=1)
            try:
                read(image)
            except ImageError as error:
                found[key] = error.code
            else:
                found[key] = None
    return found


def test_links_in_a_circle_fail_alone(tmp_path: Path) -> None:
    """A link to itself, two that lead to each other, and one through a folder of the same kind."""
    (tmp_path / "a.jpg").write_bytes(b"x")
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    (tmp_path / "one.jpg").symlink_to("two.jpg")
    (tmp_path / "two.jpg").symlink_to("one.jpg")
    (tmp_path / "folder").symlink_to("folder")
    (tmp_path / "through.jpg").symlink_to("folder/a.jpg")
    circles = dict.fromkeys(["loop.jpg", "one.jpg", "two.jpg", "through.jpg"], "invalid_link")
    assert outcomes(tmp_path) == {"a.jpg": None, **circles}


@pytest.mark.parametrize(
    ("number", "code"),
    [(errno.EACCES, "access_denied"), (errno.EPERM, "access_denied"), (errno.ENAMETOOLONG, "invalid_name")],
)
def test_a_closed_folder_fails_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: str) -> None:
    """It is one failed image whose message names the folder; what comes before and after is examined."""
    for name in ("a/1.jpg", "closed/2.jpg", "closed/deep/3.jpg", "z.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    real = os.scandir

    def scandir(path: str | bytes | Path) -> object:
        if b"/closed" in os.fsencode(path):
            raise OSError(number, os.strerror(number))
        return real(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", scandir)
        assert outcomes(tmp_path) == {"a/1.jpg": None, "closed/": code, "z.jpg": None}
        image = reference(tmp_path, "closed/")
    assert refused(image) == "changed"  # it can be listed by now
    assert list(outcomes(tmp_path)) == ["a/1.jpg", "closed/2.jpg", "closed/deep/3.jpg", "z.jpg"]
    excluding = KeyFilter(["*.jpg"], ["closed/*"])
    assert skip_reason(ListedObject("closed/", 1, image.etag), excluding, 10) is Skip.EXCLUDED


def test_a_closed_folder_is_passed_once_by_a_listing_that_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when the page before ended with it, or it was opened meanwhile."""
    for name in ("a.jpg", "closed/b.jpg", "z.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    real = os.scandir

    def scandir(path: bytes) -> object:
        if path.endswith(b"closed"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(path)

    def after(key: str) -> list[str]:
        return [item.key for item in anyio.run(FolderSource(tmp_path).page, key).objects]

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", scandir)
        assert after("a.jpg") == ["closed/", "z.jpg"]
        assert after("closed/") == ["z.jpg"]
        assert after("closed/a") == ["z.jpg"]
    assert after("closed/") == ["closed/b.jpg", "z.jpg"]


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ESTALE, errno.ELOOP])
def test_a_file_that_cannot_be_looked_at_fails_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """It is listed as not empty, and its error is that of its own read."""
    for name in ("a.jpg", "odd.jpg", "z.jpg"):
        (tmp_path / name).write_bytes(b"x")
    real = os.stat

    def stat(path: object, **more: Any) -> object:
        if os.fsencode(str(path) if isinstance(path, Path) else path).endswith(b"odd.jpg"):  # type: ignore[arg-type]
            raise OSError(number, os.strerror(number))
        return real(path, **more)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", stat)
        found = listed(tmp_path)
    assert list(found) == ["a.jpg", "odd.jpg", "z.jpg"]
    assert found["odd.jpg"].size_bytes > 0
    image = ObjectRef(bucket=f"file://{tmp_path}", key="odd.jpg", size_bytes=1, etag=found["odd.jpg"].etag, seq=1)
    assert refused(image) == "changed"


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_a_process_without_means_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Too many open files are no fault of one folder: nothing may be left out."""
    (tmp_path / "sub").mkdir()
    real = os.scandir

    def scandir(path: bytes) -> object:
        if path.endswith(b"sub"):
            raise OSError(number, os.strerror(number))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(AccessError, match="cannot be listed"):
        listed(tmp_path)


def test_special_files_are_neither_listed_nor_waited_for(tmp_path: Path) -> None:
    """Pipes, sockets, devices, and links to them."""
    os.mkfifo(tmp_path / "pipe.jpg")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket.jpg"))
    (tmp_path / "device.jpg").symlink_to("/dev/zero")
    (tmp_path / "link.jpg").symlink_to("pipe.jpg")
    (tmp_path / "a.jpg").write_bytes(b"x")
    assert outcomes(tmp_path) == {"a.jpg": None}


@pytest.mark.parametrize(("name", "levels"), [("d", 1500), ("d" * 200, 40)])
def test_folders_in_folders_of_any_depth(tmp_path: Path, name: str, levels: int) -> None:
    """More levels than Python has stack frames are listed; a path that the system does not accept fails alone."""
    root = tmp_path / "root"
    root.mkdir()
    folder = os.open(root, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir(name, dir_fd=folder)
        inner = os.open(name, os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = inner
    os.close(os.open("deep.jpg", os.O_WRONLY | os.O_CREAT, dir_fd=folder))
    os.close(folder)
    (root / "z.jpg").write_bytes(b"x")
    try:
        found = listed(root)
        assert list(found)[-1] == "z.jpg"
        deepest = next(iter(found.values()))
        if len(name) * levels < 4000:
            assert deepest.key == f"{name}/" * levels + "deep.jpg"
        else:
            assert deepest.etag == UNREADABLE
            assert refused(reference(root, deepest.key)) == "invalid_name"
    finally:
        subprocess.run(["rm", "-rf", root], check=True)  # shutil.rmtree is recursive


def test_a_head_is_the_listed_file(tmp_path: Path) -> None:
    """Every listed file has its head; a key that the listing cannot have is of no file."""
    root = tmp_path / "photos"
    (root / "sub").mkdir(parents=True)
    (tmp_path / "out.jpg").write_bytes(b"outside")
    (root / "sub" / "a b.jpg").write_bytes(b"0123")
    (root / "plain.jpg").write_bytes(b"01")
    (root / "link.jpg").symlink_to(root / "plain.jpg")
    (root / "linked").symlink_to(root / "sub")
    found = listed(root)

    async def head(key: str) -> ListedObject | None:
        return await FolderSource(root).head(key)

    for key in ("sub/a b.jpg", "plain.jpg", "link.jpg"):
        assert anyio.run(head, key) == found[key]
    strange = ("none.jpg", "sub", "linked/a b.jpg", "../out.jpg", "sub/../plain.jpg", "/plain.jpg", "", ".", "a\0b")
    assert [key for key in strange if anyio.run(head, key) is not None] == []
