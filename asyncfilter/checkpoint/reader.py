"""Reading of a checkpoint without holding its lock: safe while a run writes to it; nothing is changed.

Each call reads one snapshot of the file, however long it takes. It never blocks a run; the run's write-ahead log grows
until the call ends.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import msgspec

from asyncfilter.checkpoint.errors import translated, unreadable
from asyncfilter.checkpoint.file_lock import is_held, is_held_here
from asyncfilter.checkpoint.lock import Holder, holder
from asyncfilter.checkpoint.open_file import DIED, check_header, connect, has_wal, stored_identity
from asyncfilter.checkpoint.place import beside, checkpoint_exists, without_links
from asyncfilter.checkpoint.removal_journal import count_pending_removals
from asyncfilter.checkpoint.rows import WITH_LABELS, WITHOUT_LABELS, RowCodec, select, unpack_etag
from asyncfilter.checkpoint.schema import ACTIONS
from asyncfilter.checkpoint.sql import VALUES_PER_STATEMENT, chunks, marks
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
)
from asyncfilter.errors import CheckpointError
from asyncfilter.model import Counts, Label
from asyncfilter.policy.removal_query import RemovalQuery
from asyncfilter.printable import is_text
from asyncfilter.records.answers import TakenOver
from asyncfilter.records.draws import ImageCounts
from asyncfilter.records.images import StoredImage, StoredReference
from asyncfilter.records.known_model import NOTHING_KNOWN, KnownModel
from asyncfilter.records.progress import Totals, Watermark
from asyncfilter.records.removal import REMOVING

RUNNING = "running"
"""Outcome of a run that still holds the checkpoint."""


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One run in the checkpoint's history.

    Attributes:
        outcome: Its stop reason; ``running``, or ``died`` when no end was recorded.
        counts: Of the checkpoint at its end; None until it ended.
    """

    run_id: str
    started_unix_s: float
    ended_unix_s: float | None
    outcome: str
    counts: Counts | None


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """The content of a checkpoint at one moment, in figures.

    Attributes:
        name: The job that made it.
        identity: Source and detector settings that it is bound to.
        watermark: How far everything is settled.
        totals: Money and calls; ``spent`` excludes what a run in progress has reserved.
        decided_by: Fingerprint of rules, actions and limits that made the decisions; None before the first.
        positioned: Images with a position in the order of examination.
        pending: Of these, the ones beyond the watermark, whose actions are not all confirmed.
        cached: Images without a position, whose labels are paid for and free when they are listed.
        effects: Confirmed actions.
        listed: Objects in the stored listing of ``order: random``.
        size_bytes: Of the file and its write-ahead log.
        runs: The history, oldest first.
        held_by: The process that holds it now; None when there is none.
        model: What is known about the detector's model.
        taken_over: How far it follows an answers file; None where no answer was ever taken over.
        epoch: Number of the last opening for writing; 0 in a file from before these were counted.
    """

    name: str
    identity: Mapping[str, str]
    watermark: Watermark
    totals: Totals
    decided_by: str | None
    positioned: int
    pending: int
    cached: int
    effects: int
    listed: int
    size_bytes: int
    runs: Sequence[RunRecord]
    held_by: Holder | None
    model: KnownModel = NOTHING_KNOWN
    taken_over: TakenOver | None = None
    epoch: int = 0

    @property
    def answers(self) -> int:
        """Images with labels: those with a verdict, and those that are paid for and not counted yet."""
        return self.watermark.tally.judged + self.cached


def read_status(path: Path, *, owner: Holder | None = None) -> Status:
    """The status of the checkpoint at ``path``.

    Args:
        path: The file.
        owner: Who works on what the file is a copy of, where it is one; None when nobody does.

    Raises:
        CheckpointUnreadableError: It is empty, damaged or not a checkpoint.
        CheckpointVersionError: A newer asyncfilter wrote it.
        CheckpointError: There is none, or it cannot be read.
    """
    path = without_links(path)
    held_before = holder(path)
    with _snapshot(path) as db:
        # Read before and after the snapshot is taken: a run that ended or began in between was not killed.
        held_by = owner or holder(path) or held_before
        watermark, totals = read_state(db, WATERMARK, Watermark), read_state(db, TOTALS, Totals)
        if watermark is None or totals is None:
            raise unreadable(path, "the file is damaged (without its watermark or totals)")
        sides = [path, beside(path, "-wal")]
        return Status(
            name=read_state(db, NAME, str) or "",
            identity=stored_identity(db),
            watermark=watermark,
            totals=totals,
            decided_by=read_state(db, DECIDED_BY, str),
            positioned=_count(db, "image WHERE seq IS NOT NULL"),
            pending=_count(db, "image WHERE seq > ?", watermark.seq),
            cached=_count(db, "image WHERE seq IS NULL"),
            effects=_count(db, "effect"),
            listed=_count(db, "listing"),
            size_bytes=sum(side.stat().st_size for side in sides if side.exists()),
            runs=_runs(db, RUNNING if held_by else DIED),
            held_by=held_by,
            model=read_state(db, MODEL, KnownModel) or NOTHING_KNOWN,
            taken_over=read_state(db, ANSWERS, TakenOver),
            epoch=read_state(db, EPOCH, int) or 0,
        )


def read_identity(path: Path) -> Mapping[str, str]:
    """Source and detector settings that the checkpoint at ``path`` is bound to; raises as ``read_status`` does."""
    with _snapshot(without_links(path)) as db:
        return stored_identity(db)


def read_epoch(path: Path) -> int:
    """Number of the last opening of the checkpoint at ``path`` for writing; raises as ``read_status`` does."""
    with _snapshot(without_links(path)) as db:
        return read_state(db, EPOCH, int) or 0


def read_uid(path: Path) -> str | None:
    """The checkpoint's own name, which no other has; None before its first opening. Raises as ``read_status`` does."""
    with _snapshot(without_links(path)) as db:
        return read_state(db, UID, str)


def read_taken_over(path: Path) -> TakenOver | None:
    """How far the checkpoint at ``path`` follows an answers file; raises as ``read_status`` does."""
    with _snapshot(without_links(path)) as db:
        return read_state(db, ANSWERS, TakenOver)


def count_pending(path: Path, which: RemovalQuery) -> int:
    """Images of the checkpoint at ``path`` that ``apply`` would propose under its decisions.

    Raises as ``read_status`` does.
    """
    with _snapshot(without_links(path)) as db:
        settled_by = read_state(db, DECIDED_BY, str)
        if which.is_empty or settled_by is None:
            return 0
        return count_pending_removals(db, msgspec.structs.replace(which, settled_by=settled_by))


def read_labels(path: Path, *, boxes: bool = False) -> list[Label]:
    """Every label that images of the checkpoint at ``path``, or its references, had; see ``LabelStore.labels``.

    Raises as ``read_status`` does.
    """
    with _snapshot(without_links(path)) as db:
        of_references = [label for one in read_references(db) for label in one.detection.labels]
        return [*RowCodec(db).every_label(boxes=boxes), *of_references]


def read_stored_references(path: Path) -> list[StoredReference]:
    """The reference images of the checkpoint at ``path``, by address.

    Raises as ``read_status`` does.
    """
    with _snapshot(without_links(path)) as db:
        return read_references(db)


def read_images(
    path: Path, *, batch: int = 1000, is_asked: Callable[[Label], bool] | None = None
) -> Iterator[StoredImage]:
    """All images of the checkpoint at ``path`` with their labels: in order of examination, then the cached ones by id.

    Memory is bounded: ``batch`` rows are held at a time. With ``is_asked`` only the labels for which it is true, and no
    boxes; this takes a third of the time. Raises as ``read_status`` does, when iteration begins.
    """
    path = without_links(path)
    with _snapshot(path) as db:
        codec = RowCodec(db)
        for condition in ("WHERE seq IS NOT NULL ORDER BY seq", "WHERE seq IS NULL ORDER BY id"):
            rows = db.execute(select(WITH_LABELS) + condition)
            while some := rows.fetchmany(batch):
                yield from codec.images(some, is_asked)


def read_images_named(path: Path, keys: Iterable[str], *, labels: bool = False) -> Iterator[StoredImage]:
    """The images with these keys of the checkpoint at ``path``, cached ones too; with their labels where asked.

    Raises as ``read_status`` does, when iteration begins.
    """
    with _snapshot(without_links(path)) as db:
        codec = RowCodec(db)
        for some in chunks(sorted({key for key in keys if is_text(key)}), VALUES_PER_STATEMENT):
            query = f"{select(WITH_LABELS if labels else WITHOUT_LABELS)} WHERE key IN ({marks(len(some))}) ORDER BY id"
            yield from codec.images(db.execute(query, some).fetchall())


def count_outside(path: Path, *, skips_duplicates: bool, after_seq: int) -> ImageCounts:
    """Images of the checkpoint at ``path`` that are in no population of an audit, and those behind a position.

    Raises as ``read_status`` does.
    """
    kinds = ", ".join(str(ACTIONS[kind]) for kind in sorted(REMOVING))
    removed = f"EXISTS (SELECT 1 FROM effect WHERE effect.image = image.id AND kind IN ({kinds}))"  # noqa: S608  numbers
    placed = f"image WHERE seq IS NOT NULL AND NOT {removed}"
    with _snapshot(without_links(path)) as db:
        duplicates = (
            _count(db, f"{placed} AND detection IS NOT NULL AND same_as IS NOT NULL") if skips_duplicates else 0
        )
        return ImageCounts(
            failed=_count(db, f"{placed} AND detection IS NULL"),
            unplaced=_count(db, "image WHERE seq IS NULL"),
            removed=_count(db, f"image WHERE seq IS NOT NULL AND {removed}"),
            duplicate=duplicates,
            later=_count(db, "image WHERE seq > ? AND detection IS NOT NULL", after_seq),
        )


def read_duplicates(path: Path) -> Iterator[tuple[str, int, list[str]]]:
    """Groups of placed images with the same content: ETag, size in bytes, and keys in order of examination.

    Only ETags of objects uploaded in one part identify content. Raises as ``read_status`` does, when iteration begins.
    """
    query = (
        "SELECT etag, size_bytes, key FROM image WHERE seq IS NOT NULL AND (etag, size_bytes) IN (SELECT etag, "
        "size_bytes FROM image WHERE seq IS NOT NULL AND typeof(etag) = 'blob' AND length(etag) = 16 "
        "GROUP BY etag, size_bytes HAVING count(*) > 1) ORDER BY etag, size_bytes, seq"
    )
    with _snapshot(without_links(path)) as db:
        for (etag, size_bytes), rows in groupby(db.execute(query), key=itemgetter(0, 1)):
            yield unpack_etag(etag), size_bytes, [key for _, _, key in rows]


@contextmanager
def snapshot(path: Path) -> Iterator[sqlite3.Connection]:
    """One snapshot of the checkpoint at ``path``, read only.

    Args:
        path: From ``without_links``.

    Raises as ``read_status`` does.
    """
    with _snapshot(path) as db:
        yield db


@contextmanager
def _snapshot(path: Path) -> Iterator[sqlite3.Connection]:
    if not checkpoint_exists(path):
        raise CheckpointError(f"{path}: there is no checkpoint", hint="Make one with `asyncfilter run`.")
    with translated(path):
        # A run of this process has checked it, and closing another handle on it would release SQLite's locks.
        if not is_held_here(path):
            check_header(path)
        _check_no_run_elsewhere(path)
        with closing(connect_reading(path)) as db:
            db.execute("PRAGMA query_only = ON")
            db.execute("BEGIN")
            db.execute("SELECT 1 FROM state").fetchone()  # The first read fixes the snapshot.
            yield db


def _check_no_run_elsewhere(path: Path) -> None:
    """Check that no run works on the file under another name, beside which is the log of its changes.

    Raises:
        CheckpointError: One does.
    """
    # In this order, and again: a run locks the name first and releases it last.
    if is_held(path) and holder(path) is None and is_held(path):
        raise CheckpointError(
            f"{path}: a run works on this file under another name or mount of it, which has the latest results",
            hint="Use that name, or wait until the run ends.",
        )


def connect_reading(path: Path) -> sqlite3.Connection:
    """A connection for reading, which leaves no new file and needs no write permission."""
    may_write = os.access(path, os.W_OK)
    # An empty one may be left by an attempt that failed, as on a full disk: it is as good as none.
    if has_wal(path) or (not may_write and beside(path, "-wal").exists()):
        return connect(path, "ro")
    # Only a connection that may write removes the two empty files that SQLite creates in the folder. A file that is
    # read-only, or in a read-only folder, is opened read-only.
    if not may_write:
        return connect(path, "ro&immutable=1")
    db = connect(path, "rw")
    try:
        db.execute("SELECT 1 FROM state").fetchone()
    except sqlite3.OperationalError:
        db.close()
        if is_held(path):  # what a run writes meanwhile would be read in part
            raise
        return connect(path, "ro&immutable=1")
    except BaseException:
        db.close()
        raise
    return db


def _count(db: sqlite3.Connection, rows: str, *parameters: int) -> int:
    (found,) = db.execute(f"SELECT count(*) FROM {rows}", parameters).fetchone()  # noqa: S608  constants
    return int(found)


def _runs(db: sqlite3.Connection, unfinished: str) -> list[RunRecord]:
    query = "SELECT id, started_unix_s, ended_unix_s, outcome, counts FROM run ORDER BY started_unix_s, rowid"
    return [
        RunRecord(
            run_id=run_id,
            started_unix_s=started_unix_s,
            ended_unix_s=ended_unix_s,
            outcome=outcome or unfinished,
            counts=None if counts is None else msgspec.json.decode(counts, type=Counts),
        )
        for run_id, started_unix_s, ended_unix_s, outcome, counts in db.execute(query)
    ]
