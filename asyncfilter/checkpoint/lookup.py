"""Queries to a checkpoint without holding its lock: safe while a run writes to it; nothing is changed.

Each query reads the file as it is at that moment, and ends its transaction: a reader open for hours does not prevent
the checkpointing of the run's write-ahead log.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from anyio import to_thread

from asyncfilter.checkpoint.errors import translated
from asyncfilter.checkpoint.file_thread import FileThread
from asyncfilter.checkpoint.open_file import check_identity
from asyncfilter.checkpoint.place import without_links
from asyncfilter.checkpoint.reader import Status, connect_reading, read_status
from asyncfilter.checkpoint.tables import Tables


class Lookup:
    """A checkpoint opened for queries; made by ``open_lookup``.

    Its methods are those of ``LabelStore``, and raise ``CheckpointError`` when the file cannot be read any more.

    Args:
        path: The file.
        status: Its status when it was opened.
        db: A connection for reading.
    """

    def __init__(self, path: Path, status: Status, db: sqlite3.Connection) -> None:
        self.status = status
        tables, thread = Tables(db, path), FileThread(path, anyio.CapacityLimiter(1))
        self.by_keys = thread.wrap(tables.by_keys)
        self.references = thread.wrap(tables.references)
        self.labels = thread.wrap(tables.labels)


@asynccontextmanager
async def open_lookup(path: Path, identity: Mapping[str, str]) -> AsyncIterator[Lookup]:
    """Open the checkpoint at ``path`` for queries.

    Args:
        path: The SQLite file.
        identity: As for ``open_checkpoint``.

    Raises:
        CheckpointMismatchError: It is of another source or detector.
        CheckpointError: There is none, or it cannot be read.
    """
    status = await to_thread.run_sync(read_status, path)
    db = await to_thread.run_sync(_connected, path, identity)
    try:
        yield Lookup(path, status, db)
    finally:
        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(db.close)


def _connected(path: Path, identity: Mapping[str, str]) -> sqlite3.Connection:
    with translated(path):
        db = connect_reading(without_links(path))
        try:
            db.execute("PRAGMA query_only = ON")
            check_identity(db, path, identity)
        except BaseException:
            db.close()
            raise
        return db
