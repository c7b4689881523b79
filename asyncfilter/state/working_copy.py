"""The file on this machine that a state is worked on in: whether it is that of the state, and how it becomes that.

Nothing that was paid for is lost on the way: a file of another state is renamed, and what an older file has beyond the
state is taken into the newer one as spare rows, which cost nothing when their images are met again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from anyio import to_thread

from asyncfilter.checkpoint.archive import archive_checkpoint
from asyncfilter.checkpoint.changes import WHOLE, ChangeLog, Counted, Shipment, read_shipment
from asyncfilter.checkpoint.errors import translated
from asyncfilter.checkpoint.lock import RunLock
from asyncfilter.checkpoint.open_file import check_content, check_header, connect, sync_folder, translated_reading
from asyncfilter.checkpoint.place import SIDES, beside, checkpoint_exists, without_links
from asyncfilter.checkpoint.rows import WITH_LABELS, RowCodec, pack_etag, select
from asyncfilter.checkpoint.state import TOTALS, read_state
from asyncfilter.checkpoint.tables import Tables
from asyncfilter.errors import CheckpointError
from asyncfilter.ports.state_store import StateStore
from asyncfilter.records.images import StoredImage
from asyncfilter.records.progress import Batch, Totals
from asyncfilter.state.head import Head
from asyncfilter.state.names import StatePlace, random_part
from asyncfilter.state.restore import Restored, restore
from asyncfilter.state.segments import counted_in

_BATCH = 500


class FileRelation(StrEnum):
    """How a file is related to a state."""

    MISSING = "missing"
    CURRENT = "current"
    """Of the state, with everything that is committed; what it holds beyond S3 is kept."""
    OLDER = "older"
    """Of the state, and lacks commits: another process went on elsewhere."""
    OTHER = "other"
    """Of another state, or of none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkingCopy:
    """What became of the file on this machine.

    Attributes:
        relation: How it stood to the state before.
        restored: What was fetched; None when the file was kept.
        aside: The new name of a file that was moved aside; None without one.
        spare_rows: Answers of the older file that were taken in.
        spent_micros: What was spent by the older file after its last commit, and is counted now.
    """

    relation: FileRelation
    restored: Restored | None = None
    aside: Path | None = None
    spare_rows: int = 0
    spent_micros: int = 0


def check_beginning(place: StatePlace, path: Path, *, is_authoritative: bool) -> None:
    """Check that a state without a head may begin from what is on this machine.

    Raises:
        CheckpointError: S3 would be authoritative, and there is a checkpoint that it does not know.
    """
    if not is_authoritative or not checkpoint_exists(path):
        return
    raise CheckpointError(
        f"{place.uri}: there is no state, and {path} holds a checkpoint that would be left behind",
        hint=f"Begin the state from it with `asyncfilter state push {path} {place.uri}`, or move the file away.",
    )


def check_first_file(place: StatePlace, path: Path, head: Head) -> None:
    """Check that the file on this machine may be the first one of a state to which nothing was committed.

    A process that took the state and was killed may have left one that is not bound to it yet: it is used when it is
        empty.
    Nothing was paid for the state, so that one of an earlier epoch lacks nothing, either.

    Raises:
        CheckpointError: It is of something else, and holds images.
    """
    if relation_of(path, head, place) is not FileRelation.OTHER:
        return
    with translated_reading(without_links(path)) as db:
        if db.execute("SELECT 1 FROM image LIMIT 1").fetchone() is None:
            return
    raise CheckpointError(
        f"{place.uri}: nothing was committed to it yet, and {path} is a checkpoint that would be left behind",
        hint="Move the file away; or `asyncfilter state push` it to another prefix, and set `checkpoint:` to that.",
    )


def relation_of(path: Path, head: Head, place: StatePlace) -> FileRelation:
    """How the checkpoint at ``path``, which no process works on, stands to a state.

    It is current when it lacks no commit, whichever process owned the state since: an owner that committed nothing
        leaves nothing
    to fetch. One of the last epoch may lack commits all the same: it may be an old copy that was put there. The newest
    commit may be missing in its notes alone, when the process was killed before it noted that S3 has the rows that were
    on their way: the name of their object, which the file has, shows it.

    Raises:
        CheckpointError: It cannot be read.
    """
    if not checkpoint_exists(path):
        return FileRelation.MISSING
    shipment = _shipment(path)
    if shipment.state_id != head.state_id:
        return FileRelation.OTHER
    missing = [one.key for one in head.objects if _commit_of(one.key, place) > shipment.commit]
    is_whole = not missing or (len(missing) == 1 and random_part(missing[0]) == shipment.cut)
    return FileRelation.CURRENT if is_whole else FileRelation.OLDER


def _commit_of(key: str, place: StatePlace) -> int:
    name = place.parse(key)
    return -1 if name is None else name.commit


async def bring_up(store: StateStore, place: StatePlace, head: Head, path: Path) -> WorkingCopy:
    """Make the checkpoint at ``path`` one of a state, with everything that is committed; called by its owner.

    Args:
        store: Where the state is.
        place: The state.
        head: As it was before this process took the state: ``epoch`` is that of the owner before.
        path: The file; its folder need not exist.

    Raises:
        CheckpointLockedError: A run on this machine holds the file.
        CheckpointError: The state or the file cannot be used; the file is as it was, or was moved aside.
    """
    path = without_links(path)
    with translated(path):
        await to_thread.run_sync(lambda: path.parent.mkdir(parents=True, exist_ok=True))
    relation = await to_thread.run_sync(_locked_relation, path, head, place)
    if relation is FileRelation.CURRENT:
        return WorkingCopy(relation=relation)
    if relation is FileRelation.MISSING:
        return WorkingCopy(relation=relation, restored=await restore(store, place, head, path))
    newer = path.with_name(f".{path.name}.newer")
    await to_thread.run_sync(_remove, newer)
    restored = await restore(store, place, head, newer)
    beyond, aside = await to_thread.run_sync(_replace, path, newer, relation)
    return WorkingCopy(
        relation=relation,
        restored=restored,
        aside=aside,
        spare_rows=beyond.spare_rows,
        spent_micros=beyond.spent.micros,
    )


def _locked_relation(path: Path, head: Head, place: StatePlace) -> FileRelation:
    lock = RunLock(path)
    try:
        lock.hold_file()
        return relation_of(path, head, place)
    finally:
        lock.release()


def _shipment(path: Path) -> Shipment:
    """What a file notes about its state."""
    with translated(path):
        check_header(path)
        with translated_reading(path) as db:
            check_content(db, path)
            return read_shipment(db)


# -- An older file -----------------------------------------------------------------------------------------------------


class _Beyond(NamedTuple):
    """What an older file had beyond the state.

    Attributes:
        has_more: Whether there was anything.
        spare_rows: Answers that were taken in.
        spent: What was spent for them and others, and counts as spent now.
    """

    has_more: bool
    spare_rows: int = 0
    spent: Counted = Counted(0, 0)


def _replace(path: Path, newer: Path, relation: FileRelation) -> tuple[_Beyond, Path | None]:
    """Give ``newer`` the name of the file at ``path``, with what an older one has beyond the state.

    A file of another state, or that had something beyond the state, is kept under another name.
    """
    lock = RunLock(path)
    try:
        with translated(path):
            lock.hold_file()
            beyond = _take_over(path, newer) if relation is FileRelation.OLDER else _Beyond(has_more=True)
    finally:
        lock.release()
    aside = archive_checkpoint(path) if beyond.has_more else None
    with translated(path):
        if aside is None:
            for one in (*(beside(path, side) for side in SIDES), path):
                one.unlink(missing_ok=True)
        newer.rename(path)
        sync_folder(path)
    return beyond, aside


def _take_over(old: Path, newer: Path) -> _Beyond:
    """Insert the answers that only the old file has as spare rows, and count what was spent after its last commit."""
    with translated_reading(old) as source, translated(newer), closing(connect(newer, "rw")) as db:
        if not source.execute("SELECT 1 FROM unshipped UNION ALL SELECT 1 FROM shipping LIMIT 1").fetchone():
            return _Beyond(has_more=False)
        tables = Tables(db, newer)
        tables.etag_index.load()  # before the log, whose triggers it would drop
        log = ChangeLog(db)
        log.begin()
        spare = 0
        for images in _beyond(source):
            new = _unknown(db, images)
            if new:
                tables.commit(Batch(new=new))
                spare += len(new)
        spent = _spent_beyond(source)
        _count_as_spent(db, tables, spent)
        return _Beyond(has_more=True, spare_rows=spare, spent=spent)


def _spent_beyond(source: sqlite3.Connection) -> Counted:
    """What was, or may have been, spent after the last commit of a file that needs no grants; no commit has it."""
    known = read_shipment(source).counted
    if known is None:
        return Counted(0, 0)
    mine = counted_in(read_state(source, TOTALS, Totals) or Totals())
    return Counted(max(0, mine.micros - known.micros), max(0, mine.calls - known.calls))


def _count_as_spent(db: sqlite3.Connection, tables: Tables, spent: Counted) -> None:
    """Reserve it: the next opening counts what is reserved as spent."""
    if not any(spent):
        return
    totals = read_state(db, TOTALS, Totals) or Totals()
    totals.reserved_micros += spent.micros
    totals.reserved_calls += spent.calls
    tables.commit(Batch(totals=totals))


def _beyond(source: sqlite3.Connection) -> Iterator[list[StoredImage]]:
    """The images with labels that S3 may not have, in batches; all of them where changes were not noted."""
    codec = RowCodec(source)
    notes = "SELECT name, id FROM unshipped UNION SELECT name, id FROM shipping"
    is_whole = source.execute(f"SELECT 1 FROM ({notes}) WHERE name = ?", WHOLE[:1]).fetchone()  # noqa: S608  a constant
    noted = "" if is_whole else f"AND id IN (SELECT id FROM ({notes}) WHERE name = 'image')"  # noqa: S608  a constant
    rows = source.execute(f"{select(WITH_LABELS)} WHERE detection IS NOT NULL AND same_as IS NULL {noted} ORDER BY id")
    while some := rows.fetchmany(_BATCH):
        yield codec.images(some)


def _unknown(db: sqlite3.Connection, images: list[StoredImage]) -> list[StoredImage]:
    """Those of which the newer file has no labels, as rows without a position."""
    query = "SELECT 1 FROM image WHERE key = ? AND etag = ? AND size_bytes = ? AND detection IS NOT NULL"
    (next_id,) = db.execute("SELECT coalesce(max(seq), 0) + 1 FROM sqlite_sequence WHERE name = 'image'").fetchone()
    new: list[StoredImage] = []
    seen: set[tuple[str, str, int]] = set()
    for image in images:
        version = (image.key, image.etag, image.size_bytes)
        if version in seen or db.execute(query, (image.key, pack_etag(image.etag), image.size_bytes)).fetchone():
            continue
        seen.add(version)
        new.append(
            StoredImage(
                id=next_id + len(new),
                seq=None,
                key=image.key,
                etag=image.etag,
                size_bytes=image.size_bytes,
                detection=image.detection,
            )
        )
    return new


def _remove(path: Path) -> None:
    with translated(path):
        for one in (path, *(beside(path, side) for side in SIDES)):
            one.unlink(missing_ok=True)
