"""Asking a checkpoint about keys without taking part: safe while a run writes to it, and nothing is changed.

Each question sees the file as it is at that moment, so that a run's write-ahead log does not grow behind a reader that
takes hours.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from anyio import to_thread

from asyncfilter.checkpoint.faults import translated
from asyncfilter.checkpoint.opening import compare_identity
from asyncfilter.checkpoint.reader import Status, connect_reading, read_status
from asyncfilter.checkpoint.tables import Tables
from asyncfilter.ports import Reference, StoredImage


class Lookup:
    """What a checkpoint knows; made by ``open_lookup``.

    Attributes:
        status: The whole of it when it was opened.
    """

    def __init__(self, path: Path, status: Status, db: sqlite3.Connection) -> None:
        self.status = status
        self._path = path
        self._tables = Tables(db, path)
        self._limiter = anyio.CapacityLimiter(1)

    async def by_keys(self, keys: Sequence[str]) -> Sequence[StoredImage]:
        """See ``Checkpoint.by_keys``.

        Raises:
            CheckpointError: The file cannot be read any more.
        """
        return await to_thread.run_sync(self._read, keys, limiter=self._limiter)

    async def references(self) -> Sequence[Reference]:
        """See ``Checkpoint.references``.

        Raises:
            CheckpointError: The file cannot be read any more.
        """
        return await to_thread.run_sync(self._read_references, limiter=self._limiter)

    def _read_references(self) -> Sequence[Reference]:
        with translated(self._path):
            return self._tables.references()

    def _read(self, keys: Sequence[str]) -> Sequence[StoredImage]:
        with translated(self._path):
            return self._tables.by_keys(keys)


@asynccontextmanager
async def open_lookup(path: Path, identity: Mapping[str, str]) -> AsyncIterator[Lookup]:
    """Open the checkpoint at ``path`` for questions.

    Args:
        path: The SQLite file.
        identity: As for ``open_checkpoint``.

    Raises:
        CheckpointMismatchError: It is of another source or detector.
        CheckpointError: There is none, or it cannot be read.
    """
    status = await to_thread.run_sync(read_status, path)
    compare_identity(path, status.identity, identity)
    db = await to_thread.run_sync(_connected, path)
    try:
        yield Lookup(path, status, db)
    finally:
        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(db.close)


def _connected(path: Path) -> sqlite3.Connection:
    with translated(path):
        db = connect_reading(path.resolve())
        db.execute("PRAGMA query_only = ON")
        return db
