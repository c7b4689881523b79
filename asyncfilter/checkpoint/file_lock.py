"""A lock on the checkpoint file itself, which all its names and mounts share.

It is an *open file description lock* (``F_OFD_SETLK``, Linux) on one byte. SQLite locks bytes of the same file with
POSIX locks, and these are released when the process closes any handle on the file. So the handle of this lock is opened
before SQLite opens the file and closed after SQLite closed it. The byte lies behind those that SQLite locks and on the
page that SQLite never uses. On a network file system the server knows of a lock on a byte, so that it holds between
machines; ``flock`` on the file would lock all of it there, and exclude SQLite.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
from pathlib import Path

from asyncfilter.errors import CheckpointError, CheckpointLockedError

_SET_LOCK: int | None = getattr(fcntl, "F_OFD_SETLK", None)
_GET_LOCK: int | None = getattr(fcntl, "F_OFD_GETLK", None)
"""Both are None where the system has no such locks; then only the lock beside the file holds."""

_BYTE = 0x40000000 + 1024
"""SQLite locks 512 bytes from 0x40000000 on (its PENDING_BYTE)."""

_UNSUPPORTED = {errno.EINVAL, errno.ENOTSUP, errno.ENOSYS}

_held: set[tuple[int, int]] = set()


class FileLock:
    """The lock of the file at ``path``, held from creation until ``release``.

    Raises:
        CheckpointLockedError: Another run holds it.
        CheckpointError: It is not a regular file.
        OSError: It cannot be opened for writing, or its file system has no locks.
    """

    def __init__(self, path: Path) -> None:
        if not stat.S_ISREG(path.lstat().st_mode):  # to open a pipe would wait, to open a device may do anything
            raise CheckpointError(f"{path}: not a regular file", hint="Set `checkpoint:` to the path of a file.")
        if is_held_here(path):  # checked first, since closing a handle on it would release SQLite's locks
            raise _held_elsewhere(path)
        self._fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            _lock(self._fd, path)
        except BaseException:
            os.close(self._fd)
            raise
        self._file = _identity(os.fstat(self._fd))
        _held.add(self._file)

    def release(self) -> None:
        """Release the lock; a second call does nothing."""
        if self._fd >= 0:
            _held.discard(self._file)
            os.close(self._fd)
            self._fd = -1


def is_held(path: Path) -> bool:
    """Whether a run holds the file, in this process or another one, under any name; False where that is unknown."""
    if is_held_here(path):
        return True
    if _GET_LOCK is None:
        return False
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found: bytes = fcntl.fcntl(fd, _GET_LOCK, _request(fcntl.F_WRLCK))
    except OSError as exc:
        if exc.errno in _UNSUPPORTED:
            return False
        raise
    finally:
        os.close(fd)
    (kind,) = struct.unpack_from("h", found)
    return bool(kind != fcntl.F_UNLCK)


def is_held_here(path: Path) -> bool:
    """Whether a run in this process holds the file."""
    return bool(_held) and _identity(path.stat()) in _held


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _held_elsewhere(path: Path) -> CheckpointLockedError:
    return CheckpointLockedError(
        f"{path}: held by another run, under another name or mount of the same file",
        hint="Wait until that run ends, or set another `checkpoint:` for this job.",
    )


def _lock(fd: int, path: Path) -> None:
    if _SET_LOCK is None:
        return
    try:
        fcntl.fcntl(fd, _SET_LOCK, _request(fcntl.F_WRLCK))
    except OSError as exc:
        if exc.errno in {errno.EAGAIN, errno.EACCES}:
            raise _held_elsewhere(path) from exc
        if exc.errno not in _UNSUPPORTED:
            raise


def _request(kind: int) -> bytes:
    """``struct flock``: type, whence, start, length, process (0 for these locks)."""
    return struct.pack("hhqqi4x", kind, os.SEEK_SET, _BYTE, 1, 0)
