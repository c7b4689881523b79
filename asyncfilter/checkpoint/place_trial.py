"""A trial of the place of a checkpoint: what ``doctor`` looks at before a run depends on it.

The trial makes a folder of its own beside the checkpoint, works in it as a checkpoint does, and removes it.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import tempfile
import time
from contextlib import closing
from pathlib import Path

import msgspec

from asyncfilter.checkpoint.errors import translated
from asyncfilter.checkpoint.file_lock import FileLock
from asyncfilter.checkpoint.lock import Holder, holder
from asyncfilter.checkpoint.place import without_links
from asyncfilter.mounts import mount_of, read_mounts

NETWORK_KINDS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "gpfs", "beegfs", "virtiofs"}
)
"""Types of file systems on other machines; those of FUSE tell by their names (``fuse.sshfs``)."""

_COMMITS = 3
_PREFIX = ".asyncfilter-doctor-"


class PlaceTrial(msgspec.Struct, frozen=True, kw_only=True):
    """What the trial showed.

    Attributes:
        path: The checkpoint, without links.
        folder: The nearest folder that exists; the trial was made there.
        exists: Whether there is a checkpoint.
        kind: Type of the file system; empty where the system does not tell.
        is_network: Whether it is on another machine.
        free_bytes: Space that the user may fill.
        locks: Whether a lock that one process holds keeps others away.
        commit_s: Longest of a few commits, seconds.
        holder: The process that holds the checkpoint now.
    """

    path: Path
    folder: Path
    exists: bool
    kind: str
    is_network: bool
    free_bytes: int
    locks: bool
    commit_s: float
    holder: Holder | None


def try_place(checkpoint: Path) -> PlaceTrial:
    """Try the place of a checkpoint; nothing is left there.

    Raises:
        CheckpointError: A checkpoint cannot be kept there.
    """
    path = without_links(checkpoint)
    folder = next(parent for parent in path.parents if parent.is_dir())
    mount = mount_of(str(folder), read_mounts())
    kind = "" if mount is None else mount.kind
    with translated(folder):
        space = os.statvfs(folder)
        with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=folder) as name:
            locks, commit_s = _locks_hold(Path(name) / "lock"), _commit_s(Path(name) / "trial.db")
        return PlaceTrial(
            path=path,
            folder=folder,
            exists=os.path.lexists(path),
            kind=kind,
            is_network=kind in NETWORK_KINDS or kind.startswith("fuse."),
            free_bytes=space.f_bavail * space.f_frsize,
            locks=locks,
            commit_s=commit_s,
            holder=holder(path),
        )


def _locks_hold(path: Path) -> bool:
    """Whether a second handle cannot take the lock that a first one holds."""
    path.touch(0o600)
    with path.open("r+b") as one, path.open("r+b") as other:
        fcntl.flock(one, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def _commit_s(path: Path) -> float:
    """Seconds of the longest of a few durable commits, in a database like that of a checkpoint."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("CREATE TABLE trial (value TEXT)")
        lock = FileLock(path)
        try:
            return max(_timed_commit(db) for _ in range(_COMMITS))
        finally:
            lock.release()


def _timed_commit(db: sqlite3.Connection) -> float:
    start_s = time.perf_counter()
    db.execute("INSERT INTO trial VALUES ('one')")
    return time.perf_counter() - start_s
