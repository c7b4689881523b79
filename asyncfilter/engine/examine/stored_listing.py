"""``order: random``: a seeded shuffle of a whole listing, kept in the checkpoint instead of in memory.

The rank of an object depends only on the seed and its key. So the order is the same in every run, and objects that are
added later do not change the order of the others.
"""

from __future__ import annotations

from asyncfilter.engine.core.listing import following
from asyncfilter.model import ListedObject
from asyncfilter.policy.sampling import Ranking
from asyncfilter.ports.checkpoint import ListingStore
from asyncfilter.ports.examine import Page, Source

PAGE_OBJECTS = 1000


class ShuffledSource:
    """A source in random order; the first page is available when the whole listing is stored.

    When storing the listing was interrupted, it continues after the last stored key.

    Args:
        source: Lists the objects in its own order.
        store: Stores the listing.
        seed: Determines the order.
    """

    def __init__(self, source: Source, store: ListingStore, seed: int) -> None:
        self._source = source
        self._store = store
        self._ranking = Ranking(seed)
        self._is_whole = False

    async def page(self, after: str | None) -> Page:
        """See ``Source``; ``after`` is a key of the listing."""
        await self._store_listing()
        rank = (self._ranking.rank(after), after) if after is not None else None
        objects = await self._store.listing(rank, PAGE_OBJECTS)
        return Page(objects=objects, is_last=len(objects) < PAGE_OBJECTS)

    async def _store_listing(self) -> None:
        if self._is_whole:
            return
        self._is_whole, last_key = await self._store.listing_state()
        while not self._is_whole:
            page = await self._source.page(last_key)
            await self._store.save_listing([self._ranked(listed) for listed in page.objects], is_last=page.is_last)
            self._is_whole = page.is_last
            last_key = following(page, last_key)

    def _ranked(self, listed: ListedObject) -> tuple[int, ListedObject]:
        return self._ranking.rank(listed.key), listed
