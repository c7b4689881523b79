"""Whatever the key of an object, its copy is a file below the target's folder, or fails; nothing else is touched."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from asyncfilter.errors import ImageError
from asyncfilter.folders.files import writing
from asyncfilter.folders.plain_paths import open_folder, plain_path
from asyncfilter.model import FOLDER, S3Location, location

PIECES = st.sampled_from(
    [
        "a",
        "b",
        "link",
        "out",
        "file",
        "..",
        ".",
        "",
        "\0",
        "é",
        "e\N{COMBINING ACUTE ACCENT}",
        "x" * 255,
        "x" * 256,
        "\n",
    ]
)
KEYS = st.one_of(st.lists(PIECES, min_size=1, max_size=6).map("/".join), st.text(min_size=1, max_size=20))


@contextmanager
def tree() -> Iterator[tuple[Path, Path]]:
    """A target's folder with links in and out of it, and a folder beside it."""
    with tempfile.TemporaryDirectory() as name:
        root, outside = Path(name) / "root", Path(name) / "outside"
        (root / "a").mkdir(parents=True)
        outside.mkdir()
        (outside / "victim").write_bytes(b"victim")
        (root / "link").symlink_to("a")
        (root / "out").symlink_to(outside)
        (root / "a" / "out").symlink_to(outside / "victim")
        (root / "file").write_bytes(b"file")
        yield root, outside


@settings(max_examples=300, deadline=None)
@given(key=KEYS)
def test_no_key_leaves_its_folder(key: str) -> None:
    """By any way; what is outside stays as it is, and no link is followed."""
    with tree() as (root, outside):
        target = S3Location(f"{FOLDER}{root}", key)
        written, code = write(target, root)
        assert (written is None) is (code in {"target_unsafe", "target_blocked", "target_too_long"})
        assert [path.name for path in outside.iterdir()] == ["victim"]
        assert (outside / "victim").read_bytes() == b"victim"
        assert [path.name for path in Path(root.parent).iterdir() if path not in {root, outside}] == []
        assert (root / "file").read_bytes() == b"file"
        if written is not None:
            assert written == root / key
            assert Path(os.path.realpath(written)) == Path(os.path.realpath(root)) / key
            assert written.read_bytes() == b"new"


@given(key=st.lists(st.sampled_from(["a", "b", "c d", "é"]), min_size=1, max_size=4).map("/".join))
def test_an_address_of_a_checkpoint_is_the_same_file(key: str) -> None:
    """Its folder is that of the job, and no other part of the path."""
    root = Path("/data/clean")
    wanted = plain_path(S3Location(f"{FOLDER}{root}", key), [])
    found = plain_path(location(wanted.target.uri), [Path("/data"), root, Path("/data/cle")])
    assert (found.root, found.folders, found.name) == (wanted.root, wanted.folders, wanted.name)


def write(target: S3Location, root: Path) -> tuple[Path | None, str]:
    """Write a new file at a target, as a download does; its path, or the code of the failure."""
    try:
        return written_file(target, root), ""
    except ImageError as error:
        return None, error.code


def written_file(target: S3Location, root: Path) -> Path:
    """The path of a new file at a target."""
    path = plain_path(target, [root])
    with writing(target):
        folder = open_folder(path, makes=True)
        try:
            fd = os.open(path.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, dir_fd=folder)
            os.write(fd, b"new")
            os.close(fd)
        finally:
            os.close(folder)
    return path.root.joinpath(*path.folders, path.name)
