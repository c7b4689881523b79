"""A listing in ranges as a source: pages go into the checkpoint, and are read from there in the order of examination.

An interrupted run goes on where each range was. The source lists no further ahead than it is read: for every page that
is read, as many may be asked for as there are ranges, and at most ``MOST_AHEAD`` keys wait to be examined. With
``rank`` the whole listing is stored first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import anyio

from asyncfilter.engine.core.listing import ListingReader
from asyncfilter.engine.core.range_reader import PAGE_OBJECTS, Arrived, RangeReader
from asyncfilter.engine.core.retry import DrainedError
from asyncfilter.engine.examine.stored_listing import RankOf
from asyncfilter.model import ListedObject
from asyncfilter.policy.key_cuts import KeyCuts, behind
from asyncfilter.ports.checkpoint import ListingStore
from asyncfilter.ports.examine import Page
from asyncfilter.records.listing_ranges import KeyRange, ListingRanges

MOST_AHEAD = 900_000
"""Keys listed ahead of the page that is read. Read pages wait for their examination, too: in all, at most 1,000,000."""

SPREAD_KEYS = 256
"""Keys of a whole listing that are kept, evenly spread, for the cuts of the next one."""


class RangedListing:
    """A ``Source``; ``run`` lists beside those who call ``page``.

    Args:
        reader: Reads pages of the store, with retries.
        store: Stores the listing.
        ranges: Listing requests under way at once, at the most.
        prefix: What all keys begin with.
        rank: Returns the rank of a key; None for the order of keys.
        is_over: True when the run ends: nothing is listed then.
        is_dry: True for a dry run in the order of keys, whose listing serves no other run.
    """

    def __init__(
        self,
        reader: ListingReader,
        store: ListingStore,
        *,
        ranges: int,
        prefix: str,
        rank: RankOf | None,
        is_over: Callable[[], bool],
        is_dry: bool = False,
    ) -> None:
        self._reader = reader
        self._store = store
        self._most = ranges
        self._prefix = prefix
        self._rank = rank
        self._is_over = is_over
        self._is_dry = is_dry
        self._start = ""
        self._ranges: RangeReader | None = None
        self._cuts = KeyCuts()
        self._opening, self._saving = anyio.Lock(), anyio.Lock()
        self._is_open = anyio.Event()
        self._arrived: list[Arrived] = []
        self._ahead = 0
        self._allowed = ranges
        self._waiting = 0

    async def run(self) -> None:
        """List, from the first call of ``page`` on, until the listing is whole or the run ends."""
        await self._is_open.wait()
        if self._ranges is not None:
            await self._ranges.run()

    def wake(self) -> None:
        """Let all tasks see that the run ends."""
        if self._ranges is not None:
            self._ranges.changed()

    async def page(self, after: str | None) -> Page:
        """See ``Source``.

        Raises:
            DrainedError: The run ends.
        """
        page = await self._next(after)
        self._ahead -= len(page.objects)
        return page

    async def page_ahead(self, after: str | None) -> Page:
        """A page for someone who reads ahead of the examination, once that has begun; otherwise as ``page``."""
        await self._is_open.wait()
        return await self._next(after)

    async def _next(self, after: str | None) -> Page:
        ranges = await self._opened(after)
        self._waiting += 1
        try:
            ranges.changed()
            page = await self._awaited(after, ranges)
        finally:
            self._waiting -= 1
        self._allowed += self._most
        ranges.changed()
        return page

    async def _awaited(self, after: str | None, ranges: RangeReader) -> Page:
        while True:
            change = ranges.change  # before the look: one that happens meanwhile is not missed
            page = await self._stored(after, ranges)
            if page is not None:
                return page
            if ranges.error is not None:
                raise ranges.error
            if self._is_over():
                raise DrainedError
            await change.wait()

    async def _stored(self, after: str | None, ranges: RangeReader) -> Page | None:
        """The page behind a key; None as long as the listing is not whole up to there."""
        frontier = ranges.frontier
        if frontier is not None and (self._rank is not None or frontier <= (after or "")):
            return None
        if self._rank is not None:
            position = None if after is None else (self._rank(after), after)
            objects = await self._store.listing(position, PAGE_OBJECTS)
        else:
            objects = await self._store.listed_between(after or "", frontier, PAGE_OBJECTS)
        is_last = frontier is None and len(objects) < PAGE_OBJECTS
        return Page(objects, is_last=is_last) if objects or is_last else None

    # -- Where the listing goes on -------------------------------------------------------------------------------------

    async def _opened(self, after: str | None) -> RangeReader:
        async with self._opening:
            if self._ranges is None:
                state = await self._state(after or "")
                self._start = state.start
                self._ahead = await self._store.count_listed(after or "") if self._rank is None else 0
                self._ranges = RangeReader(
                    self._reader,
                    most=self._most,
                    ranges=state.left,
                    cuts=self._cuts,
                    take=self._take,
                    may_list=self._may_list,
                    is_over=self._is_over,
                    cuts_made=state.cuts,
                    keys_listed=state.keys,
                )
                self._is_open.set()
        return self._ranges

    async def _state(self, after: str) -> ListingRanges:
        """What is stored, as far as it serves an examination that goes on behind ``after``; else a new listing."""
        self._cuts = KeyCuts(await self._store.spread_keys())
        state = await self._store.listing_ranges()
        if self._rank is not None:
            return state or await self._serial() or await self._new("")
        if state is None or state.start > after or state.is_dry or self._is_dry:
            return await self._new(after)
        left = [KeyRange(max(one.after, after), one.upto) for one in state.left if one.upto is None or one.upto > after]
        return ListingRanges(start=state.start, left=tuple(left), cuts=state.cuts, keys=state.keys)

    async def _serial(self) -> ListingRanges | None:
        """A listing that was begun without ranges."""
        is_whole, last_key = await self._store.listing_state()
        if await self._store.listing_origin() or not (is_whole or last_key):
            return None
        return ListingRanges(left=() if is_whole else (KeyRange(last_key or "", behind(self._prefix)),))

    async def _new(self, start: str) -> ListingRanges:
        """All that follows ``start``, cut by the keys of the last listing."""
        await self._store.drop_listing()
        known = [key for key in self._cuts.spread(2 * self._most - 1) if key > start and key.startswith(self._prefix)]
        places = [start, *known]
        left = [KeyRange(after, upto) for after, upto in zip(places, [*places[1:], behind(self._prefix)], strict=True)]
        return ListingRanges(start=start, left=tuple(left), cuts=len(left) - 1)

    # -- Pages ---------------------------------------------------------------------------------------------------------

    def _may_list(self, is_first: bool) -> bool:  # noqa: FBT001  see RangeReader
        ranges = self._ranges
        if self._rank is not None or ranges is None or (is_first and self._waiting):
            return True
        is_near = self._ahead + PAGE_OBJECTS * (ranges.under_way + 1) <= MOST_AHEAD
        return is_near and ranges.requests < self._allowed

    async def _take(self, arrived: Arrived) -> None:
        """Store a page, together with all others that have arrived meanwhile."""
        self._arrived.append(arrived)
        async with self._saving:
            if self._arrived:
                batch, self._arrived = self._arrived, []
                await self._save(batch)

    async def _save(self, batch: Sequence[Arrived]) -> None:
        ranges, pages = self._ranges, {id(one.range): one for one in batch}
        if ranges is None:
            return
        left = [
            KeyRange(one.after if (page := pages.get(id(one))) is None else page.after, one.upto)
            for one in ranges.left
            if id(one) not in pages or not pages[id(one)].is_done
        ]
        keys = sum(len(one.objects) for one in batch)
        state = ListingRanges(
            start=self._start,
            left=tuple(left),
            cuts=ranges.cuts_made,
            keys=ranges.keys_listed + keys,
            is_dry=self._is_dry,
        )
        ranked = [(self._ranked(listed), listed) for one in batch for listed in one.objects]
        spread = self._cuts.spread(SPREAD_KEYS) if not left else ()
        await self._store.save_ranges(ranked, state, is_ranked=self._rank is not None, spread=spread)
        self._ahead += keys
        for one in batch:
            ranges.keep(one)

    def _ranked(self, listed: ListedObject) -> int:
        return 0 if self._rank is None else self._rank(listed.key)


class Ahead:
    """A ``Source`` that reads a listing in ranges ahead of its examination."""

    def __init__(self, listing: RangedListing) -> None:
        self.page = listing.page_ahead
