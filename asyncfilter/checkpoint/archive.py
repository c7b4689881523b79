"""Archiving a checkpoint for a fresh start: the file is renamed, never deleted."""

from __future__ import annotations

import os
import stat
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from asyncfilter.checkpoint.errors import translated
from asyncfilter.checkpoint.lock import RunLock
from asyncfilter.checkpoint.open_file import sync_folder
from asyncfilter.checkpoint.place import SIDES, beside, kind_of, without_links
from asyncfilter.errors import CheckpointError


def archive_checkpoint(path: Path) -> Path:
    """Rename the checkpoint at ``path``, whatever its state, to a free name in its folder; ``path`` is free afterwards.

    Returns:
        The new name: the old one with the time in it, such as ``robins.2026-11-22T081500Z.db``.

    Raises:
        CheckpointLockedError: A run holds it.
        CheckpointError: There is nothing to move, something is not a regular file, or the folder cannot be written.
    """
    path = without_links(path)
    with translated(path):
        lock = RunLock(path)
        try:
            _check_regular(path)
            lock.hold_file()
            target = _free_name(path)
            # The file is renamed before its log: a log without its file is rejected, a file without its log would be
            # accepted.
            for suffix in ("", *SIDES):
                if (source := beside(path, suffix)).exists():
                    source.rename(beside(target, suffix))
            sync_folder(path)
        finally:
            lock.release()
    return target


def _check_regular(path: Path) -> None:
    """Check that the file and those beside it are regular files, or do not exist.

    Raises:
        CheckpointError: One is something else.
    """
    for one in (path, *(beside(path, suffix) for suffix in SIDES)):
        if os.path.lexists(one) and not stat.S_ISREG((status := one.lstat()).st_mode):
            what = f"{one}: it is {kind_of(status)}, which --fresh does not move aside"
            raise CheckpointError(what, hint="Set `checkpoint:` to the path of a file.")


def _free_name(path: Path) -> Path:
    if not any(beside(path, suffix).exists() for suffix in ("", *SIDES)):
        raise FileNotFoundError(2, "there is no such file", str(path))
    stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H%M%SZ")
    names = (path.with_name(f"{path.stem}.{stamp}{f'-{n}' if n else ''}{path.suffix}") for n in count())
    return next(name for name in names if not any(beside(name, suffix).exists() for suffix in ("", *SIDES)))
