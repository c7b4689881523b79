"""One run at a time: an operating-system lock on a small file beside the checkpoint, and one on the checkpoint itself.

The operating system releases both when the process ends, also when it is killed. The small file names the holder, and
is removed when the lock is released. The lock on the checkpoint holds for every name and mount of it (``file_lock``).
"""

from __future__ import annotations

import fcntl
import os
import socket
import stat
import time
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from asyncfilter.checkpoint.errors import translated
from asyncfilter.checkpoint.file_lock import FileLock
from asyncfilter.errors import CheckpointError, CheckpointLockedError

PRIVATE_MODE = 0o600
"""Permissions of a new checkpoint. SQLite gives the files beside it those of the checkpoint, and so does the lock."""

_TRIES = 5
_PAUSE_S = 0.02
"""``holder`` takes the lock for an instant to check whether it is free: a run that finds it taken tries again."""


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """The process that holds a checkpoint. All fields are empty until the holder has written them."""

    pid: int = 0
    host: str = ""
    since_unix_s: float = 0.0

    def __str__(self) -> str:
        if not self.pid:
            return "another process"
        since = datetime.fromtimestamp(self.since_unix_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        return f"process {self.pid} on {self.host}, since {since}"


class RunLock:
    """The lock of the checkpoint at ``path``, held from creation until ``release``.

    Raises:
        CheckpointLockedError: Another process, or another part of this one, holds it.
        CheckpointError: The lock file cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self._checkpoint = path
        self._file: FileLock | None = None
        self._path = lock_path(path)
        with translated(self._path):
            self._fd = self._acquire()
            # Truncated under the lock, not when it is opened: the file may name the present holder.
            os.ftruncate(self._fd, 0)
            me = Holder(pid=os.getpid(), host=socket.gethostname(), since_unix_s=time.time())
            os.write(self._fd, msgspec.json.encode(me))

    def hold_file(self) -> None:
        """Lock the checkpoint itself too, if it exists; to be called before SQLite opens it.

        Raises:
            CheckpointLockedError: A run holds it under another name.
            OSError: It cannot be locked.
        """
        if os.path.lexists(self._checkpoint):
            self._file = FileLock(self._checkpoint)

    def release(self) -> None:
        """Release the lock, after SQLite has closed the checkpoint; a second call does nothing."""
        if self._fd < 0:
            return
        if self._file is not None:
            self._file.release()
        # Removed while it is still locked: a process that has opened this file can then detect its removal.
        self._path.unlink(missing_ok=True)
        os.close(self._fd)
        self._fd = -1

    def _acquire(self) -> int:
        who = Holder()
        for _ in range(_TRIES):
            fd = self._open()
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # The former holder may have removed this file between open and lock: another process can lock the new
                # one.
                if _is_in_place(fd, self._path):
                    return fd
            except BlockingIOError:
                who = _read_holder(fd)
            except OSError:
                os.close(fd)
                raise
            os.close(fd)
            time.sleep(_PAUSE_S)
        hint = "Wait until that run ends, or set another `checkpoint:` for this job."
        raise CheckpointLockedError(f"{self._checkpoint}: held by {who}", hint=hint)

    def _open(self) -> int:
        """Open the lock file, or create it with the permissions of the checkpoint; no link is followed.

        Raises:
            CheckpointError: Something else has its name.
        """
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            fd = os.open(self._path, flags | os.O_CREAT | os.O_EXCL, PRIVATE_MODE)
        except FileExistsError:
            return self._open_existing(flags)
        # Who may use the checkpoint of another user must be able to see and to take its lock.
        if (mode := _mode_of(self._checkpoint)) != PRIVATE_MODE:
            os.fchmod(fd, mode)
        return fd

    def _open_existing(self, flags: int) -> int:
        status = self._path.lstat() if os.path.lexists(self._path) else None
        # With several names it may be any file of the user, and its content would be lost.
        if status is not None and (not stat.S_ISREG(status.st_mode) or status.st_nlink > 1):
            what = f"{self._path}: it is not a lock that asyncfilter made; it was left as it is"
            raise CheckpointError(what, hint="Find out who made it, and remove it.")
        return os.open(self._path, flags | os.O_CREAT, PRIVATE_MODE)


def lock_path(path: Path) -> Path:
    """The lock file of the checkpoint at ``path``."""
    return path.with_name(path.name + ".lock")


def holder(path: Path) -> Holder | None:
    """The process that holds the checkpoint at ``path`` now; None when there is none."""
    try:
        fd = os.open(lock_path(path), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:  # none, or of another user, or not a lock of ours
        return None
    try:
        # Shared, so that two processes that only check do not take each other for a run.
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read_holder(fd)
    finally:
        os.close(fd)
    return None


def _read_holder(fd: int) -> Holder:
    try:
        return msgspec.json.decode(os.pread(fd, 4096, 0), type=Holder)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Holder()


def _is_in_place(fd: int, path: Path) -> bool:
    try:
        seen = path.stat()
    except FileNotFoundError:
        return False
    mine = os.fstat(fd)
    return (seen.st_dev, seen.st_ino) == (mine.st_dev, mine.st_ino)


def _mode_of(checkpoint: Path) -> int:
    try:
        return stat.S_IMODE(checkpoint.stat().st_mode) & 0o666
    except OSError:
        return PRIVATE_MODE
