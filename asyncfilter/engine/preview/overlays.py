"""Views of a checkpoint, which define what a preview run reads from it and writes to it.

A view is a ``Checkpoint``, and is type-checked as one: it has the methods of the checkpoint behind it, except those of
``LabelStore`` and ``RunHistory`` that it replaces by its own.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from asyncfilter.job.fingerprint import decided_by
from asyncfilter.job.spec import Job
from asyncfilter.model import Counts, Failure, StopReason
from asyncfilter.ports.checkpoint import Checkpoint
from asyncfilter.records.images import StoredImage, StoredReference
from asyncfilter.records.progress import Batch, Opened, Totals, Watermark
from asyncfilter.records.tally import Tally


class View:
    """The methods that every view takes from the checkpoint: all except ``LabelStore`` and ``RunHistory``.

    Methods are assigned one by one, and only those that no view replaces. So a view with a misspelt method lacks that
    method, and the type checker rejects it where a ``Checkpoint`` is required.

    Args:
        checkpoint: Open, and locked.
        opened: The state that the view reports as the checkpoint's.
    """

    def __init__(self, checkpoint: Checkpoint, opened: Opened) -> None:
        self.location = checkpoint.location
        self.opened = opened
        self._checkpoint = checkpoint
        # Positions
        self.positioned = checkpoint.positioned
        self.at = checkpoint.at
        self.failed = checkpoint.failed
        self.drop_positions_after = checkpoint.drop_positions_after
        self.overshoot = checkpoint.overshoot
        self.decided = checkpoint.decided
        # RemovalJournal
        self.pending_removals = checkpoint.pending_removals
        self.count_pending_removals = checkpoint.count_pending_removals
        self.removals = checkpoint.removals
        self.owners = checkpoint.owners
        # ListingStore
        self.save_listing = checkpoint.save_listing
        self.listing = checkpoint.listing
        self.listing_state = checkpoint.listing_state
        self.listing_origin = checkpoint.listing_origin
        self.listing_rank = checkpoint.listing_rank
        self.drop_listing = checkpoint.drop_listing
        self.save_ranges = checkpoint.save_ranges
        self.listing_ranges = checkpoint.listing_ranges
        self.listed_between = checkpoint.listed_between
        self.count_listed = checkpoint.count_listed
        self.spread_keys = checkpoint.spread_keys


class OpenedView(View):
    """The checkpoint itself, except for ``opened``.

    Args:
        checkpoint: Open, and locked.
        opened: The state that the view reports as the checkpoint's.
    """

    def __init__(self, checkpoint: Checkpoint, opened: Opened) -> None:
        super().__init__(checkpoint, opened)
        # LabelStore
        self.commit = checkpoint.commit
        self.by_keys = checkpoint.by_keys
        self.by_etags = checkpoint.by_etags
        self.rows = checkpoint.rows
        self.references = checkpoint.references
        self.labels = checkpoint.labels
        # RunHistory
        self.begin_run = checkpoint.begin_run
        self.end_run = checkpoint.end_run


class SampleView(View):
    """The view for a sample: hides the progress of the main run, and does not change it.

    Rows with a position are returned as cached rows, so that their images are decided again from their labels, and
    counted. New images are stored as cached rows.

    Args:
        checkpoint: Open, and locked.
        job: The job of the sample.
        goes_on: True to continue the listing where the main run ended.
    """

    def __init__(self, checkpoint: Checkpoint, job: Job, *, goes_on: bool = False) -> None:
        opened, mark = _without_progress(checkpoint.opened, job), checkpoint.opened.watermark
        if goes_on and not mark.listing_done:
            opened.watermark.cursor, opened.watermark.pass_seq = mark.cursor, mark.pass_seq
        super().__init__(checkpoint, opened)
        self.commit = checkpoint.commit
        self.by_etags = checkpoint.by_etags
        self.rows = checkpoint.rows
        self.references = checkpoint.references
        self.labels = checkpoint.labels
        self.begin_run = checkpoint.begin_run
        self.end_run = checkpoint.end_run

    async def by_keys(self, keys: Sequence[str]) -> Sequence[StoredImage]:
        """See ``LabelStore``: every row is returned as cached, with its labels."""
        rows = await self._checkpoint.by_keys(keys)
        whole = {row.id: row for row in await self._checkpoint.at([row.seq for row in rows if row.seq is not None])}
        return [_as_cached(whole.get(row.id, row)) for row in rows]


class ReferenceView(View):
    """The view for reference images: stores the rows of the preview run as references.

    Args:
        checkpoint: Open, and locked.
        job: The job of the references.

    Attributes:
        totals: The totals of the last commit.
        found: The references that were examined.
        failures: The failures of the other references, by address.
    """

    def __init__(self, checkpoint: Checkpoint, job: Job) -> None:
        super().__init__(checkpoint, _without_progress(checkpoint.opened, job))
        self.by_etags = checkpoint.by_etags
        self.rows = checkpoint.rows
        self.references = checkpoint.references
        self.labels = checkpoint.labels
        self.totals: Totals = checkpoint.opened.totals
        self.found: list[StoredReference] = []
        self.failures: dict[str, Failure] = {}

    async def commit(self, batch: Batch) -> None:
        """See ``LabelStore``: new rows become references; only these and the totals are stored."""
        found = [
            StoredReference(uri=row.key, etag=row.etag, size_bytes=row.size_bytes, detection=row.detection)
            for row in batch.new
            if row.detection is not None
        ]
        await self._checkpoint.commit(Batch(references=found, totals=batch.totals))
        self.totals = batch.totals or self.totals
        self.found += found
        self.failures |= {row.key: row.failure for row in batch.new if row.failure is not None}

    async def by_keys(self, keys: Sequence[str]) -> Sequence[StoredImage]:
        """See ``LabelStore``: no rows, since only references that are not stored are examined."""
        del keys
        return ()

    async def begin_run(self, run_id: str, started_unix_s: float) -> None:
        """Does nothing: the examination of references belongs to the run after it."""

    async def end_run(self, run_id: str, ended_unix_s: float, stop_reason: StopReason, counts: Counts) -> None:
        """Does nothing, like ``begin_run``."""


async def with_cached(checkpoint: Checkpoint, rows: Sequence[StoredImage], totals: Totals) -> Checkpoint:
    """Add ``rows`` to the checkpoint, and return it for the run that follows.

    Args:
        checkpoint: Open, and locked.
        rows: Cached rows; this function gives them ids.
        totals: The totals that are durable now.
    """
    first = checkpoint.opened.next_id
    new = [msgspec.structs.replace(row, id=id_) for id_, row in enumerate(rows, first)]
    if new:
        await checkpoint.commit(Batch(new=new))
    opened = msgspec.structs.replace(checkpoint.opened, totals=totals.copy(), next_id=first + len(new))
    return OpenedView(checkpoint, opened)


def _without_progress(opened: Opened, job: Job) -> Opened:
    """``opened`` without progress, as if ``job`` had made the decisions."""
    mark = Watermark(seq=opened.watermark.seq, tally=Tally())
    return msgspec.structs.replace(opened, watermark=mark, decided_by=decided_by(job))


def _as_cached(row: StoredImage) -> StoredImage:
    """The row without its position, without what people say, and without the failure of an action.

    A sample carries out no actions, and its estimates are about the rules: stop rules see nothing else.
    """
    failure = row.failure if row.detection is None else None
    return msgspec.structs.replace(row, seq=None, failure=failure, answer=None)
