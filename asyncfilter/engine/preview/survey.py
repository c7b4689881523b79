"""A pass over a listing without examinations: counts what is listed and what is stored, and draws a sample.

Pages are not kept: memory is constant, except for the sample.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from random import Random

import anyio

from asyncfilter.clock import Clock
from asyncfilter.engine.core.listing import ListingReader, following
from asyncfilter.engine.core.range_reader import Arrived, RangeReader
from asyncfilter.engine.core.retry import Repeater, full_pause
from asyncfilter.engine.examine.duplicates import content_of
from asyncfilter.errors import AsyncFilterError
from asyncfilter.model import ListedObject, Skip, StopReason
from asyncfilter.policy.empty_listing import SAMPLE_KEYS, note_lowest, note_skipped
from asyncfilter.policy.forecast import CheckpointTotals, ListingSurvey
from asyncfilter.policy.key_cuts import KeyCuts, behind
from asyncfilter.policy.matching import newest
from asyncfilter.policy.sampling import ContentCounter, Sampler
from asyncfilter.ports.examine import Source
from asyncfilter.records.images import StoredImage
from asyncfilter.records.listing_ranges import KeyRange
from asyncfilter.records.progress import Totals
from asyncfilter.records.tally import Tally

Known = Callable[[Sequence[str]], Awaitable[Sequence[StoredImage]]]
"""Rows of a checkpoint with one of these keys, as ``LabelStore.by_keys``; their labels are not used."""


async def nothing_known(keys: Sequence[str]) -> Sequence[StoredImage]:
    """The rows of a checkpoint that does not exist."""
    del keys
    return ()


def checkpoint_totals(
    totals: Totals, tally: Tally, stop: StopReason | None = None, *, images: int = 0
) -> CheckpointTotals:
    """The part of a checkpoint's sums that a forecast needs; what is reserved counts as spent.

    Args:
        totals: Of the checkpoint.
        tally: Its counts.
        stop: The stop rule that holds already.
        images: The images that it holds, examined or cached.
    """
    return CheckpointTotals(
        spent_micros=totals.spent_micros + totals.reserved_micros,
        billed_calls=totals.billed_calls + totals.reserved_calls,
        month_use=totals.month_use,
        examined=tally.examined,
        matches=tally.matches,
        stop=stop,
        images=images,
        lanes=totals.lanes,
    )


class Surveyor:
    """Reads one listing, once.

    Args:
        source: Lists the objects.
        check: Returns the reason why a listed object is not examined, or None.
        known: Returns the rows of the checkpoint.
        max_attempts: Attempts for each page, at least 1.
        clock: Time, for the pauses between attempts.
        sampler: Draws the sample, which may be empty.
        on_listed: Called after every page with the number of objects listed.
        shares_content: False when every image is paid for by itself, whatever its ETag.
        ranges: Listing requests under way at once, at the most; above 1 for a source in the order of keys.
        prefix: What all keys begin with.
    """

    def __init__(
        self,
        *,
        source: Source,
        check: Callable[[ListedObject], Skip | None],
        known: Known,
        max_attempts: int,
        clock: Clock,
        sampler: Sampler,
        on_listed: Callable[[int], None] | None = None,
        shares_content: bool = True,
        ranges: int = 1,
        prefix: str = "",
    ) -> None:
        self.survey = ListingSurvey()
        """The counts so far."""
        self._reader = ListingReader(
            source,
            repeat=Repeater(max_attempts=max_attempts, pause=full_pause(clock), rng=Random()),
            where="the listing",
            hint="Plan again once S3 responds; nothing was paid.",
        )
        self._check = check
        self._known = known
        self._sampler = sampler
        self._contents = ContentCounter()
        self._on_listed = on_listed
        self._shares_content = shares_content
        self._ranges = ranges
        self._prefix = prefix

    async def run(self) -> ListingSurvey:
        """Read the whole listing.

        Raises:
            AccessError: The source cannot be listed.
            CheckpointError: The checkpoint cannot be read.
        """
        await (self._read_ranges() if self._ranges > 1 else self._read())
        await self._finish()
        return self.survey

    async def _read(self) -> None:
        after: str | None = None
        while True:
            page = await self._reader.page(after)
            await self._count(page.objects)
            if page.is_last:
                break
            after = following(page, after)

    async def _read_ranges(self) -> None:
        """Read pages as they arrive: no count depends on their order."""
        send, receive = anyio.create_memory_object_stream[Sequence[ListedObject]](self._ranges)

        async def take(arrived: Arrived) -> None:
            ranges.keep(arrived)
            await send.send(arrived.objects)

        async def read() -> None:
            async with send:
                await ranges.run()

        whole = KeyRange(upto=behind(self._prefix))
        ranges = RangeReader(self._reader, most=self._ranges, ranges=[whole], cuts=KeyCuts(), take=take)
        async with anyio.create_task_group() as tasks, receive:
            tasks.start_soon(read)
            try:
                async for objects in receive:
                    await self._count(objects)
            except AsyncFilterError as error:
                ranges.error = error
                tasks.cancel_scope.cancel()
        if ranges.error is not None:
            raise ranges.error

    async def _count(self, objects: Sequence[ListedObject]) -> None:
        survey = self.survey
        candidates = []
        for listed in objects:
            skip = self._check(listed)
            if skip is None:
                candidates.append(listed)
                self._sampler.offer(listed)
                survey.size_bytes += listed.size_bytes if listed.etag else 0  # a list may not have it
            else:
                number = survey.skipped.get(skip.value, 0)
                survey.skipped[skip.value] = number + 1
                if self._ranges > 1:
                    note_lowest(survey.skipped_keys, skip.value, listed.key)
                elif number < SAMPLE_KEYS:
                    note_skipped(survey.skipped_keys, skip.value, listed.key)
        for listed, row in zip(candidates, await self._rows(candidates), strict=True):
            has_labels = row is not None and not row.is_unexamined
            if row is None or has_labels:
                content = content_of(listed) if self._shares_content else None
                self._contents.count(content, is_known=has_labels)
            if row is None:
                survey.unpaid += 1
            elif row.seq is None:
                survey.waiting += 1
            else:
                survey.settled += 1
        survey.listed += len(objects)
        if self._on_listed is not None:
            self._on_listed(survey.listed)

    async def _finish(self) -> None:
        drawn = self._sampler.drawn()
        rows = await self._rows(drawn)
        self.survey.shared = self._contents.shared(self.survey.unpaid)
        self.survey.drawn = drawn
        self.survey.drawn_unpaid = rows.count(None)
        self.survey.drawn_failed = sum(row is not None and row.is_unexamined for row in rows)

    async def _rows(self, objects: Sequence[ListedObject]) -> list[StoredImage | None]:
        """The row of each present object, one with a position rather than one without; None where there is none."""
        known: dict[str, list[StoredImage]] = defaultdict(list)
        if objects:
            for row in await self._known([listed.key for listed in objects]):
                known[row.key].append(row)
        if not known:
            return [None] * len(objects)
        return [newest(known[listed.key], listed) for listed in objects]
