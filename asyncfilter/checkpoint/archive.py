"""Archiving a checkpoint for a fresh start: the file is renamed, never deleted."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from asyncfilter.checkpoint.errors import translated
from asyncfilter.checkpoint.lock import RunLock
from asyncfilter.checkpoint.open_file import beside, sync_folder

_SIDES = ("-wal", "-shm", "-journal")


def archive_checkpoint(path: Path) -> Path:
    """Rename the checkpoint at ``path``, whatever its state, to a free name in its folder; ``path`` is free afterwards.

    Returns:
        The new name: the old one with the time in it, such as ``robins.2026-11-22T081500Z.db``.

    Raises:
        CheckpointLockedError: A run holds it.
        CheckpointError: There is nothing to move, or the folder cannot be written.
    """
    path = path.resolve()
    with translated(path):
        lock = RunLock(path)
        try:
            target = _free_name(path)
            # The file is renamed before its log: a log without its file is rejected, a file without its log would be
            # accepted.
            for suffix in ("", *_SIDES):
                if (source := beside(path, suffix)).exists():
                    source.rename(beside(target, suffix))
            sync_folder(path)
        finally:
            lock.release()
    return target


def _free_name(path: Path) -> Path:
    if not any(beside(path, suffix).exists() for suffix in ("", *_SIDES)):
        raise FileNotFoundError(2, "there is no such file", str(path))
    stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H%M%SZ")
    names = (path.with_name(f"{path.stem}.{stamp}{f'-{n}' if n else ''}{path.suffix}") for n in count())
    return next(name for name in names if not any(beside(name, suffix).exists() for suffix in ("", *_SIDES)))
