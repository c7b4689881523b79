"""The workers of a run that goes on, noted beside its checkpoint for ``status``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from asyncfilter.fleet.beside import read_beside, write_beside
from asyncfilter.model import Workers

_EVERY_S = 1.0


def note_path(checkpoint: Path) -> Path:
    """The file beside a checkpoint; it is there while a run with a fleet goes on."""
    return checkpoint.with_name(f"{checkpoint.name}.workers")


async def keep_noted(path: Path, workers: Callable[[], Workers], sleep: Callable[[float], Awaitable[None]]) -> None:
    """Note the workers every second, until cancelled; then the file is removed.

    A file that cannot be written costs nothing but the line in ``status``.
    """
    last: Workers | None = None
    try:
        while True:
            now = workers()
            if now != last:
                with suppress(OSError):
                    write_beside(path, msgspec.json.encode(now))
                    last = now
            await sleep(_EVERY_S)
    finally:
        _remove(path)


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink(missing_ok=True)


def read_noted(checkpoint: Path, *, since_unix_s: float) -> Workers | None:
    """The workers of the run that holds a checkpoint; None without a note.

    Args:
        checkpoint: The file.
        since_unix_s: When the run took it, Unix seconds: an older note is that of a run that was killed.
    """
    path = note_path(checkpoint)
    try:
        if path.stat().st_mtime < since_unix_s:
            return None
        return msgspec.json.decode(read_beside(path), type=Workers)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
