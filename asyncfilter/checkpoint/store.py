"""The checkpoint of a run: the tables behind a lock, worked on by one thread at a time beside the event loop.

Cancelling a call that has reached the thread waits for it to end: a commit is whole or not there, never unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import anyio
from anyio import to_thread

from asyncfilter.checkpoint.faults import translated
from asyncfilter.checkpoint.lock import RunLock
from asyncfilter.checkpoint.opening import open_tables
from asyncfilter.model import Counts, LabelFilter, ListedObject, StopReason
from asyncfilter.policy.removal import Condemnation, Removal, Step
from asyncfilter.ports import Batch, Opened, Owner, Reference, StoredImage, Watermark

T = TypeVar("T")

_CLOSING_TIMEOUT_MS = 500
"""How long closing waits for a reader before it leaves the write-ahead log for the next opening to fold in."""


async def open_checkpoint(path: Path, *, identity: Mapping[str, str], name: str) -> SqliteCheckpoint:
    """Open the checkpoint at ``path`` for one run, or make it, with its folder, when it is not there.

    Use the result as an asynchronous context manager, or call ``aclose``.

    Args:
        path: The SQLite file.
        identity: Settings of source and detector by their key in the job file; stored labels are good only for these.
        name: The job's name, kept for people.

    Raises:
        CheckpointLockedError: Another run holds it; the message says which.
        CheckpointUnreadableError: It is empty, damaged or not a checkpoint; it was left untouched.
        CheckpointVersionError: A newer asyncfilter wrote it; it was left untouched.
        CheckpointMismatchError: ``identity`` is not the one it was made with; it was left untouched.
        CheckpointError: It cannot be made, locked or written.
    """
    return await to_thread.run_sync(SqliteCheckpoint, path, identity, name, anyio.CapacityLimiter(1))


class SqliteCheckpoint:
    """A ``Checkpoint`` in one SQLite file; made by ``open_checkpoint``."""

    def __init__(self, path: Path, identity: Mapping[str, str], name: str, limiter: anyio.CapacityLimiter) -> None:
        path = path.resolve()
        self._path = path
        self._limiter = limiter
        with translated(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = RunLock(path)
            try:
                self._db, self._tables, self._opened = open_tables(path, identity, name)
            except BaseException:
                self._lock.release()
                raise
        self._is_open = True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Fold the write-ahead log into the file, close it and give back the lock; a second call does nothing.

        Raises:
            CheckpointError: The log could not be folded in. Nothing is lost: the next opening does it.
        """
        with anyio.CancelScope(shield=True):
            await self._work(self._close)

    @property
    def location(self) -> str:
        """Path of the file."""
        return str(self._path)

    @property
    def opened(self) -> Opened:
        """See ``Checkpoint``."""
        return self._opened

    async def commit(self, batch: Batch) -> None:
        """See ``Checkpoint``; ``batch`` must not change until this returns."""
        await self._work(self._tables.commit, batch)

    async def by_keys(self, keys: Sequence[str]) -> Sequence[StoredImage]:
        """See ``Checkpoint``."""
        return await self._work(self._tables.by_keys, keys)

    async def by_etags(self, etags: Sequence[str]) -> Sequence[StoredImage]:
        """See ``Checkpoint``."""
        return await self._work(self._tables.by_etags, etags)

    async def seated(self, after_seq: int, limit: int, *, is_asked: LabelFilter | None = None) -> Sequence[StoredImage]:
        """See ``Checkpoint``."""
        return await self._work(self._tables.seated, after_seq, limit, is_asked)

    async def at(self, seqs: Sequence[int], *, is_asked: LabelFilter | None = None) -> Sequence[StoredImage]:
        """See ``Checkpoint``."""
        return await self._work(self._tables.at, seqs, is_asked)

    async def failed(self, after_seq: int, up_to_seq: int, limit: int) -> Sequence[StoredImage]:
        """See ``Checkpoint``."""
        return await self._work(self._tables.failed, after_seq, up_to_seq, limit)

    async def unseat_after(self, seq: int) -> None:
        """See ``Checkpoint``."""
        await self._work(self._tables.unseat_after, seq)

    async def overshoot(self) -> int:
        """See ``Checkpoint``."""
        return await self._work(self._tables.overshoot)

    async def owners(self, targets: Sequence[str]) -> Mapping[str, Owner]:
        """See ``Checkpoint``."""
        return await self._work(self._tables.owners, targets)

    async def references(self) -> Sequence[Reference]:
        """See ``Checkpoint``."""
        return await self._work(self._tables.references)

    async def condemned(
        self, which: Condemnation, after_seq: int, limit: int
    ) -> Sequence[tuple[StoredImage, Removal | None]]:
        """See ``Checkpoint``."""
        return await self._work(self._tables.journal.condemned, which, after_seq, limit)

    async def count_condemned(self, which: Condemnation) -> int:
        """See ``Checkpoint``."""
        return await self._work(self._tables.journal.count_condemned, which)

    async def removals(
        self, steps: Sequence[Step], after_image: int, limit: int
    ) -> Sequence[tuple[Removal, StoredImage | None]]:
        """See ``Checkpoint``."""
        return await self._work(self._tables.journal.removals, steps, after_image, limit)

    async def rows(self, ids: Sequence[int]) -> Sequence[StoredImage]:
        """See ``Checkpoint``."""
        return await self._work(self._tables.journal.rows, ids)

    async def decided(self, fingerprint: str | None, watermark: Watermark) -> None:
        """See ``Checkpoint``."""
        await self._work(self._tables.decided, fingerprint, watermark)

    async def save_listing(self, ranked: Sequence[tuple[int, ListedObject]], *, is_last: bool) -> None:
        """See ``Checkpoint``."""
        await self._work(partial(self._tables.save_listing, ranked, is_last=is_last))

    async def listing(self, after: tuple[int, str] | None, limit: int) -> Sequence[ListedObject]:
        """See ``Checkpoint``."""
        return await self._work(self._tables.listing, after, limit)

    async def listing_state(self) -> tuple[bool, str | None]:
        """See ``Checkpoint``."""
        state = await self._work(self._tables.listing_state)
        return state.is_whole, state.last_key

    async def drop_listing(self) -> None:
        """See ``Checkpoint``."""
        await self._work(self._tables.drop_listing)

    async def begin_run(self, run_id: str, started_unix_s: float) -> None:
        """See ``Checkpoint``."""
        await self._work(self._tables.begin_run, run_id, started_unix_s)

    async def end_run(self, run_id: str, ended_unix_s: float, stop_reason: StopReason, counts: Counts) -> None:
        """See ``Checkpoint``."""
        await self._work(self._tables.end_run, run_id, ended_unix_s, stop_reason, counts)

    async def _work(self, work: Callable[..., T], *args: object) -> T:
        return await to_thread.run_sync(self._translated, work, *args, limiter=self._limiter)

    def _translated(self, work: Callable[..., T], *args: object) -> T:
        with translated(self._path):
            return work(*args)

    def _close(self) -> None:
        if not self._is_open:
            return
        self._is_open = False
        try:
            with closing(self._db):
                self._db.execute(f"PRAGMA busy_timeout = {_CLOSING_TIMEOUT_MS}")
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            self._lock.release()
