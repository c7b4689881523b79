"""How much faster a listing in ranges is, in virtual time: 60 ms a page, whatever this machine does beside."""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Sequence

import anyio
import pytest

from asyncfilter.engine.core.listing import ListingReader
from asyncfilter.engine.core.retry import Repeater
from asyncfilter.engine.examine.ranged_listing import RangedListing
from asyncfilter.model import ListedObject
from asyncfilter.ports.checkpoint import ListingStore
from asyncfilter.ports.examine import Page
from asyncfilter.records.listing_ranges import ListingRanges
from asyncfilter.sandbox.synthetic import SyntheticKeys
from asyncfilter.testing import LoopClock, run_virtually

KEYS = 400_000
PAGE_S = 0.06
SAVE_S = 0.005
RANGES = 8
FORMS = {"flat": "img-{n}.jpg", "folders": "raw/{class}/{n}.jpg", "flat, mixed": "img-{class}-{n}.jpg"}


class Bucket:
    """A store with a latency, and a checkpoint that holds of its listing what the ranges say is listed."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = keys
        self.pages = 0

    async def page(self, after: str | None) -> Page:
        """See ``Source``."""
        self.pages += 1
        await anyio.sleep(PAGE_S)
        start = 0 if after is None else bisect_right(self._keys, after)
        return Page(self._objects(start, start + 1000), is_last=start + 1000 >= len(self._keys))

    async def listed_between(self, after: str, upto: str | None, limit: int) -> Sequence[ListedObject]:
        """See ``ListingStore``."""
        start = bisect_right(self._keys, after)
        end = len(self._keys) if upto is None else bisect_right(self._keys, upto)
        return self._objects(start, min(end, start + limit))

    async def save_ranges(self, ranked: Sequence[object], ranges: ListingRanges, **_: object) -> None:
        """See ``ListingStore``."""
        await anyio.sleep(SAVE_S)

    async def spread_keys(self) -> Sequence[str]:
        """See ``ListingStore``; as in a new checkpoint."""
        return ()

    async def listing_ranges(self) -> ListingRanges | None:
        """See ``ListingStore``; as in a new checkpoint."""
        return None

    async def count_listed(self, after: str) -> int:
        """See ``ListingStore``; as in a new checkpoint."""
        return 0

    async def drop_listing(self) -> None:
        """See ``ListingStore``; as in a new checkpoint."""

    def _objects(self, start: int, end: int) -> list[ListedObject]:
        return [ListedObject(key, 1, "e") for key in self._keys[start:end]]


async def listed(bucket: Bucket) -> tuple[int, float]:
    """Read everything in ranges; keys, and virtual seconds."""
    clock = LoopClock()

    async def pause(delay_s: float) -> bool:
        await clock.sleep(delay_s)
        return True

    reader = ListingReader(
        bucket, repeat=Repeater(max_attempts=8, pause=pause, rng=random.Random(1)), where="the listing", hint=""
    )
    store: ListingStore = bucket  # type: ignore[assignment]
    listing = RangedListing(reader, store, ranges=RANGES, prefix="", rank=None, is_over=lambda: False)
    keys, started_s, after = 0, clock.monotonic(), None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listing.run)
        while True:
            page = await listing.page(after)
            keys += len(page.objects)
            if page.is_last:
                return keys, clock.monotonic() - started_s
            after = page.objects[-1].key
    raise AssertionError


@pytest.mark.parametrize("form", FORMS)
def test_eight_ranges_are_five_times_as_fast(form: str) -> None:
    """In order, with the time of each commit, and with a few requests more than a serial listing."""
    bucket = Bucket([key for _, key in SyntheticKeys(KEYS, FORMS[form]).start_at(0)])
    keys, took_s = run_virtually(lambda: listed(bucket))
    assert keys == KEYS
    assert took_s <= KEYS / 1000 * PAGE_S / 5
    assert bucket.pages <= 1.2 * KEYS / 1000 + 16 * RANGES
