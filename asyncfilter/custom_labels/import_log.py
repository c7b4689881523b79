"""The ledger's record of imports: what was sent to a dataset, so that a command that was cut goes on where it was."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from asyncfilter.clock import Clock
from asyncfilter.custom_labels.ledger import Ledger
from asyncfilter.ports.model_service import DatasetType


class ImportMode(StrEnum):
    """How the entries of a dataset get there."""

    REFERENCE = "reference"
    """The dataset is made of a manifest in S3."""
    ENTRIES = "entries"
    """Lines are sent in batches."""
    SPLIT = "split"
    """The service moves a fifth of the training dataset."""


class ImportState(StrEnum):
    """The states of an import; the first two are open."""

    OPEN = "open"
    DONE = "done"
    """The service has everything; the result was not shown yet."""
    REPORTED = "reported"
    FAILED = "failed"
    DROPPED = "dropped"
    """Another import took its place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportPlan:
    """An import into one dataset, before it begins.

    Attributes:
        kind: The dataset.
        mode: How.
        digest: SHA-256 of the file; of the training file for a split.
        manifest: Address of the manifest that the dataset is made of; None for other modes.
        entries_before: Entries that the dataset has.
    """

    kind: DatasetType
    mode: ImportMode
    digest: str
    manifest: str | None = None
    entries_before: int = 0


@dataclass(slots=True, kw_only=True)
class Import:
    """A row of the record.

    Attributes:
        id: Its number.
        job: The imports that one command began have the same one.
        plan: As it was begun.
        state: See ``ImportState``.
        offset: Bytes of the file that the service has taken in.
        batches: Batches of them.
        is_sent: Whether the service has accepted the batch after them; of other modes, the call.
        dataset_arn: The dataset that it went to; None before anything was sent.
    """

    id: int
    job: str
    plan: ImportPlan
    state: ImportState
    offset: int
    batches: int
    is_sent: bool
    dataset_arn: str | None


class ImportLog:
    """The imports into the projects of one service.

    Args:
        ledger: The open ledger.
        clock: Gives the time.
        endpoint: Of the service; empty for AWS's own.
    """

    def __init__(self, ledger: Ledger, clock: Clock, *, endpoint: str) -> None:
        self._ledger = ledger
        self._clock = clock
        self._endpoint = endpoint

    def find(self, project_arn: str) -> list[Import]:
        """The imports of the project's last job that is not over, or whose result was not shown; empty for none."""
        with self._ledger.reading() as db:
            row = db.execute(
                "SELECT job FROM imports WHERE endpoint = ? AND project_arn = ? AND state IN ('open', 'done')"
                " ORDER BY id DESC LIMIT 1",
                (self._endpoint, project_arn),
            ).fetchone()
            return [] if row is None else _of_job(db, row[0])

    def find_last(self, project_arn: str) -> list[Import]:
        """The imports of the project's last job, whatever became of it; empty for none."""
        with self._ledger.reading() as db:
            row = db.execute(
                "SELECT job FROM imports WHERE endpoint = ? AND project_arn = ? ORDER BY id DESC LIMIT 1",
                (self._endpoint, project_arn),
            ).fetchone()
            return [] if row is None else _of_job(db, row[0])

    def begin(self, project_arn: str, plans: Sequence[ImportPlan]) -> list[Import]:
        """Write that a job begins; one that was open is dropped. Durable when this returns."""
        job = secrets.token_hex(8)
        with self._ledger.transaction() as db:
            db.execute(
                "UPDATE imports SET state = 'dropped', ended_at = ?"
                " WHERE endpoint = ? AND project_arn = ? AND state IN ('open', 'done')",
                (self._clock.unix(), self._endpoint, project_arn),
            )
            for plan in plans:
                db.execute(
                    "INSERT INTO imports (job, endpoint, project_arn, dataset, mode, digest, manifest, offset, batches,"
                    " sent, entries_before, state, asked_at) VALUES (?, ?, ?, ?, ?, ?, ?, 0, 0, 0, ?, 'open', ?)",
                    (job, self._endpoint, project_arn, *_columns(plan), self._clock.unix()),
                )
            return _of_job(db, job)

    def send(self, one: Import, dataset_arn: str) -> None:
        """Write that the service has accepted the next batch, or the call, for a dataset."""
        one.is_sent, one.dataset_arn = True, dataset_arn
        with self._ledger.transaction() as db:
            db.execute("UPDATE imports SET sent = 1, dataset_arn = ? WHERE id = ?", (dataset_arn, one.id))

    def advance(self, one: Import, offset: int) -> None:
        """Write that the service has taken in a batch that ends at ``offset``."""
        one.offset, one.batches, one.is_sent = offset, one.batches + 1, False
        with self._ledger.transaction() as db:
            db.execute(
                "UPDATE imports SET offset = ?, batches = ?, sent = 0 WHERE id = ?", (offset, one.batches, one.id)
            )

    def end(self, one: Import, state: ImportState) -> None:
        """Write that an import is over."""
        one.state = state
        with self._ledger.transaction() as db:
            db.execute(
                "UPDATE imports SET state = ?, ended_at = ? WHERE id = ?", (state.value, self._clock.unix(), one.id)
            )

    def report(self, job: str) -> None:
        """Write that the result of a job was shown."""
        with self._ledger.transaction() as db:
            db.execute("UPDATE imports SET state = 'reported' WHERE job = ? AND state = 'done'", (job,))


def _columns(plan: ImportPlan) -> tuple[object, ...]:
    return plan.kind.value, plan.mode.value, plan.digest, plan.manifest, plan.entries_before


def _of_job(db: sqlite3.Connection, job: str) -> list[Import]:
    rows = db.execute(
        "SELECT id, dataset, mode, digest, manifest, entries_before, state, offset, batches, sent, dataset_arn"
        " FROM imports WHERE job = ? ORDER BY id",
        (job,),
    ).fetchall()
    return [_import(job, row) for row in rows]


def _import(job: str, row: Sequence[object]) -> Import:
    number, dataset, mode, digest, manifest, before, state, offset, batches, sent, dataset_arn = row
    plan = ImportPlan(
        kind=DatasetType(str(dataset)),
        mode=ImportMode(str(mode)),
        digest=str(digest),
        manifest=None if manifest is None else str(manifest),
        entries_before=int(str(before)),
    )
    return Import(
        id=int(str(number)),
        job=job,
        plan=plan,
        state=ImportState(str(state)),
        offset=int(str(offset)),
        batches=int(str(batches)),
        is_sent=bool(sent),
        dataset_arn=None if dataset_arn is None else str(dataset_arn),
    )
