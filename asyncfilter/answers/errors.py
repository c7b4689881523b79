"""Translation of the errors of SQLite and the file system about an answers file to ``AnswersError``."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from asyncfilter.checkpoint.errors import UNREADABLE_ROW, CorruptRowError, cause_of, is_damage
from asyncfilter.errors import AnswersError, AnswersLockedError

_DAMAGE_HINT = "Restore the file from a copy, or name another one (`answers:` in the job, or --answers FILE)."
_PLACE_HINT = "Allow reading and writing of the file and its folder, or name another file (`answers:`, --answers FILE)."
_LOCK_HINT = "Find the program that writes to it (it may be stopped), then repeat the command."


def unreadable(path: Path, what: str) -> AnswersError:
    """The error for a file that is not, or no longer, an answers file."""
    return AnswersError(f"{path}: {what}; it was left as it is", hint=_DAMAGE_HINT)


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Translate every error of SQLite or the system about ``path`` that is raised inside the block.

    Raises:
        AnswersLockedError: Another program kept the file locked for longer than a transaction waits.
        AnswersError: The content is damaged, or the system does not let it be used.
    """
    try:
        with sqlite_translated(path):
            yield
    except OSError as exc:
        raise AnswersError(f"{path}: {cause_of(exc) or exc.strerror or exc}", hint=_PLACE_HINT) from exc


@contextmanager
def sqlite_translated(path: Path) -> Iterator[None]:
    """Translate the errors of SQLite, and of what it returns; other code may run in the block.

    Raises:
        AnswersError: As for ``translated``.
    """
    try:
        yield
    except sqlite3.IntegrityError:  # a defect of the caller, not of the file
        raise
    except (CorruptRowError, *UNREADABLE_ROW) as exc:
        raise unreadable(path, f"the file is damaged ({exc})") from exc
    except sqlite3.Error as exc:
        raise _from_sqlite(path, exc) from exc


def _from_sqlite(path: Path, exc: sqlite3.Error) -> AnswersError:
    if is_damage(exc):
        return unreadable(path, f"{cause_of(exc)} ({exc})")
    if (getattr(exc, "sqlite_errorname", None) or "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return locked(path)
    cause = cause_of(exc)
    return AnswersError(f"{path}: {f'{cause} ({exc})' if cause else exc}", hint=_PLACE_HINT)


def locked(path: Path) -> AnswersLockedError:
    """The error for a file that another program keeps locked."""
    return AnswersLockedError(f"{path}: locked by another program for more than 5 s", hint=_LOCK_HINT)
