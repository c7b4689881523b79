"""Views of a checkpoint: what a small run before the main one sees of it and keeps in it.

A view is a ``Checkpoint``, checked as one by the type checker: it has the methods of the checkpoint behind it, but for
those of ``LabelStore`` and ``RunHistory`` that it replaces with its own.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from asyncfilter.job.fingerprint import decided_by
from asyncfilter.job.spec import Job
from asyncfilter.model import Counts, Failure, StopReason
from asyncfilter.ports import Batch, Checkpoint, Opened, Reference, StoredImage, Totals, Watermark
from asyncfilter.records.tally import Tally


class View:
    """What every view has of the checkpoint behind it: all but ``LabelStore`` and ``RunHistory``.

    Methods are taken over one by one, and only those that no view replaces. So a view that misspells the name of a
    method of its own lacks that method, and is not accepted where a ``Checkpoint`` is asked for.

    Args:
        checkpoint: Open, and held.
        opened: What the view reports that it held.
    """

    def __init__(self, checkpoint: Checkpoint, opened: Opened) -> None:
        self.location = checkpoint.location
        self.opened = opened
        self._checkpoint = checkpoint
        # Positions
        self.seated = checkpoint.seated
        self.at = checkpoint.at
        self.failed = checkpoint.failed
        self.unseat_after = checkpoint.unseat_after
        self.overshoot = checkpoint.overshoot
        self.decided = checkpoint.decided
        # RemovalJournal
        self.condemned = checkpoint.condemned
        self.count_condemned = checkpoint.count_condemned
        self.removals = checkpoint.removals
        self.owners = checkpoint.owners
        # ListingStore
        self.save_listing = checkpoint.save_listing
        self.listing = checkpoint.listing
        self.listing_state = checkpoint.listing_state
        self.drop_listing = checkpoint.drop_listing


class OpenedView(View):
    """The checkpoint itself, but for ``opened``.

    Args:
        checkpoint: Open, and held.
        opened: What the view reports that it held.
    """

    def __init__(self, checkpoint: Checkpoint, opened: Opened) -> None:
        super().__init__(checkpoint, opened)
        # LabelStore
        self.commit = checkpoint.commit
        self.by_keys = checkpoint.by_keys
        self.by_etags = checkpoint.by_etags
        self.rows = checkpoint.rows
        self.references = checkpoint.references
        # RunHistory
        self.begin_run = checkpoint.begin_run
        self.end_run = checkpoint.end_run


class SampleView(View):
    """For a sample: hides the progress of the main run, and does not change it.

    Images with a position look spare, so that they are decided again from their labels, and counted. New ones are kept
    as spare rows.

    Args:
        checkpoint: Open, and held.
        job: The job as its sample is examined.
        goes_on: True to continue the listing of the main run.
    """

    def __init__(self, checkpoint: Checkpoint, job: Job, *, goes_on: bool = False) -> None:
        opened, mark = _at_rest(checkpoint.opened, job), checkpoint.opened.watermark
        if goes_on and not mark.listing_done:
            opened.watermark.cursor, opened.watermark.pass_seq = mark.cursor, mark.pass_seq
        super().__init__(checkpoint, opened)
        self.commit = checkpoint.commit
        self.by_etags = checkpoint.by_etags
        self.rows = checkpoint.rows
        self.references = checkpoint.references
        self.begin_run = checkpoint.begin_run
        self.end_run = checkpoint.end_run

    async def by_keys(self, keys: Sequence[str]) -> Sequence[StoredImage]:
        """See ``LabelStore``: every row is spare, and has its labels."""
        rows = await self._checkpoint.by_keys(keys)
        whole = {row.id: row for row in await self._checkpoint.at([row.seq for row in rows if row.seq is not None])}
        return [_as_spare(whole.get(row.id, row)) for row in rows]


class ReferenceView(View):
    """For reference images: rows for the run that examines them, references in the checkpoint.

    Args:
        checkpoint: Open, and held.
        job: The job as its references are examined.

    Attributes:
        totals: As committed last.
        found: The references that were examined.
        failures: Why others could not be, by address.
    """

    def __init__(self, checkpoint: Checkpoint, job: Job) -> None:
        super().__init__(checkpoint, _at_rest(checkpoint.opened, job))
        self.by_etags = checkpoint.by_etags
        self.rows = checkpoint.rows
        self.references = checkpoint.references
        self.totals: Totals = checkpoint.opened.totals
        self.found: list[Reference] = []
        self.failures: dict[str, Failure] = {}

    async def commit(self, batch: Batch) -> None:
        """See ``LabelStore``: new rows become references, and nothing else but the totals is kept."""
        found = [
            Reference(uri=row.key, etag=row.etag, size_bytes=row.size_bytes, detection=row.detection)
            for row in batch.new
            if row.detection is not None
        ]
        await self._checkpoint.commit(Batch(references=found, totals=batch.totals))
        self.totals = batch.totals or self.totals
        self.found += found
        self.failures |= {row.key: row.failure for row in batch.new if row.failure is not None}

    async def by_keys(self, keys: Sequence[str]) -> Sequence[StoredImage]:
        """See ``LabelStore``: none, for only references that are not stored are examined."""
        del keys
        return ()

    async def begin_run(self, run_id: str, started_unix_s: float) -> None:
        """Does nothing: examining references is part of a run."""

    async def end_run(self, run_id: str, ended_unix_s: float, stop_reason: StopReason, counts: Counts) -> None:
        """Does nothing, as ``begin_run``."""


async def with_spare(checkpoint: Checkpoint, rows: Sequence[StoredImage], totals: Totals) -> Checkpoint:
    """The checkpoint with ``rows`` added, as it is opened to the run that follows.

    Args:
        checkpoint: Open, and held.
        rows: Spare; their ids are given here.
        totals: What is durable of them by now.
    """
    first = checkpoint.opened.next_id
    new = [msgspec.structs.replace(row, id=id_) for id_, row in enumerate(rows, first)]
    if new:
        await checkpoint.commit(Batch(new=new))
    opened = msgspec.structs.replace(
        checkpoint.opened, totals=msgspec.structs.replace(totals), next_id=first + len(new)
    )
    return OpenedView(checkpoint, opened)


def _at_rest(opened: Opened, job: Job) -> Opened:
    """``opened`` without progress, with the decisions of ``job``."""
    place = Watermark(seq=opened.watermark.seq, tally=Tally())
    return msgspec.structs.replace(opened, watermark=place, decided_by=decided_by(job))


def _as_spare(row: StoredImage) -> StoredImage:
    """The row without its position, and without the failure of an action: a sample carries out no actions."""
    return msgspec.structs.replace(row, seq=None, failure=row.failure if row.detection is None else None)
