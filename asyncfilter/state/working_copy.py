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

from anyio import to_thread

from asyncfilter.checkpoint.archive import archive_checkpoint
from asyncfilter.checkpoint.changes import WHOLE, ChangeLog, Shipment, read_shipment
from asyncfilter.checkpoint.errors import translated
from asyncfilter.checkpoint.lock import RunLock
from asyncfilter.checkpoint.open_file import check_content, check_header, connect, sync_folder, translated_reading
from asyncfilter.checkpoint.place import SIDES, beside, checkpoint_exists, without_links
from asyncfilter.checkpoint.rows import WITH_LABELS, RowCodec, pack_etag, select
from asyncfilter.checkpoint.tables import Tables
from asyncfilter.errors import CheckpointError
from asyncfilter.ports.state_store import StateStore
from asyncfilter.records.images import StoredImage
from asyncfilter.records.progress import Batch
from asyncfilter.state.head import Head
from asyncfilter.state.names import StatePlace
from asyncfilter.state.restore import Restored, restore

_BATCH = 500


class Standing(StrEnum):
    """How a file stands to a state."""

    MISSING = "missing"
    CURRENT = "current"
    """Of the state, and nobody else has owned it since; what it holds beyond S3 is kept."""
    OLDER = "older"
    """Of the state, which another process went on with elsewhere."""
    OTHER = "other"
    """Of another state, or of none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkingCopy:
    """What became of the file on this machine.

    Attributes:
        standing: How it stood to the state before.
        restored: What was fetched; None when the file was kept.
        aside: The new name of a file that was moved aside; None without one.
        spare_rows: Answers of the older file that were taken in.
    """

    standing: Standing
    restored: Restored | None = None
    aside: Path | None = None
    spare_rows: int = 0


def check_beginning(place: StatePlace, path: Path, *, is_copy: bool) -> None:
    """Check that a state without a head may begin from what is on this machine.

    Raises:
        CheckpointError: S3 would be the truth, and there is a checkpoint that it does not know.
    """
    if is_copy or not checkpoint_exists(path):
        return
    raise CheckpointError(
        f"{place.uri}: there is no state, and {path} holds a checkpoint that would be left behind",
        hint=f"Begin the state from it with `asyncfilter state push {path} {place.uri}`, or move the file away.",
    )


def check_first_file(place: StatePlace, path: Path, head: Head) -> None:
    """Check that the file on this machine may be the first one of a state to which nothing was committed.

    A process that took the state and died may have left one that is not bound to it yet: it is used when it is empty.
    Nothing was paid for the state, so that one of an earlier epoch lacks nothing, either.

    Raises:
        CheckpointError: It is of something else, and holds images.
    """
    if standing_of(path, head, place) is not Standing.OTHER:
        return
    with translated_reading(without_links(path)) as db:
        if db.execute("SELECT 1 FROM image LIMIT 1").fetchone() is None:
            return
    raise CheckpointError(
        f"{place.uri}: nothing was committed to it yet, and {path} is a checkpoint that would be left behind",
        hint="Move the file away; or `asyncfilter state push` it to another prefix, and set `checkpoint:` to that.",
    )


def standing_of(path: Path, head: Head, place: StatePlace) -> Standing:
    """How the checkpoint at ``path``, which nobody works on, stands to a state.

    One of the same epoch may still lack commits: somebody may have put an old copy there. The newest commit may be
    missing in its notes alone, when the process died before it noted that S3 has the rows that were on their way.

    Raises:
        CheckpointError: It cannot be read.
    """
    if not checkpoint_exists(path):
        return Standing.MISSING
    shipment, ships = _shipment(path)
    if shipment.state_id != head.state_id:
        return Standing.OTHER
    commits = [name.commit for one in head.objects if (name := place.parse(one.key)) is not None]
    missing = sum(commit > shipment.commit for commit in commits)
    is_whole = missing == 0 or (missing == 1 and ships)
    return Standing.CURRENT if shipment.epoch >= head.epoch and is_whole else Standing.OLDER


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
    standing = await to_thread.run_sync(_locked_standing, path, head, place)
    if standing is Standing.CURRENT:
        return WorkingCopy(standing=standing)
    if standing is Standing.MISSING:
        return WorkingCopy(standing=standing, restored=await restore(store, place, head, path))
    newer = path.with_name(f".{path.name}.newer")
    await to_thread.run_sync(_remove, newer)
    restored = await restore(store, place, head, newer)
    spare, aside = await to_thread.run_sync(_replace, path, newer, standing)
    return WorkingCopy(standing=standing, restored=restored, aside=aside, spare_rows=spare)


def _locked_standing(path: Path, head: Head, place: StatePlace) -> Standing:
    lock = RunLock(path)
    try:
        lock.hold_file()
        return standing_of(path, head, place)
    finally:
        lock.release()


def _shipment(path: Path) -> tuple[Shipment, bool]:
    """What a file notes about its state, and whether it has rows on their way."""
    with translated(path):
        check_header(path)
        with translated_reading(path) as db:
            check_content(db, path)
            shipment = read_shipment(db)
            ships = shipment.state_id and db.execute("SELECT 1 FROM shipping LIMIT 1").fetchone()
            return shipment, bool(ships)


# -- An older file -----------------------------------------------------------------------------------------------------


def _replace(path: Path, newer: Path, standing: Standing) -> tuple[int, Path | None]:
    """Give ``newer`` the name of the file at ``path``, with what an older one has beyond the state.

    A file of another state, or that had something beyond the state, is kept under another name.
    """
    lock = RunLock(path)
    try:
        with translated(path):
            lock.hold_file()
            spare, has_more = _take_over(path, newer) if standing is Standing.OLDER else (0, True)
    finally:
        lock.release()
    aside = archive_checkpoint(path) if has_more else None
    with translated(path):
        if aside is None:
            for one in (*(beside(path, side) for side in SIDES), path):
                one.unlink(missing_ok=True)
        newer.rename(path)
        sync_folder(path)
    return spare, aside


def _take_over(old: Path, newer: Path) -> tuple[int, bool]:
    """Insert the answers that only the old file has as spare rows; their number, and whether it had anything more."""
    with translated_reading(old) as source, translated(newer), closing(connect(newer, "rw")) as db:
        if not source.execute("SELECT 1 FROM unshipped UNION ALL SELECT 1 FROM shipping LIMIT 1").fetchone():
            return 0, False
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
        return spare, True


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
