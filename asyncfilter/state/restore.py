"""From objects in S3 to an SQLite file: the snapshot, and the segments after it, in order.

The file is made beside its place and gets its name when it is whole and was checked, so that what was there before
stays there until then.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing, closing
from dataclasses import dataclass
from pathlib import Path

import anyio
from anyio import to_thread

from asyncfilter.checkpoint.changes import LOG_TABLES, ChangeLog
from asyncfilter.checkpoint.errors import CorruptRowError, is_damage, translated
from asyncfilter.checkpoint.open_file import connect, sync_folder
from asyncfilter.checkpoint.place import SIDES, beside
from asyncfilter.checkpoint.state import EPOCH, TOTALS, read_state
from asyncfilter.errors import AsyncFilterError, CheckpointError, CheckpointUnreadableError, ObjectChangedError
from asyncfilter.ports.state_store import StateStore
from asyncfilter.records.progress import Totals
from asyncfilter.state.fetching import fetch_segment, fetch_snapshot, read_head
from asyncfilter.state.files import KINDS, FileKind, check_restored
from asyncfilter.state.head import Head, Segment, check_file_format, damaged
from asyncfilter.state.names import StateKind, StatePlace, new_id
from asyncfilter.state.segments import apply_segment, counted_in

_AT_ONCE = 16
_AHEAD_BYTES = 64 << 20
"""Segments that are fetched at the same time, and their bytes."""

_TRIES = 5
"""How often a restoring begins again because the state went on meanwhile and its old objects were deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """A file that was made from a state.

    Attributes:
        head: What it was made from.
        bytes: Bytes that were fetched.
        wall_s: Time that it took.
    """

    head: Head
    bytes: int
    wall_s: float


async def restore(store: StateStore, place: StatePlace, head: Head, path: Path, *, is_copy: bool = False) -> Restored:
    """Make the file of a head at ``path``, where nothing is.

    The file records which state and commit it is of (``checkpoint.changes``), unless ``is_copy``: then it is a
    checkpoint of its own, which never passes for the state's.

    Raises:
        CheckpointError: An object is missing or damaged, of a newer asyncfilter, or the file cannot be written; then
            there is nothing at ``path``.
        AnswersError: The restored answers file cannot be used.
        ObjectChangedError: An object was replaced meanwhile.
    """
    started_s = time.monotonic()
    kind = KINDS[place.kind]
    check_file_format(head, place, kind.newest_format)
    if head.snapshot is None:
        raise CheckpointUnreadableError(
            f"{place.uri}: nothing was committed to it yet",
            hint="Run the job's command again where it began; it makes the first snapshot.",
        )
    # Only the owner of a state makes its file; any command may make a copy.
    draft = path.with_name(f".{path.name}.{new_id()}.restoring" if is_copy else f".{path.name}.restoring")
    await to_thread.run_sync(_remove, draft)
    try:
        await fetch_snapshot(store, place, head.snapshot, draft)
        await to_thread.run_sync(_checked, place, head.snapshot.key, draft, kind)
        await _apply_all(store, place, head, draft)
        await to_thread.run_sync(_finish, place, head, draft, kind, is_copy)
        with translated(path):
            await to_thread.run_sync(_rename, draft, path)
    finally:
        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(_remove, draft)
    fetched = sum(one.bytes for one in head.objects)
    return Restored(head=head, bytes=fetched, wall_s=time.monotonic() - started_s)


async def restore_newest(store: StateStore, place: StatePlace, path: Path) -> Restored | None:
    """Make a checkpoint of its own of what is committed at this moment; None when there is no state.

    Other processes may go on with the state meanwhile: when an object of the head that was read is gone since, and
    the head is another one by now, it begins again. Raises as ``restore``.
    """
    seen = await read_head(store, place)
    for attempt in range(1, _TRIES + 1):
        if seen is None:
            return None
        try:
            return await restore(store, place, seen.head, path, is_copy=True)
        except (CheckpointUnreadableError, ObjectChangedError):
            newer = await read_head(store, place)
            if attempt == _TRIES or (newer is not None and newer.etag == seen.etag):
                raise
            seen = newer
    raise AssertionError("unreachable")


async def _apply_all(store: StateStore, place: StatePlace, head: Head, draft: Path) -> None:
    if not head.segments:
        return
    with translated(draft):
        db = await to_thread.run_sync(_opened, draft)
        try:
            async with aclosing(_fetched(store, place, head.segments)) as fetched:
                async for segment, body in fetched:
                    await to_thread.run_sync(_apply, place, segment, body, db)
        finally:
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(db.close)


async def _fetched(
    store: StateStore, place: StatePlace, segments: Sequence[Segment]
) -> AsyncGenerator[tuple[Segment, bytes], None]:
    """All segments with their bytes, in order; some are fetched at the same time."""
    for some in _groups(segments):
        found = await _fetch_group(store, place, some)
        for number, segment in enumerate(some):
            yield segment, found.pop(number)


async def _fetch_group(store: StateStore, place: StatePlace, segments: Sequence[Segment]) -> dict[int, bytes]:
    """The bytes of some segments by their number; raises the first error."""
    bodies: dict[int, bytes] = {}
    errors: list[AsyncFilterError] = []

    async def fetch(number: int, segment: Segment) -> None:
        try:
            bodies[number] = await fetch_segment(store, place, segment)
        except AsyncFilterError as error:
            errors.append(error)
            tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        for number, segment in enumerate(segments):
            tasks.start_soon(fetch, number, segment)
    if errors:
        raise errors[0]
    return bodies


def _groups(segments: Sequence[Segment]) -> Iterator[list[Segment]]:
    group: list[Segment] = []
    for segment in segments:
        if group and (len(group) == _AT_ONCE or sum(one.bytes for one in group) + segment.bytes > _AHEAD_BYTES):
            yield group
            group = []
        group.append(segment)
    yield group


def _apply(place: StatePlace, segment: Segment, body: bytes, db: sqlite3.Connection) -> None:
    try:
        apply_segment(db, body, segment.inflated_bytes)
    except CorruptRowError as exc:
        raise damaged(place, segment.key, str(exc)) from exc
    except sqlite3.Error as exc:
        if is_damage(exc) or isinstance(exc, sqlite3.DataError | sqlite3.ProgrammingError):
            raise damaged(place, segment.key, f"its rows cannot be applied ({exc})") from exc
        raise


def _opened(path: Path) -> sqlite3.Connection:
    """A connection for writing to a draft, which is synced once, at its end."""
    db = connect(path, "rw")
    try:
        # Nothing of the file's own schema is run beyond what SQLite calls harmless, and pages are checked as they are
        # read.
        db.execute("PRAGMA trusted_schema = OFF")
        db.execute("PRAGMA cell_size_check = ON")
        db.execute("PRAGMA journal_mode = MEMORY")
        db.execute("PRAGMA synchronous = OFF")
    except BaseException:
        db.close()
        raise
    return db


def _checked(place: StatePlace, key: str, draft: Path, kind: FileKind) -> None:
    try:
        check_restored(draft, kind)
    except CheckpointError as error:
        raise damaged(place, key, f"it holds no file of asyncfilter: {error.message}") from error


def _finish(place: StatePlace, head: Head, draft: Path, kind: FileKind, is_copy: bool) -> None:  # noqa: FBT001  called by a thread
    """Record in the file what it is of, make it durable, and check it as every such file is."""
    with translated(draft), closing(_opened(draft)) as db:
        db.execute("PRAGMA synchronous = FULL")
        if is_copy:
            for name in LOG_TABLES:
                db.execute(f"DROP TABLE IF EXISTS {name}")
        elif place.kind is StateKind.CHECKPOINT:
            _note_origin(db, head)
    kind.check(draft)
    with draft.open("rb") as file:
        os.fsync(file.fileno())


def _note_origin(db: sqlite3.Connection, head: Head) -> None:
    """Note in a file that it is, row by row, what is committed; nothing of it is on its way."""
    log = ChangeLog(db)
    log.begin()
    db.execute("BEGIN IMMEDIATE")
    log.cut()
    log.bind(head.state_id, read_state(db, EPOCH, int) or 0, head.commit)
    log.confirm(head.commit, counted_in(read_state(db, TOTALS, Totals) or Totals()))
    db.execute("COMMIT")


def _rename(draft: Path, path: Path) -> None:
    if os.path.lexists(path):  # nothing is ever replaced
        raise FileExistsError(errno.EEXIST, "another program made it meanwhile", str(path))
    draft.rename(path)
    sync_folder(path)


def _remove(draft: Path) -> None:
    for one in (draft, draft.with_name(draft.name + ".zz"), *(beside(draft, side) for side in SIDES)):
        one.unlink(missing_ok=True)
