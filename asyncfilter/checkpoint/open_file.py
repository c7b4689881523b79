"""Opening of a checkpoint file: it is created, or checked before any byte of it is changed.

A file that is rejected is left unchanged, and no other file is created in its folder. A new file gets its name only
when it is complete, so that an empty file is never a checkpoint.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from asyncfilter.checkpoint.changes import ChangeLog
from asyncfilter.checkpoint.errors import CorruptRowError, unreadable
from asyncfilter.checkpoint.lock import PRIVATE_MODE
from asyncfilter.checkpoint.place import SIDES, beside, check_file, check_one_name
from asyncfilter.checkpoint.schema import (
    APPLICATION_ID,
    FORMAT_VERSION,
    create_tables,
    expected_names,
    format_of,
    table_names,
)
from asyncfilter.checkpoint.state import (
    ANSWERS,
    DECIDED_BY,
    EPOCH,
    MODEL,
    NAME,
    TOTALS,
    UID,
    WATERMARK,
    read_references,
    read_state,
    write_state,
)
from asyncfilter.checkpoint.tables import Tables
from asyncfilter.errors import CheckpointMismatchError, CheckpointVersionError
from asyncfilter.job.fingerprint import changed_settings
from asyncfilter.records.answers import TakenOver
from asyncfilter.records.known_model import NOTHING_KNOWN, KnownModel
from asyncfilter.records.progress import Opened, Totals, Watermark

_MAGIC = b"SQLite format 3\0"
_HEADER_BYTES = 100

_CHECKED_WHOLE_BYTES = 16 << 20
"""Up to this size every page of the file is checked at opening (about 30 ms); above it, only both ends of every
index."""

_BUSY_TIMEOUT_MS = 5000

DIED = "died"
"""Outcome of a run for which no end was recorded."""


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """A connection in autocommit mode, for use by one thread at a time; ``mode`` as in SQLite's URIs."""
    # As bytes: a name that is not UTF-8 is opened all the same.
    uri = f"file:{quote(os.fsencode(path))}?mode={mode}"
    return sqlite3.connect(
        uri,
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=32,  # statements of many rows are large, and each number of rows has its own
        timeout=_BUSY_TIMEOUT_MS / 1000,
    )


def has_wal(path: Path) -> bool:
    """Whether a write-ahead log exists with changes that are not in the file yet."""
    wal = beside(path, "-wal")
    return wal.exists() and wal.stat().st_size > 0


def check_header(path: Path) -> None:
    """Check by the first bytes of a file that it is a checkpoint which this version reads.

    Raises:
        CheckpointUnreadableError: It is empty, cut short, or something else.
        CheckpointVersionError: A newer asyncfilter wrote it.
        CheckpointError: It is no regular file.
    """
    check_file(path)
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
    size_bytes = path.stat().st_size
    if not header:
        raise unreadable(path, "the file is empty")
    if not header.startswith(_MAGIC[: len(header)]):
        raise unreadable(path, "not a checkpoint of asyncfilter")
    if len(header) < _HEADER_BYTES:
        raise unreadable(path, f"the file is cut short: {size_bytes} bytes")
    page_bytes, pages, version, application = (
        int.from_bytes(header[start:end], "big") for start, end in ((16, 18), (28, 32), (60, 64), (68, 72))
    )
    if application != APPLICATION_ID or version < 1:
        raise unreadable(path, "an SQLite database, but not a checkpoint of asyncfilter")
    if version > FORMAT_VERSION:
        what = f"{path}: written by a newer asyncfilter (format {version}; this one reads up to {FORMAT_VERSION})"
        raise CheckpointVersionError(what, hint="Install that version of asyncfilter, or set another `checkpoint:`.")
    # The header has two bytes for the page size, so that 65,536 is stored as 1.
    expected_bytes = pages * (65536 if page_bytes == 1 else page_bytes)
    if size_bytes < expected_bytes and not has_wal(path):
        raise unreadable(path, f"the file is cut short: {size_bytes} of {expected_bytes} bytes")


@contextmanager
def translated_reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A read-only connection, to a file that no run writes to meanwhile."""
    is_settled = not has_wal(path)
    shm = beside(path, "-shm")
    had_shm = shm.exists()
    try:
        # Immutable: SQLite takes no lock and creates no `-shm` file, so that the folder stays as it is.
        with closing(connect(path, "ro&immutable=1" if is_settled else "ro")) as db:
            yield db
    except BaseException:
        if not had_shm:
            shm.unlink(missing_ok=True)
        raise


def create_missing(path: Path, identity: Mapping[str, str], name: str) -> bool:
    """Create the checkpoint at ``path`` if it does not exist; to be called by the holder of its lock.

    Returns:
        Whether it was created.

    Raises:
        CheckpointUnreadableError: The file does not exist, but its log does.
        sqlite3.Error: SQLite cannot create it.
        OSError: The file system cannot create it.
    """
    if os.path.lexists(path):
        return False
    if has_wal(path):
        raise unreadable(path, f"the file is missing, but {beside(path, '-wal').name} is there")
    _make(path, identity, name)
    return True


def open_tables(
    path: Path, identity: Mapping[str, str], *, is_new: bool, above_epoch: int = 0, ships: bool = False
) -> tuple[sqlite3.Connection, Tables, Opened, ChangeLog | None]:
    """Open the checkpoint at ``path``; to be called by the holder of its lock.

    Args:
        path: The file.
        identity: As for ``open_checkpoint``.
        is_new: Whether it was created just now.
        above_epoch: The epoch of this opening is above this one, and above that of every opening before.
        ships: Note every change for a state in S3.

    Raises:
        CheckpointUnreadableError: Empty, damaged or not a checkpoint.
        CheckpointVersionError: Too new.
        CheckpointMismatchError: Of another source or detector.
        CheckpointError: It has another name, or is no regular file.
        sqlite3.Error: SQLite cannot use it.
        OSError: The file system cannot create or read it.
    """
    check_one_name(path)
    check_header(path)
    with translated_reading(path) as db:
        check_content(db, path)
        check_identity(db, path, identity)
    # Only now: opening for writing changes the file, for instance its journal mode.
    db = connect(path, "rw")
    try:
        _configure(db)
        tables = Tables(db, path)
        tables.etag_index.load()
        log = tables.log = ChangeLog(db) if ships else None
        if log is not None:
            log.begin()
        _bind(db, tables, identity)
        return db, tables, _take_over(db, tables, log, is_new=is_new, above_epoch=above_epoch), log
    except BaseException:
        db.close()
        raise


def check_content(db: sqlite3.Connection, path: Path) -> None:
    """Check the content, as far as this is possible in a short time.

    Raises:
        CheckpointUnreadableError: It is damaged.
        sqlite3.DatabaseError: SQLite finds it damaged.
        msgspec.DecodeError: A value of the state is damaged.
    """
    missing = expected_names(format_of(db)) - table_names(db)
    if missing:
        raise unreadable(path, f"the file is damaged (without {', '.join(sorted(missing))})")
    if read_state(db, WATERMARK, Watermark) is None or read_state(db, TOTALS, Totals) is None:
        raise unreadable(path, "the file is damaged (without its watermark or totals)")
    (size_bytes,) = db.execute("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size").fetchone()
    if size_bytes <= _CHECKED_WHOLE_BYTES:
        (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise CorruptRowError(verdict)
        return
    for column in ("id", "seq", "key"):
        for direction in ("ASC", "DESC"):
            query = f"SELECT * FROM image WHERE {column} IS NOT NULL ORDER BY {column} {direction} LIMIT 1"  # noqa: S608  constants
            db.execute(query).fetchall()


def stored_identity(db: sqlite3.Connection) -> dict[str, str]:
    """Source and detector settings that the checkpoint is bound to.

    Raises:
        CorruptRowError: One of them is no text.
    """
    found = dict(db.execute("SELECT key, value FROM identity"))
    if not all(isinstance(text, str) for pair in found.items() for text in pair):
        raise CorruptRowError("a setting of identity is no text")
    return found


def sync_folder(path: Path) -> None:
    """Make the names in the folder of ``path`` durable, where the system supports it."""
    fd = os.open(path.parent, os.O_RDONLY)
    try:
        with suppress(OSError):
            os.fsync(fd)
    finally:
        os.close(fd)


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """An empty, private file that is named ``path``, durably, when the block ends; after an exception it is removed.

    A draft that a killed process left is replaced.
    """
    draft = beside(path, ".new")
    for leftover in (draft, *(beside(draft, side) for side in SIDES)):
        leftover.unlink(missing_ok=True)
    # Made here and not by SQLite, which would follow a planted link, and make it readable for all.
    os.close(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, PRIVATE_MODE))
    try:
        yield draft
        draft.rename(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync_folder(path)


def _make(path: Path, identity: Mapping[str, str], name: str) -> None:
    with new_file(path) as draft, closing(connect(draft, "rw")) as db:
        create_tables(db)
        db.execute("BEGIN")
        db.executemany("INSERT INTO identity VALUES (?, ?)", identity.items())
        write_state(db, {NAME: name, WATERMARK: Watermark(), TOTALS: Totals()})
        db.execute("COMMIT")


def check_identity(db: sqlite3.Connection, path: Path, wanted: Mapping[str, str]) -> None:
    """Check that what the checkpoint holds is of the job's source and detector.

    Without an image it is bound to no source, and without reference images to no detector either.

    Raises:
        CheckpointMismatchError: It is not; the message names every setting that differs.
    """
    if _has_images(db):
        bound = ""
    elif read_references(db):
        bound = "detector."
    else:
        return
    stored = stored_identity(db)
    changes = [
        f"{key}: {stored.get(key, '(not set)')!r} in the checkpoint, {wanted.get(key, '(not set)')!r} in the job"
        for key in changed_settings(stored, wanted)
        if key.startswith(bound)
    ]
    if changes:
        message = f"{path}: belongs to another source or detector: " + "; ".join(changes)
        hint = "Set another `checkpoint:` to keep both, or use --fresh, which moves this file aside and starts anew."
        raise CheckpointMismatchError(message, hint=hint)


def _has_images(db: sqlite3.Connection) -> bool:
    return db.execute("SELECT 1 FROM image LIMIT 1").fetchone() is not None


def _bind(db: sqlite3.Connection, tables: Tables, identity: Mapping[str, str]) -> None:
    """Bind a checkpoint without an image to the job that opens it, and drop what it knows of another listing."""
    if stored_identity(db) == identity or _has_images(db):
        return
    tables.drop_listing()
    with tables.transaction():
        db.execute("DELETE FROM identity")
        db.executemany("INSERT INTO identity VALUES (?, ?)", identity.items())
        write_state(db, {WATERMARK: Watermark()})


def _configure(db: sqlite3.Connection) -> None:
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")  # Without it a commit is not on disk when it returns.
    db.execute("PRAGMA foreign_keys = ON")
    # Some systems build SQLite with it on: deleted content would be overwritten with zeros, at the cost of more writes.
    db.execute("PRAGMA secure_delete = OFF")
    # 1 MB: memory does not grow with the file.
    db.execute("PRAGMA cache_size = -1024")
    # 32 MB: a page that several commits change is written into the file once.
    db.execute("PRAGMA wal_autocheckpoint = 8000")


def _take_over(
    db: sqlite3.Connection, tables: Tables, log: ChangeLog | None, *, is_new: bool, above_epoch: int
) -> Opened:
    watermark = read_state(db, WATERMARK, Watermark) or Watermark()
    totals = read_state(db, TOTALS, Totals) or Totals()
    # What a killed run had on record and not settled may have been paid for, so it counts as spent.
    totals.billed_calls += totals.reserved_calls
    totals.spent_micros += totals.reserved_micros
    totals.reserved_calls = totals.reserved_micros = 0
    epoch = max(read_state(db, EPOCH, int) or 0, above_epoch) + 1
    uid = read_state(db, UID, str) or secrets.token_hex(8)
    with tables.transaction():
        # Not settled when the last run ended: the labels stay as cached rows, and this run positions them again.
        db.execute("UPDATE image SET seq = NULL WHERE seq > ?", (watermark.seq,))
        db.execute("UPDATE run SET outcome = ? WHERE outcome IS NULL", (DIED,))
        write_state(db, {TOTALS: totals, EPOCH: epoch, UID: uid})
        if log is not None:
            # In this transaction: an opening that notes nothing makes the two differ.
            log.opened(epoch)
    # Not the highest id in the table: rows are deleted, and `same_as` and the removal journal still refer to their ids.
    (last_id,) = db.execute("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'image'").fetchone()
    if not isinstance(last_id, int):
        raise CorruptRowError("seq of sqlite_sequence is no number")
    return Opened(
        watermark=watermark,
        totals=totals,
        decided_by=read_state(db, DECIDED_BY, str),
        next_id=last_id + 1,
        is_new=is_new,
        model=read_state(db, MODEL, KnownModel) or NOTHING_KNOWN,
        answers=read_state(db, ANSWERS, TakenOver),
        epoch=epoch,
        uid=uid,
    )
