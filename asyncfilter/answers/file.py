"""The answers file itself: created whole or not at all, and checked before it is used.

- A new file gets its name only when it is complete. Who creates one holds a lock on the folder, so that of several
  processes one creates it and the others find it.
- A file that cannot be used (foreign, damaged, newer, a link or a device) is left as it is.
- No file is opened but by SQLite: closing another handle on it would release the locks that SQLite holds in this
  process.
"""

from __future__ import annotations

import errno
import fcntl
import os
import random
import secrets
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

from asyncfilter.answers.errors import locked, translated, unreadable
from asyncfilter.answers.schema import APPLICATION_ID, FORMAT_VERSION, ID, create_tables, expected_names, table_names
from asyncfilter.checkpoint.errors import is_damage
from asyncfilter.checkpoint.open_file import new_file
from asyncfilter.checkpoint.place import FileNaming, beside, check_file, check_one_name, resolved
from asyncfilter.errors import AnswersError

BUSY_TIMEOUT_S = 5.0
"""How long a transaction waits for those of other processes, which last milliseconds."""

_PAUSE_S = 0.02
_LOOK_AGAIN_S = 0.005
_CHECKED_WHOLE_BYTES = 16 << 20
"""Up to this size every page of the file is checked at opening (about 30 ms)."""

_NO_LOCKS = {errno.ENOTSUP, errno.ENOLCK, errno.ENOSYS, errno.EINVAL, errno.EBADF}
"""What a file system says that has no locks on folders."""

ANSWERS = FileNaming("an answers file", "answers", AnswersError)


def real_path(path: Path) -> Path:
    """The absolute path of an answers file without symbolic links; it need not exist.

    Raises:
        AnswersError: Its links lead in a circle, or a part of it is a file.
    """
    with translated(path):
        return resolved(path)


def exists(path: Path) -> bool:
    """Whether something is at the path of an answers file, whatever it is.

    Raises:
        AnswersError: The system does not tell.
    """
    with translated(path):
        try:
            path.stat()
        except FileNotFoundError:
            return False
        return True


def open_writing(path: Path) -> sqlite3.Connection:
    """A connection to the answers file at ``path``, which is created where it is missing.

    Args:
        path: From ``real_path``.

    Raises:
        AnswersError: It cannot be used, or created.
    """
    with translated(path):
        if not os.path.lexists(path):
            _create(path)
        _check_place(path)
        db = _connect(path, "rw")
        try:
            _check_content(db, path)
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")  # without it a commit is not on disk when it returns
            db.execute("PRAGMA fullfsync = ON")  # macOS: past the cache of the disk
            db.execute("PRAGMA foreign_keys = ON")
            db.execute("PRAGMA busy_timeout = 0")  # ``begin`` waits
        except BaseException:
            db.close()
            raise
        return db


def open_reading(path: Path) -> sqlite3.Connection:
    """A connection that only reads, and neither waits for a writer nor makes one wait.

    Args:
        path: From ``real_path``; it exists.

    Raises:
        AnswersError: It cannot be used.
    """
    with translated(path):
        _check_place(path)
        db = _connect_reading(path)
        try:
            db.execute("PRAGMA query_only = ON")
            _check_content(db, path)
        except BaseException:
            db.close()
            raise
        return db


def begin(db: sqlite3.Connection) -> None:
    """Begin a transaction that writes, as soon as those of other processes have ended.

    SQLite's own wait looks again after up to a tenth of a second, so that among several busy writers the one that has
    waited longest waits on.

    Raises:
        sqlite3.OperationalError: They have not ended after ``BUSY_TIMEOUT_S``.
    """
    deadline_s = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            db.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as exc:
            if not exc.sqlite_errorname.startswith("SQLITE_BUSY") or time.monotonic() > deadline_s:
                raise
            time.sleep(random.uniform(0.2, 1.0) * _LOOK_AGAIN_S)
        else:
            return


# -- Creating ----------------------------------------------------------------------------------------------------------


def _create(path: Path) -> None:
    """Create an empty answers file, unless another process does so at the same time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _folder_locked(path):
        if os.path.lexists(path):
            return
        if beside(path, "-wal").exists():
            raise unreadable(path, f"the file is missing, but {beside(path, '-wal').name} is there")
        _make(path)


@contextmanager
def _folder_locked(path: Path) -> Iterator[None]:
    """Hold a lock on the folder, which ends with the process however that ends.

    Raises:
        AnswersError: Another process holds it for too long.
    """
    fd = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _lock(fd, path)
        yield
    finally:
        os.close(fd)


def _lock(fd: int, path: Path) -> None:
    deadline_s = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline_s:
                raise locked(path) from None
            time.sleep(_PAUSE_S)
        except OSError as exc:
            if exc.errno not in _NO_LOCKS:
                raise
            return  # then two processes must not create the file at one moment
        else:
            return


def _make(path: Path) -> None:
    with new_file(path) as draft, closing(_connect(draft, "rw")) as db:
        create_tables(db, secrets.token_hex(16))
        db.execute("PRAGMA journal_mode = WAL")  # kept in the file: readers never wait for writers


# -- Checks ------------------------------------------------------------------------------------------------------------


def _check_place(path: Path) -> None:
    """Check what is at the path, and that its beginning is that of an answers file which this version reads.

    Raises:
        AnswersError: It is not.
        sqlite3.Error: SQLite cannot read it.
        OSError: The system does not tell.
    """
    check_file(path, ANSWERS)
    check_one_name(path, ANSWERS)
    if not path.lstat().st_size:
        raise unreadable(path, "the file is empty")
    application, version = _marks(path)
    if application != APPLICATION_ID or version < 1:
        raise unreadable(path, "an SQLite database, but not an answers file of asyncfilter")
    if version > FORMAT_VERSION:
        what = f"{path}: written by a newer asyncfilter (format {version}; this one reads up to {FORMAT_VERSION})"
        raise AnswersError(f"{what}; it was left as it is", hint="Install that version of asyncfilter.")


def _marks(path: Path) -> tuple[int, int]:
    """The application id and the format of the database at the path.

    Raises:
        AnswersError: It is no whole database.
        sqlite3.Error: SQLite cannot read it.
    """
    try:
        try:
            return _read_marks(path, is_growing=False)
        except sqlite3.DatabaseError as exc:
            if not is_damage(exc):
                raise
            # While a writer moves its log into the file, the header names pages that follow in a moment.
            return _read_marks(path, is_growing=beside(path, "-wal").exists())
    except sqlite3.DatabaseError as exc:
        if not is_damage(exc):
            raise
        raise unreadable(path, f"not an answers file of asyncfilter ({exc})") from exc


def _read_marks(path: Path, *, is_growing: bool) -> tuple[int, int]:
    # Immutable: no lock and no file beside it, so that a file that is none of ours stays as it is. Neither number
    # changes after the file was made, so that a writer at work does not matter.
    with closing(_connect(path, "ro&immutable=1")) as db:
        if is_growing:
            db.execute("PRAGMA writable_schema = ON")  # pages that are missing are no damage
        (application,) = db.execute("PRAGMA application_id").fetchone()
        (version,) = db.execute("PRAGMA user_version").fetchone()
        return int(application), int(version)


def _check_content(db: sqlite3.Connection, path: Path) -> None:
    """Check the content, as far as this is possible in a short time; nothing is written.

    Raises:
        AnswersError: It is damaged.
        sqlite3.DatabaseError: SQLite finds it damaged, or locked.
    """
    missing = expected_names() - table_names(db)
    if missing:
        raise unreadable(path, f"the file is damaged (without {', '.join(sorted(missing))})")
    if db.execute("SELECT value FROM setting WHERE key = ?", (ID,)).fetchone() is None:
        raise unreadable(path, "the file is damaged (without its id)")
    (size_bytes,) = db.execute("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size").fetchone()
    if size_bytes <= _CHECKED_WHOLE_BYTES:
        (found,) = db.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise unreadable(path, f"the file is damaged ({found})")


# -- Connections -------------------------------------------------------------------------------------------------------


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    """A connection in autocommit mode, for use by one thread at a time; ``mode`` as in SQLite's URIs."""
    # As bytes: a name that is not UTF-8 is opened all the same.
    uri = f"file:{quote(os.fsencode(path))}?mode={mode}"
    return sqlite3.connect(
        uri, uri=True, isolation_level=None, check_same_thread=False, cached_statements=32, timeout=BUSY_TIMEOUT_S
    )


def _connect_reading(path: Path) -> sqlite3.Connection:
    """A connection for reading, which leaves no new file and needs no write permission."""
    if beside(path, "-wal").exists():
        return _connect(path, "ro")
    # Only a connection that may write removes the two empty files that SQLite creates in the folder. A file that is
    # read-only, or in a read-only folder, is opened read-only.
    if not os.access(path, os.W_OK):
        return _connect(path, "ro&immutable=1")
    db = _connect(path, "rw")
    try:
        db.execute("SELECT 1 FROM setting").fetchone()
    except sqlite3.OperationalError as exc:
        db.close()
        if (exc.sqlite_errorname or "").startswith(("SQLITE_BUSY", "SQLITE_IOERR")):
            raise
        return _connect(path, "ro&immutable=1")
    except BaseException:
        db.close()
        raise
    return db
