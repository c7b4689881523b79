"""Files below a folder, by names from outside, such as the keys of a bucket.

Invariants: no symbolic link below the folder is followed, also when one is put there meanwhile: each folder is opened
inside of the one before; a name is a file of exactly that name, also where the file system takes several names for one
(upper and lower case, composed and decomposed letters).
"""

from __future__ import annotations

import errno
import os
import stat
import unicodedata
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from asyncfilter.errors import ImageError
from asyncfilter.folders.files import sync
from asyncfilter.model import FOLDER, S3Location, folder_of
from asyncfilter.policy.targets import is_plain

_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class PlainPath(NamedTuple):
    """A target as a folder that the user chose, and names below it.

    Attributes:
        target: Where it comes from, for messages.
        root: The folder; links that lead to it are followed.
        folders: The names of the folders below it.
        name: The name of the file.
    """

    target: S3Location
    root: Path
    folders: tuple[str, ...]
    name: str


def plain_path(target: S3Location, roots: Sequence[Path]) -> PlainPath:
    """A target, taken apart.

    Args:
        target: Of a copy.
        roots: The folders of the job: an address from a checkpoint does not tell its folder from its key.

    Raises:
        ImageError: ``target_unsafe`` for a target that is not a plain path below its folder.
    """
    if not is_plain(target.key):
        raise ImageError(
            f"{target.uri}: not a plain path below its folder",
            code="target_unsafe",
            remedy="Use {basename} or {stem} under actions, or rename the objects.",
        )
    root, names = folder_of(target.bucket), tuple(target.key.split("/"))
    if target.bucket == FOLDER:
        path = root.joinpath(*names)
        above = [one for one in roots if one in path.parents]
        root = max(above, key=lambda one: len(one.parts), default=root)
        names = path.relative_to(root).parts
    return PlainPath(target, root, names[:-1], names[-1])


def open_folder(path: PlainPath, *, makes: bool) -> int:
    """The descriptor of the folder of a file.

    Args:
        path: Of the file.
        makes: Make the folders that are missing, durably.

    Raises:
        ImageError: ``target_unsafe`` where a symbolic link would have to be followed, ``target_collision`` where a
            folder has another name on this file system.
        OSError: A folder cannot be opened or made; ``FileNotFoundError`` only without ``makes``.
    """
    if makes:
        _make_root(path.root)
    fd = os.open(path.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in path.folders:
            inner = _entered(path.target, fd, name, makes=makes)
            os.close(fd)
            fd = inner
    except BaseException:
        os.close(fd)
        raise
    return fd


def check_name(target: S3Location, folder: int, name: str) -> None:
    """Check that an entry of a folder has exactly this name: the copy of another key would be taken for it.

    Args:
        target: For the message.
        folder: Descriptor of the folder.
        name: An entry that exists.

    Raises:
        ImageError: ``target_collision``.
    """
    status = os.lstat(name, dir_fd=folder)
    variants = {name.swapcase(), *(unicodedata.normalize(form, name) for form in ("NFC", "NFD"))} - {name}
    # Most file systems keep names apart, where no variant leads to the same file: the folder is read on others alone.
    if any(_is_same(status, folder, variant) for variant in variants) and name not in os.listdir(folder):
        raise ImageError(
            f"{target.uri}: the file system has {name!r} under another spelling already, and takes both for one",
            code="target_collision",
            remedy="Use a target on a file system that tells upper from lower case, or rename the objects.",
        )


def _is_same(status: os.stat_result, folder: int, name: str) -> bool:
    try:
        return os.path.samestat(status, os.lstat(name, dir_fd=folder))
    except OSError:
        return False


def _make_root(root: Path) -> None:
    missing = [one for one in (root, *root.parents) if not one.exists()]
    root.mkdir(parents=True, exist_ok=True)
    for made in missing:
        sync(made.parent)


def _entered(target: S3Location, parent: int, name: str, *, makes: bool) -> int:
    """The descriptor of a folder in another one."""
    try:
        fd = _inner(target, parent, name)
    except FileNotFoundError:
        if not makes:
            raise
        with suppress(FileExistsError):
            os.mkdir(name, dir_fd=parent)
        with suppress(OSError):  # not every file system can do it for a folder
            os.fsync(parent)
        fd = _inner(target, parent, name)
    try:
        check_name(target, parent, name)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _inner(target: S3Location, parent: int, name: str) -> int:
    try:
        return os.open(name, _FOLDER_FLAGS, dir_fd=parent)
    except OSError as exc:
        if exc.errno in {errno.ELOOP, errno.ENOTDIR} and _is_link(parent, name):
            raise ImageError(
                f"{target.uri}: {name!r} is a symbolic link, which no copy follows",
                code="target_unsafe",
                remedy="Make the place that it leads to the target.",
            ) from exc
        raise


def _is_link(parent: int, name: str) -> bool:
    with suppress(OSError):
        return stat.S_ISLNK(os.lstat(name, dir_fd=parent).st_mode)
    return False
