"""A whole listing kept in the checkpoint instead of in memory: of ``order: random``, or of a list of keys in any order.

The rank of an object orders it. With ``order: random`` the rank depends only on the seed and the key. So the order is
the same in every run, and objects that are added later do not change the order of the others.
"""

from __future__ import annotations

from collections.abc import Callable

from asyncfilter.engine.core.listing import following
from asyncfilter.model import ListedObject
from asyncfilter.ports.checkpoint import ListingStore
from asyncfilter.ports.examine import Page, Source

PAGE_OBJECTS = 1000

RankOf = Callable[[str], int]
"""The rank of a key."""


def by_key(key: str) -> int:
    """The rank that leaves objects in the order of their keys, as S3 lists them."""
    del key
    return 0


class StoredListing:
    """A source in order of rank; the first page is available when the whole listing is stored.

    When storing was interrupted, the listing of a store continues after the last stored key. A list has no order to
    continue in, and is stored anew; so is a list that changed.

    Args:
        source: Lists the objects in its own order; those of a list may be listed several times.
        store: Stores the listing.
        rank: Returns the rank of a key; None for the order of the source.
        origin: Version of the list that ``source`` reads; empty for the listing of a store.
    """

    def __init__(self, source: Source, store: ListingStore, *, rank: RankOf | None, origin: str = "") -> None:
        self._source = source
        self._store = store
        self._rank = rank
        self._origin = origin
        self._is_whole = False
        self._stored = 0

    async def page(self, after: str | None) -> Page:
        """See ``Source``; ``after`` is a key of the listing."""
        await self._store_listing()
        objects = await self._store.listing(await self._position(after), PAGE_OBJECTS)
        return Page(objects=objects, is_last=len(objects) < PAGE_OBJECTS)

    async def _position(self, after: str | None) -> tuple[int, str] | None:
        if after is None:
            return None
        rank = self._rank(after) if self._rank is not None else await self._store.listing_rank(after)
        return None if rank is None else (rank, after)

    async def _store_listing(self) -> None:
        if self._is_whole:
            return
        self._is_whole, last_key = await self._begun()
        while not self._is_whole:
            page = await self._source.page(last_key)
            await self._store.save_listing(
                [self._ranked(listed) for listed in page.objects], is_last=page.is_last, origin=self._origin
            )
            self._is_whole = page.is_last
            last_key = following(page, last_key)

    async def _begun(self) -> tuple[bool, str | None]:
        """Whether the listing is stored, and the key after which storing it continues."""
        is_whole, last_key = await self._store.listing_state()
        is_same = await self._store.listing_origin() == self._origin
        if is_same and (is_whole or not self._origin):
            return is_whole, last_key
        await self._store.drop_listing()
        self._stored = 0
        return False, None

    def _ranked(self, listed: ListedObject) -> tuple[int, ListedObject]:
        self._stored += 1
        return self._stored if self._rank is None else self._rank(listed.key), listed
