"""Snapshots: a whole SQLite file as it was at one cut, without the log of changes, compressed by zlib into a file."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import zlib
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from asyncfilter.checkpoint.changes import LOG_TABLES
from asyncfilter.checkpoint.lock import PRIVATE_MODE
from asyncfilter.checkpoint.place import SIDES, beside
from asyncfilter.checkpoint.state import TOTALS, read_state, write_state
from asyncfilter.records.progress import Totals
from asyncfilter.state.segments import Reserved, with_reserved

_PIECE_BYTES = 1 << 20
_LEVEL = 6


class SnapshotFile(NamedTuple):
    """A compressed snapshot on disk."""

    path: Path
    sha256: bytes
    size_bytes: int
    inflated_bytes: int


def write_snapshot(reader: sqlite3.Connection, path: Path, reserved: Reserved | None = None) -> SnapshotFile:
    """Write the file that a connection reads, compressed, to ``path``; takes long, and blocks no writer.

    Args:
        reader: A connection inside a transaction: the file is written as it was when that began.
        path: Where; the file beside it is made and deleted.
        reserved: As for ``segments.read_changes``.
    """
    plain = path.with_name(f"{path.name}.plain")
    remove(path)
    try:
        _create(plain)
        with closing(sqlite3.connect(plain, isolation_level=None)) as copy:
            reader.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")
            _clean(copy, reserved)
        return _compressed(plain, path)
    finally:
        _unlink(plain)


def remove(path: Path) -> None:
    """Remove what a snapshot that was not finished has left."""
    _unlink(path)
    _unlink(path.with_name(f"{path.name}.plain"))


def _clean(copy: sqlite3.Connection, reserved: Reserved | None) -> None:
    copy.execute("BEGIN")
    for table in sorted(LOG_TABLES):
        copy.execute(f"DROP TABLE IF EXISTS {table}")
    totals = None if reserved is None else read_state(copy, TOTALS, Totals)
    if totals is not None and reserved is not None:
        write_state(copy, {TOTALS: with_reserved(totals, reserved)})
    copy.execute("COMMIT")


def _compressed(plain: Path, path: Path) -> SnapshotFile:
    deflater, digest = zlib.compressobj(_LEVEL), hashlib.sha256()
    inflated_bytes = 0
    _create(path)
    with plain.open("rb") as source, path.open("wb") as target:
        while piece := source.read(_PIECE_BYTES):
            inflated_bytes += len(piece)
            out = deflater.compress(piece)
            target.write(out)
            digest.update(out)
        out = deflater.flush()
        target.write(out)
        digest.update(out)
    return SnapshotFile(path, digest.digest(), path.stat().st_size, inflated_bytes)


def _create(path: Path) -> None:
    # Made here: private, and no planted link is followed.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, PRIVATE_MODE))


def _unlink(path: Path) -> None:
    for one in (path, *(beside(path, side) for side in SIDES)):
        one.unlink(missing_ok=True)
