"""The ledger's record of trainings: the name of a version is on disk before it is paid for."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from enum import StrEnum

from asyncfilter.clock import Clock
from asyncfilter.custom_labels.ledger import Ledger
from asyncfilter.model import S3Location, location


class TrainingState(StrEnum):
    """The states of a training in the ledger; the first two are open."""

    INTENT = "intent"
    """It may have been asked for."""
    STARTED = "started"
    """The service has it."""
    REPORTED = "reported"
    """A command has shown its end."""
    DROPPED = "dropped"
    """It was certainly not started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """A row of the record.

    Attributes:
        id: Its number.
        version: Name of the version.
        output: Bucket and prefix of what it writes.
        kms_key: Key of its files; None for the service's own.
        state: See ``TrainingState``.
    """

    id: int
    version: str
    output: S3Location
    kms_key: str | None
    state: TrainingState


class TrainingLog:
    """The trainings of the projects of one service.

    Args:
        ledger: The open ledger.
        clock: Gives the time.
        endpoint: Of the service; empty for AWS's own.
    """

    def __init__(self, ledger: Ledger, clock: Clock, *, endpoint: str) -> None:
        self._ledger = ledger
        self._clock = clock
        self._endpoint = endpoint

    def find_open(self, project_arn: str) -> Training | None:
        """The training of a project that is not over, or whose end was not shown yet; None when there is none."""
        with self._ledger.reading() as db:
            return self._open(db, project_arn)

    def begin(
        self, project_arn: str, version: str, *, output: S3Location, kms_key: str | None
    ) -> tuple[Training, bool]:
        """Write that a training is about to be asked for; durable when this returns.

        Returns:
            Its row, and True; or the open one of the project, which another command has begun, and False.
        """
        with self._ledger.transaction() as db:
            if found := self._open(db, project_arn):
                return found, False
            made = db.execute(
                "INSERT INTO trainings (endpoint, project_arn, version, output, kms_key, state, asked_at)"
                " VALUES (?, ?, ?, ?, ?, 'intent', ?)",
                (self._endpoint, project_arn, version, output.uri, kms_key, self._clock.unix()),
            )
            row = Training(
                id=int(made.lastrowid or 0), version=version, output=output, kms_key=kms_key, state=TrainingState.INTENT
            )
        return row, True

    def start(self, training: Training, version_arn: str) -> None:
        """Write that the service has a training."""
        with self._ledger.transaction() as db:
            db.execute(
                "UPDATE trainings SET state = 'started', version_arn = ? WHERE id = ? AND state = 'intent'",
                (version_arn, training.id),
            )

    def end(self, training_id: int, state: TrainingState) -> None:
        """Write that a training is closed, so that the next one may be begun."""
        with self._ledger.transaction() as db:
            db.execute(
                "UPDATE trainings SET state = ?, ended_at = ? WHERE id = ?",
                (state.value, self._clock.unix(), training_id),
            )

    def forget(self, project_arn: str, version: str) -> None:
        """Close the training of a version that was deleted: there is no end to show."""
        with self._ledger.transaction() as db:
            db.execute(
                "UPDATE trainings SET state = 'reported', ended_at = ? WHERE endpoint = ? AND project_arn = ?"
                " AND version = ? AND state IN ('intent', 'started')",
                (self._clock.unix(), self._endpoint, project_arn, version),
            )

    def _open(self, db: sqlite3.Connection, project_arn: str) -> Training | None:
        row = db.execute(
            "SELECT id, version, output, kms_key, state FROM trainings"
            " WHERE endpoint = ? AND project_arn = ? AND state IN ('intent', 'started')",
            (self._endpoint, project_arn),
        ).fetchone()
        if row is None:
            return None
        number, version, output, kms_key, state = row
        return Training(
            id=number, version=version, output=location(output), kms_key=kms_key, state=TrainingState(state)
        )
