"""The ledger: what a user's commands have started at the model service, in one SQLite file that all of them share.

It is ``leases.db`` in ``$ASYNCFILTER_STATE`` (by default ``asyncfilter`` in the state folder of the user), so that a
command in any folder finds what another one has started. What money depends on is written here before it is asked for.

- A transaction is on disk when its ``with`` block ends: SQLite syncs the file and the folder (``synchronous = EXTRA``).
- Several processes write to it at once. Each transaction takes the lock of writers at its beginning, so that nothing
  changes between what it reads and what it writes; no lock is held in between. The file keeps no second file
  beside it for longer than a transaction, so that it also works in a home folder that several hosts share.
- A new file gets its name only when it is complete. An empty, damaged or foreign one is refused and left as it is: a
  model that only the lost rows knew of may still run.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Self
from urllib.parse import quote

import msgspec

from asyncfilter.checkpoint.errors import cause_of, is_damage
from asyncfilter.checkpoint.transaction import committed
from asyncfilter.custom_labels.ledger_schema import APPLICATION_ID, STEPS
from asyncfilter.errors import LedgerError

FILE_NAME = "leases.db"
"""The ledger's file in the state folder."""

STATE_VARIABLE = "ASYNCFILTER_STATE"
"""The environment variable that names the state folder."""

BUSY_TIMEOUT_S = 30.0
"""How long a transaction waits for those of other processes, which last milliseconds."""

_PLACE_HINT = f"Allow reading and writing of the file and its folder, or set {STATE_VARIABLE} to another folder."
_DAMAGE_HINT = (
    "Restore the file from a copy, or move it away; then `asyncfilter model list` shows which models run, and "
    "`asyncfilter model stop PROJECT VERSION` stops one."
)


def state_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """The folder in which a user's ledger and the logs of watchers are.

    Raises:
        LedgerError: The user has no home folder, and no variable names another one.
    """
    if given := environment.get(STATE_VARIABLE):
        return Path(given).absolute()
    xdg = environment.get("XDG_STATE_HOME", "")
    # The specification has relative paths ignored.
    if xdg and Path(xdg).is_absolute():
        return Path(xdg) / "asyncfilter"
    try:
        return Path.home() / ".local" / "state" / "asyncfilter"
    except RuntimeError as exc:
        raise LedgerError("this user has no home folder", hint=f"Set {STATE_VARIABLE} to a folder.") from exc


class Ledger:
    """The open ledger; ``open_ledger`` makes it, with ``close`` or a ``with`` block it ends.

    For one thread. Transactions are short, so that they are made in the event loop.

    Args:
        path: The file, without links.
        db: A connection in autocommit mode.
    """

    def __init__(self, path: Path, db: sqlite3.Connection) -> None:
        self._path = path
        self._db = db

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A transaction that reads and writes: durable when the block ends, without effect after an exception.

        Raises:
            LedgerError: The ledger cannot be read or written.
        """
        with _translated(self._path), committed(self._db):
            yield self._db

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A transaction that only reads: all of it sees one state of the file.

        Raises:
            LedgerError: The ledger cannot be read.
        """
        with _translated(self._path):
            self._db.execute("BEGIN")
            try:
                yield self._db
            finally:
                self._db.execute("ROLLBACK")

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


def open_ledger(folder: Path | None = None) -> Ledger:
    """Open the ledger, and create it and its folder where they are missing.

    Args:
        folder: The state folder; by default that of the user.

    Raises:
        LedgerError: It cannot be used: it is damaged or not a ledger, a newer asyncfilter wrote it, or the system does
            not let it be read and written. It is left as it is.
    """
    path = _path(folder)
    with _translated(path):
        if not os.path.lexists(path):
            _make_folder(path.parent)
            _make_file(path)
        db = _open(path)
        try:
            _upgrade(db)
        except BaseException:
            db.close()
            raise
        return Ledger(path, db)


def existing_ledger(folder: Path | None = None) -> Ledger | None:
    """The open ledger, for reading alone; None when there is none yet. Nothing is created or changed.

    Raises:
        LedgerError: As ``open_ledger`` does.
    """
    path = _path(folder)
    with _translated(path):
        return Ledger(path, _open(path)) if os.path.lexists(path) else None


def _path(folder: Path | None) -> Path:
    return Path(os.path.realpath(folder or state_folder())) / FILE_NAME


def _open(path: Path) -> sqlite3.Connection:
    """A connection to a file that is a whole ledger."""
    _check_file(path)
    db = _connect(path)
    try:
        _check_content(db, path)
    except BaseException:
        db.close()
        raise
    return db


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Translate the errors of SQLite and of the system about ``path`` into ``LedgerError``."""
    try:
        yield
    except sqlite3.IntegrityError:  # a defect of the caller, not of the file
        raise
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise _unreadable(path, f"the file is damaged ({exc})") from exc
    except sqlite3.DatabaseError as exc:
        cause = cause_of(exc)
        if is_damage(exc):
            raise _unreadable(path, f"{cause} ({exc})") from exc
        raise LedgerError(f"{path}: {f'{cause} ({exc})' if cause else exc}", hint=_PLACE_HINT) from exc
    except OSError as exc:
        raise LedgerError(f"{path}: {cause_of(exc) or exc.strerror or exc}", hint=_PLACE_HINT) from exc


def _unreadable(path: Path, what: str) -> LedgerError:
    return LedgerError(f"{path}: {what}; it was left as it is", hint=_DAMAGE_HINT)


def _connect(path: Path) -> sqlite3.Connection:
    uri = f"file:{quote(os.fsencode(path))}?mode=rw"
    db = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY_TIMEOUT_S)
    try:
        # EXTRA also syncs the folder after the journal is removed, which is what commits; FULL would not.
        db.execute("PRAGMA synchronous = EXTRA")
        db.execute("PRAGMA fullfsync = ON")  # macOS: past the cache of the disk
    except BaseException:  # of a file that is no database
        db.close()
        raise
    return db


# -- Making ------------------------------------------------------------------------------------------------------------


def _make_folder(folder: Path) -> None:
    """Create a folder that only the user can enter, with those above it; their names are durable."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    with suppress(FileExistsError):  # by another process, just now
        folder.mkdir(mode=0o700)
    _sync_folder(folder.parent)


def _make_file(path: Path) -> None:
    """Create an empty ledger, unless another process does so at the same time."""
    fd, name = tempfile.mkstemp(prefix=f"{path.name}.new-", dir=path.parent)
    os.close(fd)
    draft = Path(name)
    try:
        with closing(_connect(draft)) as db:
            db.execute("PRAGMA journal_mode = DELETE")
            _upgrade(db)
        with suppress(FileExistsError):
            # Unlike a renaming, a link never replaces the ledger that another process has made meanwhile.
            os.link(draft, path)
    finally:
        draft.unlink()
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # not supported everywhere
            os.fsync(fd)
    finally:
        os.close(fd)


def _upgrade(db: sqlite3.Connection) -> None:
    """Take the steps that the file lacks, all in one transaction."""
    if _format(db) == len(STEPS):
        return
    with committed(db):
        for step in STEPS[_format(db) :]:
            for statement in step:
                db.execute(statement)
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {len(STEPS)}")


# -- Checks ------------------------------------------------------------------------------------------------------------


def _check_file(path: Path) -> None:
    """Check what can be checked without opening the file, which could have an effect on what is no file."""
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        raise LedgerError(f"{path}: it is not a regular file", hint=_PLACE_HINT)
    if not status.st_size:
        raise _unreadable(path, "the file is empty")


def _check_content(db: sqlite3.Connection, path: Path) -> None:
    """Check that the file is a whole ledger of a known format; nothing is written."""
    (application,) = db.execute("PRAGMA application_id").fetchone()
    found = _format(db)
    if application != APPLICATION_ID or found < 1:
        raise _unreadable(path, "an SQLite database, but not a ledger of asyncfilter")
    if found > len(STEPS):
        what = f"{path}: written by a newer asyncfilter (format {found}; this one reads up to {len(STEPS)})"
        raise LedgerError(what, hint="Install that version of asyncfilter.")
    (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise _unreadable(path, f"the file is damaged ({verdict})")
    if missing := _names_of_format(found) - _names(db):
        raise _unreadable(path, f"the file is damaged (without {', '.join(sorted(missing))})")


def _format(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def _names(db: sqlite3.Connection) -> set[str]:
    """Names of all tables and indexes, SQLite's own left out."""
    return {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE name NOT LIKE 'sqlite!_%' ESCAPE '!'")}


def _names_of_format(number: int) -> set[str]:
    """What ``_names`` gives for a whole ledger of a format."""
    with closing(sqlite3.connect(":memory:")) as db:
        for step in STEPS[:number]:
            for statement in step:
                db.execute(statement)
        return _names(db)
