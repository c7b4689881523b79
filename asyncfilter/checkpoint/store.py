"""The checkpoint of a run: the tables of a file that is locked, used by one thread at a time beside the event loop.

Cancelling a call that has started on the thread waits for its end: a commit is complete or absent, never unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import anyio
from anyio import to_thread

from asyncfilter.checkpoint.errors import translated
from asyncfilter.checkpoint.file_thread import FileThread
from asyncfilter.checkpoint.lock import RunLock
from asyncfilter.checkpoint.open_file import create_missing, open_tables
from asyncfilter.checkpoint.place import without_links
from asyncfilter.checkpoint.shipping import ShippingFile
from asyncfilter.checkpoint.tables import Tables
from asyncfilter.ports.keeping import KeptState
from asyncfilter.records.progress import Opened

_CLOSING_TIMEOUT_MS = 500
"""How long closing waits for readers, milliseconds; after that, the next opening checkpoints the write-ahead log."""


async def open_checkpoint(
    path: Path, *, identity: Mapping[str, str], name: str, above_epoch: int = 0, ships: bool = False
) -> SqliteCheckpoint:
    """Open the checkpoint at ``path`` for one run; create it, with its folder, when it does not exist.

    Use the result as an asynchronous context manager, or call ``aclose``.

    Args:
        path: The SQLite file.
        identity: Settings of source and detector by their key in the job file; stored labels are valid only for these.
        name: The job's name, for ``status``.
        above_epoch: The epoch of this opening is above this one, and above that of every opening before.
        ships: Note every change, for ``shipping``.

    Raises:
        CheckpointLockedError: Another run holds it; the message names it.
        CheckpointUnreadableError: It is empty, damaged or not a checkpoint; it was left untouched.
        CheckpointVersionError: A newer asyncfilter wrote it; it was left untouched.
        CheckpointMismatchError: ``identity`` is not the one it was made with; it was left untouched.
        CheckpointError: It cannot be created, locked or written.
    """
    return await to_thread.run_sync(
        partial(SqliteCheckpoint, path, identity, name, anyio.CapacityLimiter(1), above_epoch=above_epoch, ships=ships)
    )


class TablesOnThread:
    """The methods of ``Checkpoint``: those of the tables, each called on the file's thread.

    The type checker compares their parameters and results with the port's.

    Args:
        tables: Of the open file.
        thread: Calls them.
    """

    def __init__(self, tables: Tables, thread: FileThread) -> None:
        # LabelStore
        self.commit = thread.wrap(tables.commit)
        self.by_keys = thread.wrap(tables.by_keys)
        self.by_etags = thread.wrap(tables.by_etags)
        self.rows = thread.wrap(tables.rows)
        self.references = thread.wrap(tables.references)
        self.labels = thread.wrap(tables.labels)
        # Positions
        self.positioned = thread.wrap(tables.positioned)
        self.at = thread.wrap(tables.at)
        self.failed = thread.wrap(tables.failed)
        self.drop_positions_after = thread.wrap(tables.drop_positions_after)
        self.overshoot = thread.wrap(tables.overshoot)
        self.decided = thread.wrap(tables.decided)
        # RemovalJournal
        self.pending_removals = thread.wrap(tables.removal.pending_removals)
        self.count_pending_removals = thread.wrap(tables.removal.count_pending_removals)
        self.removals = thread.wrap(tables.removal.removals)
        self.owners = thread.wrap(tables.owners)
        # ListingStore
        self.save_listing = thread.wrap(tables.save_listing)
        self.listing = thread.wrap(tables.listing)
        self.listing_state = thread.wrap(tables.listing_state)
        self.listing_origin = thread.wrap(tables.listing_origin)
        self.listing_rank = thread.wrap(tables.listing_rank)
        self.drop_listing = thread.wrap(tables.drop_listing)
        self.save_ranges = thread.wrap(tables.ranged.save_ranges)
        self.listing_ranges = thread.wrap(tables.ranged.listing_ranges)
        self.listed_between = thread.wrap(tables.ranged.listed_between)
        self.count_listed = thread.wrap(tables.ranged.count_listed)
        self.spread_keys = thread.wrap(tables.ranged.spread_keys)
        # RunHistory
        self.begin_run = thread.wrap(tables.begin_run)
        self.end_run = thread.wrap(tables.end_run)


class ShippingOnThread:
    """The methods of ``ShippingFile``, each called on the file's thread."""

    def __init__(self, file: ShippingFile, thread: FileThread) -> None:
        self._file = file
        self.shipment = thread.wrap(file.shipment)
        self.bind = thread.wrap(file.bind)
        self.note_whole = thread.wrap(file.note_whole)
        self.cut = thread.wrap(file.cut)
        self.confirm = thread.wrap(file.confirm)
        self.behind = thread.wrap(file.behind)
        self.has_new = thread.wrap(file.has_new)

    @property
    def changed_rows(self) -> int:
        """Rows of images that were written since the last cut: an estimate of what there is to ship."""
        return self._file.changed_rows


class SqliteCheckpoint(TablesOnThread):
    """A ``Checkpoint`` in one SQLite file; made by ``open_checkpoint``.

    A batch must not change until ``commit`` returns.

    Attributes:
        shipping: Its changes, for the state in S3; None for a file that is opened without one.
        kept: The state in S3 that it is shipped to; None without one.
    """

    def __init__(
        self,
        path: Path,
        identity: Mapping[str, str],
        name: str,
        limiter: anyio.CapacityLimiter,
        *,
        above_epoch: int = 0,
        ships: bool = False,
    ) -> None:
        path = without_links(path)
        self._path = path
        with translated(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = RunLock(path)
            try:
                is_new = create_missing(path, identity, name)
                self._lock.hold_file()
                self._db, tables, self._opened, log = open_tables(
                    path, identity, is_new=is_new, above_epoch=above_epoch, ships=ships
                )
            except BaseException:
                self._lock.release()
                raise
        self._tables = tables
        thread = FileThread(path, limiter)
        super().__init__(tables, thread)
        self._close_on_thread = thread.wrap(self._close)
        self.kept: KeptState | None = None
        self.shipping: ShippingOnThread | None = None
        if log is not None:
            self.shipping = ShippingOnThread(ShippingFile(self._db, tables, path, log), thread)
        self._is_open = True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Copy the write-ahead log into the file, close it and release the lock; a second call does nothing.

        Raises:
            CheckpointError: The log could not be copied. Nothing is lost: the next opening copies it.
        """
        with anyio.CancelScope(shield=True):
            await self._close_on_thread()

    @property
    def location(self) -> str:
        """Path of the file."""
        return str(self._path)

    @property
    def opened(self) -> Opened:
        """See ``Checkpoint``."""
        return self._opened

    def _close(self) -> None:
        if not self._is_open:
            return
        self._is_open = False
        try:
            self._tables.close()
            with closing(self._db):
                self._db.execute(f"PRAGMA busy_timeout = {_CLOSING_TIMEOUT_MS}")
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            self._lock.release()
