"""People's answers beside a state: the answers file goes to ``NAME.answers``, with a head of its own.

Several programs add rows to an answers file at any time, and rows are never changed: so it is not owned as long as a
command lasts. When it has changed, its state is taken, what another machine has added is merged in, the whole file is
written as a snapshot, and the state is let go at once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import NamedTuple

import anyio
from anyio import to_thread

from asyncfilter.answers import schema
from asyncfilter.answers.file import exists, open_reading, real_path
from asyncfilter.answers.merging import merge_files
from asyncfilter.answers.reader import open_reader
from asyncfilter.checkpoint.place import SIDES, beside
from asyncfilter.clock import Clock
from asyncfilter.custom_labels.processes import Host
from asyncfilter.errors import AsyncFilterError
from asyncfilter.ports.state_store import StateStore
from asyncfilter.state.away import translated_outage
from asyncfilter.state.fetching import read_head
from asyncfilter.state.head import Head, Snapshot
from asyncfilter.state.names import StatePlace
from asyncfilter.state.restore import restore, restore_newest
from asyncfilter.state.snapshots import SnapshotFile, remove, write_snapshot
from asyncfilter.state.taking import Claim, Report, take
from asyncfilter.state.tenure import COMMIT_EVERY_S

_Marks = tuple[tuple[int, int], ...]
"""Sizes and times of the file and of its log: they differ when it has changed."""


class AnswersShipping(NamedTuple):
    """An answers file, and its state.

    Attributes:
        store: Where the state is.
        place: The state.
        path: The file; it need not exist.
        host: This process.
        clock: Sleeps.
        now_s: The clock of owners.
        report: Called with a sentence when the command waits for another process.
    """

    store: StateStore
    place: StatePlace
    path: Path
    host: Host
    clock: Clock
    now_s: Callable[[], float]
    report: Report

    async def fetch(self) -> None:
        """Make the file where there is none on this machine and one in S3."""
        if await to_thread.run_sync(exists, self.path) or await read_head(self.store, self.place) is None:
            return
        await to_thread.run_sync(lambda: self.path.parent.mkdir(parents=True, exist_ok=True))
        await restore_newest(self.store, self.place, self.path)

    async def ship(self) -> bool:
        """Write the file to its state, unless S3 has it already; True when something was written.

        Raises:
            AsyncFilterError: File or state cannot be used.
        """
        if not await to_thread.run_sync(exists, self.path):
            return False
        draft = self.path.with_name(f".{self.path.name}.snapshot.zz")
        try:
            file = await to_thread.run_sync(_written, self.path, draft)
            seen = await read_head(self.store, self.place)
            if seen is not None and seen.head.snapshot is not None and seen.head.snapshot.sha256 == file.sha256.hex():
                return False
            await self._write(draft)
        finally:
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(remove, draft)
        return True

    async def _write(self, draft: Path) -> None:
        id_, rows = await to_thread.run_sync(_facts, self.path)
        seen = await read_head(self.store, self.place)
        # What another file has is merged, so that the id of either names all of it.
        identity = {"id": id_} if seen is None else seen.head.identity
        claim = Claim(
            place=self.place,
            identity=identity,
            newest_format=schema.FORMAT_VERSION,
            file_format=schema.FORMAT_VERSION,
            above_epoch=0,
            run_id="",
        )
        owner, taken = await take(
            self.store,
            claim,
            host=self.host,
            clock=self.clock,
            now_s=self.now_s,
            report=self.report,
            begins=lambda: None,
        )
        try:
            if taken.head is not None and taken.head.snapshot is not None:
                await self._merge(taken.head)
                _, rows = await to_thread.run_sync(_facts, self.path)
            file = await to_thread.run_sync(_written, self.path, draft)
            commit = owner.head.commit + 1
            where = self.place.new_snapshot(owner.head.state_id, commit)
            await owner.put_file(where, draft, file.sha256, file.size_bytes)
            former = owner.head.named_keys
            named = Snapshot(
                key=where.key,
                bytes=file.size_bytes,
                sha256=file.sha256.hex(),
                commit=commit,
                inflated_bytes=file.inflated_bytes,
            )
            await owner.rewrite(snapshot=named, segments=[], rows=rows, owner=None)
        except BaseException:
            with anyio.move_on_after(5, shield=True):
                await _let_go(lambda: owner.rewrite(owner=None))
            raise
        for key in former:
            await owner.delete(key)

    async def _merge(self, head: Head) -> None:
        """Add the rows that only S3 has."""
        other = self.path.with_name(f".{self.path.name}.committed")
        try:
            await to_thread.run_sync(_remove, other)
            await restore(self.store, self.place, head, other)
            await to_thread.run_sync(merge_files, self.path, [other])
        finally:
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(_remove, other)


@asynccontextmanager
async def answers_shipped(answers: AnswersShipping, caution: Report) -> AsyncIterator[None]:
    """Fetch a file that is missing here, and ship the file whenever it has changed, and at the end.

    A failure with people's answers costs no verdict: it is reported, and the command goes on.

    Raises:
        StateAwayError: The missing file cannot be fetched at the moment.
        AsyncFilterError: It cannot be fetched.
    """
    with translated_outage(answers.place.uri, "read"):
        await answers.fetch()
    error: Exception | None = None
    following = _Following(answers, caution)
    # First: the command obeys what other machines have added.
    await following.ship()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(following.run)
        try:
            yield
        except Exception as exc:  # noqa: BLE001  raised again below, outside of the group
            error = exc
        tasks.cancel_scope.cancel()
    await following.ship()
    if error is not None:
        raise error


class _Following:
    def __init__(self, answers: AnswersShipping, caution: Report) -> None:
        self._answers, self._caution = answers, caution
        self._shipped: _Marks = ()

    async def run(self) -> None:
        while True:
            await self._answers.clock.sleep(COMMIT_EVERY_S)
            await self.ship()

    async def ship(self) -> None:
        marks = await to_thread.run_sync(_marks, self._answers.path)
        if marks == self._shipped:
            return
        try:
            await self._answers.ship()
        except AsyncFilterError as error:
            self._caution(f"people's answers are not in {self._answers.place.uri} yet: {error.message}")
        else:
            # As they are now: a merge changes the file, too. What was added meanwhile is shipped at the next look.
            self._shipped = marks


async def _let_go(write: Callable[[], Awaitable[object]]) -> None:
    try:
        await write()
    except AsyncFilterError:
        return  # another process waits 15 s


def _written(path: Path, draft: Path) -> SnapshotFile:
    with closing(open_reading(real_path(path))) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT 1 FROM setting").fetchone()
        return write_snapshot(reader, draft)


def _facts(path: Path) -> tuple[str, int]:
    """Id of the file, and its rows."""
    reader = open_reader(path)
    if reader is None:
        raise FileNotFoundError(path)
    with reader:
        return reader.id, reader.last_serial()


def _marks(path: Path) -> _Marks:
    files = [one for one in (path, beside(path, "-wal")) if one.exists()]
    return tuple((status.st_size, status.st_mtime_ns) for status in (one.stat() for one in files))


def _remove(path: Path) -> None:
    for one in (path, *(beside(path, side) for side in SIDES)):
        one.unlink(missing_ok=True)
