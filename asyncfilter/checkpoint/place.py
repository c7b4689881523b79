"""The place of a checkpoint: its path without links, and whether SQLite can keep the file and its log there safely.

SQLite finds the write-ahead log by the name of the file. A second name that its system calls do not follow (a hard
link, a mount of the file alone) would have a log of its own, and two logs damage the file: such a place is refused. Who
can write into the folder can also plant links under the names that SQLite uses beside the file: these are refused too.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from asyncfilter.checkpoint.errors import translated
from asyncfilter.errors import AsyncFilterError, CheckpointError
from asyncfilter.mounts import is_mount_point, read_mounts

SIDES = ("-wal", "-shm", "-journal")
"""Suffixes of the files that SQLite keeps beside a database."""

_KINDS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class FileNaming(NamedTuple):
    """What the file at a place is, for messages about it.

    Attributes:
        noun: With its article.
        key: The key of the job file that names it.
        error: The class of the errors.
    """

    noun: str
    key: str
    error: type[AsyncFilterError]


CHECKPOINT = FileNaming("a checkpoint", "checkpoint", CheckpointError)


def beside(path: Path, suffix: str) -> Path:
    """The file that SQLite keeps beside ``path``: ``-wal``, ``-shm`` or ``-journal``."""
    return path.with_name(path.name + suffix)


def without_links(path: Path) -> Path:
    """The absolute path of a checkpoint without symbolic links; it need not exist.

    Raises:
        CheckpointError: Its links lead in a circle, or a part of it is a file.
    """
    with translated(path):
        return resolved(path)


def resolved(path: Path) -> Path:
    """As ``without_links``, with the errors of the system.

    Raises:
        OSError: Its links lead in a circle, or a part of it is a file.
    """
    try:
        return Path(os.path.realpath(path, strict=True))
    except FileNotFoundError:
        return Path(os.path.realpath(path))


def checkpoint_exists(path: Path) -> bool:
    """Whether something is at the path of a checkpoint, whatever it is.

    Raises:
        CheckpointError: The system does not tell: a closed folder, a path that is too long or leads in a circle.
    """
    with translated(path):
        try:
            path.stat()
        except FileNotFoundError:
            return False
    return True


def kind_of(status: os.stat_result) -> str:
    """What is at a path, in words."""
    return _KINDS.get(stat.S_IFMT(status.st_mode), "a file")


def check_file(path: Path, naming: FileNaming = CHECKPOINT) -> None:
    """Check that a checkpoint, or what is kept like one, is a regular file, and that SQLite made what is beside it.

    Args:
        path: From ``without_links``.
        naming: What the file is.

    Raises:
        CheckpointError: It is something else; or the error of ``naming``.
        OSError: It does not exist, or may not be looked at.
    """
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        raise naming.error(
            f"{path}: it is {kind_of(status)}, not {naming.noun}; it was left as it is",
            hint=f"Set `{naming.key}:` to the path of a file.",
        )
    for side in _foreign_sides(path, status):
        raise naming.error(
            f"{side}: it is {kind_of(side.lstat())} that asyncfilter did not make; {path.name} was left as it is",
            hint="Find out who made it, and remove it.",
        )


def check_one_name(path: Path, naming: FileNaming = CHECKPOINT) -> None:
    """Check that a checkpoint to be written has no other name, under which there could be another log.

    Args:
        path: From ``without_links``.
        naming: As for ``check_file``.

    Raises:
        CheckpointError: It has; or the error of ``naming``.
        OSError: It does not exist, or may not be looked at.
    """
    names = path.lstat().st_nlink
    if names > 1:
        raise naming.error(
            f"{path}: the file has {names} names (hard links), and the log of its changes is kept beside only one",
            hint="Remove the other names (find -samefile shows them), or copy the file (cp) and use the copy.",
        )
    if is_mount_point(path, read_mounts()):
        raise naming.error(
            f"{path}: the file is mounted here by itself, without the log of its changes, which is kept beside it",
            hint="Mount the folder that holds it.",
        )


def _foreign_sides(path: Path, status: os.stat_result) -> Iterator[Path]:
    """Files beside a checkpoint that SQLite cannot have made: links, and files of another user."""
    for suffix in SIDES:
        side = beside(path, suffix)
        try:
            found = side.lstat()
        except FileNotFoundError:
            continue
        is_plain = stat.S_ISREG(found.st_mode) and found.st_nlink == 1
        if not is_plain or found.st_uid not in {os.geteuid(), status.st_uid}:
            yield side
