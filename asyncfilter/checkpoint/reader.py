"""Reading a checkpoint that is not held: safe while a run writes to it, and nothing is changed.

Each call sees one snapshot of the file, however long it reads. It never blocks a run; the run's write-ahead log grows
until the call ends.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import msgspec

from asyncfilter.checkpoint.faults import translated, unreadable
from asyncfilter.checkpoint.journal import count_condemned
from asyncfilter.checkpoint.lock import Holder, holder
from asyncfilter.checkpoint.opening import DIED, beside, check_header, connect, stored_identity
from asyncfilter.checkpoint.rows import WITH_LABELS, RowCodec, select, unpack_etag
from asyncfilter.checkpoint.state import DECIDED_BY, NAME, TOTALS, WATERMARK, read_state
from asyncfilter.errors import CheckpointError
from asyncfilter.model import Counts
from asyncfilter.policy.removal import Condemnation
from asyncfilter.ports import StoredImage, Totals, Watermark

RUNNING = "running"
"""Outcome of a run that holds the checkpoint now."""


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
    """What a checkpoint holds at one moment.

    Attributes:
        name: The job that made it.
        identity: Source and detector settings that it is bound to.
        watermark: How far everything is settled.
        totals: Money and calls; what a running run has reserved is not in what is spent.
        decided_by: Fingerprint of what made the decisions; None before the first.
        seated: Images with a position in the order of examination.
        pending: Of these, the ones beyond the watermark: their actions are not all confirmed.
        spare: Images without a position, whose labels are paid for and free when they are listed.
        effects: Confirmed actions.
        listed: Objects in the stored listing of ``order: random``.
        size_bytes: Of the file and its write-ahead log.
        runs: The history, oldest first.
        held_by: The process that holds it now; None when there is none.
    """

    name: str
    identity: Mapping[str, str]
    watermark: Watermark
    totals: Totals
    decided_by: str | None
    seated: int
    pending: int
    spare: int
    effects: int
    listed: int
    size_bytes: int
    runs: Sequence[RunRecord]
    held_by: Holder | None


def read_status(path: Path) -> Status:
    """What the checkpoint at ``path`` holds.

    Raises:
        CheckpointUnreadableError: It is empty, damaged or not a checkpoint.
        CheckpointVersionError: A newer asyncfilter wrote it.
        CheckpointError: There is none, or it cannot be read.
    """
    path = path.resolve()
    held_before = holder(path)
    with _snapshot(path) as db:
        # Asked before and after the snapshot is taken: a run that ended or began in between did not die.
        held_by = holder(path) or held_before
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
            seated=_count(db, "image WHERE seq IS NOT NULL"),
            pending=_count(db, "image WHERE seq > ?", watermark.seq),
            spare=_count(db, "image WHERE seq IS NULL"),
            effects=_count(db, "effect"),
            listed=_count(db, "listing"),
            size_bytes=sum(side.stat().st_size for side in sides if side.exists()),
            runs=_runs(db, RUNNING if held_by else DIED),
            held_by=held_by,
        )


def count_pending(path: Path, which: Condemnation) -> int:
    """Images of the checkpoint at ``path`` that ``apply`` would propose under its decisions.

    Raises as ``read_status`` does.
    """
    with _snapshot(path.resolve()) as db:
        settled_by = read_state(db, DECIDED_BY, str)
        if which.is_empty or settled_by is None:
            return 0
        return count_condemned(db, msgspec.structs.replace(which, settled_by=settled_by))


def read_images(path: Path, *, batch: int = 1000) -> Iterator[StoredImage]:
    """All images of the checkpoint at ``path`` with their labels: in order of examination, then the spare ones by id.

    Memory stays flat: ``batch`` rows are held at a time. Raises as ``read_status`` does, when the first is asked for.
    """
    path = path.resolve()
    with _snapshot(path) as db:
        codec = RowCodec(db)
        for condition in ("WHERE seq IS NOT NULL ORDER BY seq", "WHERE seq IS NULL ORDER BY id"):
            rows = db.execute(select(WITH_LABELS) + condition)
            while some := rows.fetchmany(batch):
                yield from codec.images(some)


def read_duplicates(path: Path) -> Iterator[tuple[str, int, list[str]]]:
    """Groups of seated images with the same content: ETag, size in bytes, and keys in order of examination.

    Only ETags of objects uploaded in one part tell content. Raises as ``read_status`` does, when first asked.
    """
    query = (
        "SELECT etag, size_bytes, key FROM image WHERE seq IS NOT NULL AND (etag, size_bytes) IN (SELECT etag, "
        "size_bytes FROM image WHERE seq IS NOT NULL AND typeof(etag) = 'blob' AND length(etag) = 16 "
        "GROUP BY etag, size_bytes HAVING count(*) > 1) ORDER BY etag, size_bytes, seq"
    )
    with _snapshot(path.resolve()) as db:
        for (etag, size_bytes), rows in groupby(db.execute(query), key=itemgetter(0, 1)):
            yield unpack_etag(etag), size_bytes, [key for _, _, key in rows]


@contextmanager
def _snapshot(path: Path) -> Iterator[sqlite3.Connection]:
    if not path.exists():
        raise CheckpointError(f"{path}: there is no checkpoint", hint="Make one with `asyncfilter run`.")
    with translated(path):
        check_header(path)
        with closing(connect_reading(path)) as db:
            db.execute("PRAGMA query_only = ON")
            db.execute("BEGIN")
            db.execute("SELECT 1 FROM state").fetchone()  # The first read fixes the snapshot.
            yield db


def connect_reading(path: Path) -> sqlite3.Connection:
    """A connection for reading, which leaves no file behind and needs no right to write."""
    if beside(path, "-wal").exists():
        return connect(path, "ro")
    # Only a connection that may write removes the two empty files that SQLite puts beside the file. A file that cannot
    # be written, or whose folder cannot, is read as it is.
    if not os.access(path, os.W_OK):
        return connect(path, "ro&immutable=1")
    db = connect(path, "rw")
    try:
        db.execute("SELECT 1 FROM state").fetchone()
    except sqlite3.OperationalError:
        db.close()
        return connect(path, "ro&immutable=1")
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
