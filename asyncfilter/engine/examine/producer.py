"""The producer: makes work items, in the order of examination, from the listing and from stored rows.

There are two inputs, always in this order: failed images that are tried again (``retries``), and the listing from the
cursor on. The free checks are made here. An object that the checkpoint holds unchanged is only counted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TypeVar

from anyio.lowlevel import checkpoint

from asyncfilter.engine.core.known_answers import KnownAnswers
from asyncfilter.engine.core.listing import ListingReader, following
from asyncfilter.engine.core.row_ids import RowIds
from asyncfilter.engine.core.work_item import WorkItem
from asyncfilter.model import ListedObject, ObjectRef, Skip
from asyncfilter.policy.empty_listing import SAMPLE_KEYS, note_skipped
from asyncfilter.policy.matching import match
from asyncfilter.ports.checkpoint import LabelStore, Positions
from asyncfilter.records.images import StoredImage

BATCH_IMAGES = 1000
"""Stored images read at a time: as many as one page of a listing."""

PORTION = 100
"""Objects of a page that are looked at in one go: half a millisecond of work."""

NEVER_AGAIN = frozenset({"changed", "vanished"})
"""Failures that are not tried again: the object is gone or replaced, and only the listing has its new version."""

T = TypeVar("T")


class Producer:
    """Makes work items and numbers them in order.

    Args:
        reader: Reads the listing.
        labels: Gives the stored rows of keys, and their labels.
        positions: Gives the images that failed.
        bucket: The bucket of the objects.
        check: Returns the reason why a listed object is not examined, or None.
        skips_duplicates: True when known images that are duplicates of an earlier one count as skipped.
        retry_failed: True to try images again that failed beyond the position at which the last run stopped.
        answers: What people say about the images.
        next_seq: Position of the next image in the order of examination.
        ids: Gives the ids of new rows.
    """

    def __init__(
        self,
        *,
        reader: ListingReader,
        labels: LabelStore,
        positions: Positions,
        bucket: str,
        check: Callable[[ListedObject], Skip | None],
        skips_duplicates: bool,
        retry_failed: bool = False,
        answers: KnownAnswers | None = None,
        next_seq: int,
        ids: RowIds,
    ) -> None:
        self._reader = reader
        self._labels = labels
        self._positions = positions
        self._bucket = bucket
        self._check = check
        self._skips_duplicates = skips_duplicates
        self._retry_failed = retry_failed
        self._answers = answers
        self._next_seq = next_seq
        self._ids = ids
        self.trailing_listed = 0
        """Objects listed after the last image; ``trailing_skipped``: those of them that were skipped, by reason."""
        self.trailing_skipped: dict[str, int] = {}
        self.skipped_keys: dict[str, list[str]] = {}
        """The first keys that were skipped, by reason; complete while there is no image."""

    @property
    def has_stored_none(self) -> bool:
        """True when neither this run nor any before it has stored an image."""
        return self._ids.next_id == 1

    async def retries(self, up_to_seq: int) -> AsyncIterator[list[WorkItem]]:
        """Yield the failed images up to ``up_to_seq``, to be tried again; one with labels is not paid for again."""
        after_seq = 0
        while rows := await self._positions.failed(after_seq, up_to_seq, BATCH_IMAGES):
            after_seq = rows[-1].seq or up_to_seq
            again = [row for row in rows if row.failure is not None and row.failure.code not in NEVER_AGAIN]
            yield await self._asked([self._retried(row) for row in again])

    async def listing(self, cursor: str | None) -> AsyncIterator[list[WorkItem]]:
        """Yield the images that the source lists after the key ``cursor``, page by page.

        Raises:
            AccessError: The source cannot be listed, or no longer.
            DrainedError: The run ends before a page could be read.
        """
        while True:
            page = await self._reader.page(cursor)
            yield await self._admitted(page.objects)
            if page.is_last:
                return
            cursor = following(page, cursor)

    async def _admitted(self, objects: Sequence[ListedObject]) -> list[WorkItem]:
        wanted = [(listed, self._check(listed)) async for listed in _in_portions(objects)]
        known = await self._known([listed.key for listed, skip in wanted if skip is None])
        items: list[WorkItem] = []
        async for listed, skip in _in_portions(wanted):
            self.trailing_listed += 1
            if skip is not None:
                self._skip(skip, listed.key)
                continue
            item = self._listed(listed, known.get(listed.key, ()))
            if item is not None:
                items.append(item)
        return await self._asked(items)

    async def _asked(self, items: list[WorkItem]) -> list[WorkItem]:
        """The images of one page with what people say about them."""
        if self._answers is not None:
            await self._answers.attach(items)
        return items

    def _skip(self, reason: Skip, key: str) -> None:
        number = self.trailing_skipped.get(reason.value, 0)
        self.trailing_skipped[reason.value] = number + 1
        if number < SAMPLE_KEYS:
            note_skipped(self.skipped_keys, reason.value, key)

    async def _known(self, keys: list[str]) -> dict[str, list[StoredImage]]:
        known: dict[str, list[StoredImage]] = defaultdict(list)
        if keys:
            rows = await self._labels.by_keys(keys)
            removed = [row.id for row in rows if row.seq is not None and row.removal is not None]
            # `by_keys` reads labels of cached rows only; an object that came back after its removal needs those of its
            # row.
            labelled = {row.id: row for row in await self._labels.rows(removed)} if removed else {}
            for row in rows:
                known[row.key].append(labelled.get(row.id, row))
        return known

    def _listed(self, listed: ListedObject, rows: Sequence[StoredImage]) -> WorkItem | None:
        """The work item of a listed object; None when its stored outcome is still valid."""
        found = match(rows, listed, retry_failed=self._retry_failed)
        if found.standing is not None:
            if self._skips_duplicates and found.standing.same_as is not None:
                self._skip(Skip.DUPLICATE, listed.key)
            return None
        item = WorkItem(
            image=self._image(listed.key, listed.size_bytes, listed.etag),
            row_id=found.stored.id if found.stored is not None and found.is_own else self._ids.new(),
            stored=found.stored,
            replaces=found.replaced,
            listed=self.trailing_listed,
            skipped=self.trailing_skipped or None,
        )
        # Its image has these counts now, and settles them: a resumed run counts every listed object once.
        self.trailing_listed, self.trailing_skipped = 0, {}
        return item

    def _retried(self, row: StoredImage) -> WorkItem:
        return WorkItem(
            image=self._image(row.key, row.size_bytes, row.etag),
            # A new row: the former one keeps position and failure until this one is settled, whatever happens in
            # between.
            row_id=self._ids.new(),
            stored=row if row.detection is not None else None,
            replaces=row,
            moves_cursor=False,
        )

    def _image(self, key: str, size_bytes: int, etag: str) -> ObjectRef:
        image = ObjectRef(bucket=self._bucket, key=key, size_bytes=size_bytes, etag=etag, seq=self._next_seq)
        self._next_seq += 1
        return image


async def _in_portions(values: Sequence[T]) -> AsyncIterator[T]:
    """Yield the values of a page; other tasks run in between, since a page at a time would delay permits by 5 ms."""
    for number, value in enumerate(values, 1):
        yield value
        if not number % PORTION:
            await checkpoint()
