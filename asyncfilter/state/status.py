"""What a checkpoint on this machine has noted about its state in S3, read beside a run and without a request."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import msgspec

from asyncfilter.checkpoint.changes import WHOLE, Shipment, read_shipment
from asyncfilter.checkpoint.place import without_links
from asyncfilter.checkpoint.reader import snapshot
from asyncfilter.job.spec import Job
from asyncfilter.state.head import Head
from asyncfilter.state.names import place_of

_NOTES = "SELECT name, id FROM unshipped UNION SELECT name, id FROM shipping"


class StateStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A state, for ``status``.

    Attributes:
        uri: Its address.
        mode: ``checkpoint`` where S3 is the truth, ``copy`` where S3 follows a file.
        state_id: Empty when nothing was ever committed.
        epoch: Of the last owner that is known here.
        commit: The last commit that is known here.
        committed_rows: Images in it, as far as it is known here.
        behind_rows: Rows of the file on this machine that may be in no commit.
        age_s: Seconds since the commit, by the store's clock; None where S3 was not asked.
    """

    uri: str
    mode: str
    state_id: str
    epoch: int
    commit: int
    committed_rows: int
    behind_rows: int
    age_s: float | None = None


def read_state_status(job: Job, head: Head | None = None, age_s: float | None = None) -> StateStatus | None:
    """What is known about the state of a job without asking S3 again; None for a job without one.

    Args:
        job: The job.
        head: Of what was fetched; None where the checkpoint is the job's own file.
        age_s: Seconds since the head was written.

    Raises:
        CheckpointError: The checkpoint cannot be read.
    """
    place = place_of(job)
    if place is None or job.state is None:
        return None
    mode = "checkpoint" if job.state.is_authoritative else "copy"
    if head is None:
        return _noted_status(read_noted(job.checkpoint), place.uri, mode)
    return StateStatus(
        uri=place.uri,
        mode=mode,
        state_id=head.state_id,
        epoch=head.epoch,
        commit=head.commit,
        committed_rows=head.rows,
        behind_rows=0,
        age_s=age_s,
    )


def _noted_status(noted: Noted, uri: str, mode: str) -> StateStatus:
    shipment = noted.shipment
    return StateStatus(
        uri=uri,
        mode=mode,
        state_id=shipment.state_id,
        epoch=shipment.epoch,
        commit=shipment.commit,
        committed_rows=noted.committed_rows,
        behind_rows=noted.behind_rows,
    )


class Noted(NamedTuple):
    """What a file notes: its state, and rows that S3 has and may not have."""

    shipment: Shipment
    committed_rows: int
    behind_rows: int


def read_noted(path: Path) -> Noted:
    """What the checkpoint at ``path`` notes about its state.

    Raises:
        CheckpointError: There is none, or it cannot be read.
    """
    with snapshot(without_links(path)) as db:
        shipment = read_shipment(db)
        (rows,) = db.execute("SELECT count(*) FROM image").fetchone()
        if not shipment.state_id:
            return Noted(shipment, 0, rows)
        if db.execute(f"SELECT 1 FROM ({_NOTES}) WHERE name = ? AND id = ?", WHOLE).fetchone():  # noqa: S608  a constant
            return Noted(shipment, 0, rows)
        (behind,) = db.execute(f"SELECT count(*) FROM ({_NOTES})").fetchone()  # noqa: S608  a constant
        (images,) = db.execute(f"SELECT count(*) FROM ({_NOTES}) WHERE name = 'image'").fetchone()  # noqa: S608  a constant
        return Noted(shipment, max(0, rows - images), behind)
