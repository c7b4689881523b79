"""Translation of the errors of SQLite and the file system to those of ``asyncfilter.errors``."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from asyncfilter.errors import CheckpointError, CheckpointUnreadableError

FRESH_HINT = "Restore the file from a copy, set another `checkpoint:`, or use --fresh, which moves this one aside."
"""The hint for a file that cannot be used."""

_SPACE = "Free space on its disk, then start again with the same command: everything reported as done is kept."

_BY_CODE = {
    "SQLITE_FULL": ("no space is left for it", _SPACE),
    "SQLITE_IOERR": ("its disk cannot be read or written", "Check the disk and the mount that hold it."),
    "SQLITE_READONLY": ("it is read-only", "Allow writing to the file and its folder."),
    "SQLITE_CANTOPEN": ("it cannot be opened", "Allow reading and writing of the file and its folder."),
    "SQLITE_BUSY": ("another program keeps it locked", "Close the program that has it open."),
    "SQLITE_PERM": ("access to it is denied", "Allow reading and writing of the file and its folder."),
}

_BY_ERRNO = {
    errno.EROFS: "its file system is read-only",
    errno.EACCES: "access to it is denied",
    errno.EPERM: "access to it is denied",
    errno.ENOSPC: "no space is left for it",
    errno.EDQUOT: "the disk quota is used up",
    errno.ENOTDIR: "a part of its path is a file, not a folder",
    errno.EISDIR: "it is a folder",
    errno.ELOOP: "its symbolic links lead in a circle",
    errno.ENAMETOOLONG: "its path or name is longer than the file system allows",
    errno.ENOLCK: "its file system has no locks",
    errno.ENOTSUP: "its file system has no locks",
}


_SQLITE_PATH_BYTES = 512 - len(".new-journal") - 1
"""Longest path that every SQLite opens, with the suffixes of the files that are made beside it (its MAX_PATHNAME)."""


class CorruptRowError(Exception):
    """A value in the file cannot have been written by asyncfilter."""


UNREADABLE_ROW = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding a value raises that another program has written: no JSON or MessagePack, no UTF-8, too deep."""


def unreadable(path: Path, what: str) -> CheckpointUnreadableError:
    """The error for a file that is not, or no longer, a checkpoint."""
    return CheckpointUnreadableError(f"{path}: {what}; it was left as it is", hint=FRESH_HINT)


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Translate every error about ``path`` that is raised inside the block into a ``CheckpointError``.

    Raises:
        CheckpointUnreadableError: The content is damaged.
        CheckpointError: Everything else: space, permissions, the disk.
    """
    try:
        yield
    except (CorruptRowError, *UNREADABLE_ROW) as exc:
        # SQLite's own messages quote names of a damaged schema, which need not be UTF-8.
        raise unreadable(path, f"the file is damaged ({exc})") from exc
    except sqlite3.Error as exc:
        raise _from_sqlite(path, exc) from exc
    except OSError as exc:
        why = _BY_ERRNO.get(exc.errno or 0, exc.strerror or str(exc))
        raise CheckpointError(f"{path}: {why}", hint="Choose another place with `checkpoint:`.") from exc


def cause_of(exc: sqlite3.Error | OSError) -> str | None:
    """Why SQLite or the system cannot use a file of any kind, in words; None where only their own message says it."""
    if isinstance(exc, OSError):
        return _BY_ERRNO.get(exc.errno or 0)
    if is_damage(exc):
        return "the file is damaged"
    code = _code_of(exc)
    return next((why for prefix, (why, _) in _BY_CODE.items() if code.startswith(prefix)), None)


def is_damage(exc: sqlite3.Error) -> bool:
    """Whether the content of the file is the cause."""
    return _code_of(exc).startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB"))


def _code_of(exc: sqlite3.Error) -> str:
    return getattr(exc, "sqlite_errorname", None) or ""


def _from_sqlite(path: Path, exc: sqlite3.Error) -> CheckpointError:
    code = _code_of(exc)
    if is_damage(exc):
        return unreadable(path, f"the file is damaged ({exc})")
    size_bytes = len(os.fsencode(path))
    if code.startswith("SQLITE_CANTOPEN") and size_bytes > _SQLITE_PATH_BYTES:
        hint = "Set `checkpoint:` to a shorter path."
        return CheckpointError(f"{path}: its path has {size_bytes} bytes, more than SQLite accepts ({exc})", hint=hint)
    for prefix, (why, hint) in _BY_CODE.items():
        if code.startswith(prefix):
            return CheckpointError(f"{path}: {why} ({exc})", hint=hint)
    return CheckpointError(f"{path}: {exc}")
