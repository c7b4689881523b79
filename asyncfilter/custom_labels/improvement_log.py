"""The ledger's record of improvements: which corrections go to which version, and how far that is."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from enum import StrEnum

from asyncfilter.clock import Clock
from asyncfilter.custom_labels.ledger import Ledger


class ImprovementState(StrEnum):
    """The states of an improvement; the first two are open."""

    OPEN = "open"
    """The corrections are being imported."""
    IMPORTED = "imported"
    """They are in the training dataset; the version is being trained, or its end was not shown yet."""
    SHOWN = "shown"
    """A command has shown the proposal."""
    FAILED = "failed"
    """A command has shown that the import or the training failed."""
    DROPPED = "dropped"
    """Other corrections took its place."""


OPEN_STATES = frozenset({ImprovementState.OPEN, ImprovementState.IMPORTED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Improvement:
    """A row of the record.

    Attributes:
        id: Its number.
        dataset_arn: The training dataset; one that was made anew has another ARN, and lacks what was imported.
        digest: SHA-256 of the corrections as the user gave them.
        version: Name of the version that is trained with them.
        old_version: The newest trained version at the beginning; None when there was none.
        entries_before: Entries of the training dataset at the beginning.
        added: Images that are new in the training dataset; None before they are imported. ``replaced`` alike.
        replaced: Images whose entry is another one.
        state: See ``ImprovementState``.
    """

    id: int
    dataset_arn: str
    digest: str
    version: str
    old_version: str | None
    entries_before: int
    added: int | None
    replaced: int | None
    state: ImprovementState

    @property
    def is_open(self) -> bool:
        """Whether its result was not shown yet."""
        return self.state in OPEN_STATES


class ImprovementLog:
    """The improvements of the projects of one service.

    Args:
        ledger: The open ledger.
        clock: Gives the time.
        endpoint: Of the service; empty for AWS's own.
    """

    def __init__(self, ledger: Ledger, clock: Clock, *, endpoint: str) -> None:
        self._ledger = ledger
        self._clock = clock
        self._endpoint = endpoint

    def last(self, project_arn: str) -> Improvement | None:
        """The last improvement of a project that was not dropped; None when there is none."""
        with self._ledger.reading() as db:
            return self._last(db, project_arn)

    def begin(
        self,
        project_arn: str,
        dataset_arn: str,
        digest: str,
        *,
        version: str,
        old_version: str | None,
        entries_before: int,
        seen: Improvement | None = None,
    ) -> Improvement:
        """Write that an improvement begins, or go on with the open one of the same corrections.

        One that is open with other corrections, or for a dataset that was there before, is dropped. One that goes on
        gets another version only if it is the one that the caller has ``seen``, for which nothing was trained then: one
        that another command has begun, or renamed, since then keeps its version. Durable when this returns.
        """
        with self._ledger.transaction() as db:
            found = self._last(db, project_arn)
            if found is not None and found.is_open and (found.dataset_arn, found.digest) == (dataset_arn, digest):
                if seen is not None and (seen.id, seen.version) == (found.id, found.version):
                    db.execute("UPDATE improvements SET version = ? WHERE id = ?", (version, found.id))
                return _get(db, found.id)
            now = self._clock.unix()
            db.execute(
                "UPDATE improvements SET state = 'dropped', ended_at = ?"
                " WHERE endpoint = ? AND project_arn = ? AND state IN ('open', 'imported')",
                (now, self._endpoint, project_arn),
            )
            made = db.execute(
                "INSERT INTO improvements (endpoint, project_arn, dataset_arn, digest, version, old_version,"
                " entries_before, state, asked_at) VALUES (?, ?, ?, ?, ?, ?, ?, 'open', ?)",
                (self._endpoint, project_arn, dataset_arn, digest, version, old_version, entries_before, now),
            )
            return _get(db, int(made.lastrowid or 0))

    def imported(self, one: Improvement, *, added: int, replaced: int) -> Improvement:
        """Write that the corrections are in the training dataset."""
        with self._ledger.transaction() as db:
            db.execute(
                "UPDATE improvements SET state = 'imported', added = ?, replaced = ? WHERE id = ? AND state = 'open'",
                (added, replaced, one.id),
            )
            return _get(db, one.id)

    def end(self, one: Improvement, state: ImprovementState) -> None:
        """Write that the result was shown."""
        with self._ledger.transaction() as db:
            db.execute(
                "UPDATE improvements SET state = ?, ended_at = ? WHERE id = ? AND state IN ('open', 'imported')",
                (state.value, self._clock.unix(), one.id),
            )

    def _last(self, db: sqlite3.Connection, project_arn: str) -> Improvement | None:
        row = db.execute(
            "SELECT id FROM improvements WHERE endpoint = ? AND project_arn = ? AND state <> 'dropped'"
            " ORDER BY id DESC LIMIT 1",
            (self._endpoint, project_arn),
        ).fetchone()
        return None if row is None else _get(db, row[0])


def _get(db: sqlite3.Connection, number: int) -> Improvement:
    dataset, digest, version, old, before, added, replaced, state = db.execute(
        "SELECT dataset_arn, digest, version, old_version, entries_before, added, replaced, state"
        " FROM improvements WHERE id = ?",
        (number,),
    ).fetchone()
    return Improvement(
        id=number,
        dataset_arn=dataset,
        digest=digest,
        version=version,
        old_version=old,
        entries_before=before,
        added=added,
        replaced=replaced,
        state=ImprovementState(state),
    )
