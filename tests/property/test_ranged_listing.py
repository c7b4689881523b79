"""A listing in ranges is the serial one: every key once, in order, whatever keys, ranges and interruptions."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from math import ceil

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asyncfilter.engine.core import range_reader
from asyncfilter.engine.core.listing import ListingReader
from asyncfilter.engine.core.retry import DrainedError, Repeater
from asyncfilter.engine.examine import ranged_listing
from asyncfilter.engine.examine.ranged_listing import RangedListing
from asyncfilter.errors import ThrottleCause, ThrottledError
from asyncfilter.policy.key_cuts import KeyCuts, behind
from asyncfilter.policy.sampling import Ranking
from asyncfilter.ports.examine import Page
from asyncfilter.testing import LoopClock, MemoryCheckpoint, MemorySource, run_virtually

PAGE = 5
KEYS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8)
ANY = st.sets(KEYS, max_size=200)
COUNTED = st.builds(
    lambda head, count, width: {f"{head}{number:0{width}d}.jpg" for number in range(count)},
    st.sampled_from(["", "img-", "raw/2024/img_", "é/"]),
    st.integers(0, 300),
    st.sampled_from([1, 6]),
)
FOLDERS = st.builds(
    lambda folders, count: {f"{folder}/{number:04d}.jpg" for folder in folders for number in range(count)},
    st.sets(KEYS, min_size=1, max_size=12),
    st.integers(0, 30),
)
SETS = ANY | COUNTED | FOLDERS
SLOW = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(autouse=True, scope="module")
def small_pages() -> Iterator[None]:
    """Pages of a few keys, so that few keys are many pages."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (range_reader, ranged_listing):
            patch.setattr(module, "PAGE_OBJECTS", PAGE)
        patch.setattr(range_reader, "WORTH_A_CUT", 2 * PAGE)
        yield


class SlowSource:
    """A store with latencies; every page that it was asked for is counted."""

    def __init__(self, keys: set[str], prefix: str, seed: int) -> None:
        self._source = MemorySource.of_keys([key for key in keys if key.startswith(prefix)], page_objects=PAGE)
        self._chance = random.Random(seed)
        self.pages = 0
        self.under_way = self.most_under_way = 0
        self.fails: Callable[[int], bool] = lambda _page: False

    async def page(self, after: str | None) -> Page:
        self.pages += 1
        fails = self.fails(self.pages)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await anyio.sleep(0.01 + self._chance.random() / 10)
        finally:
            self.under_way -= 1
        if fails:
            raise ThrottledError("Please reduce your request rate.", cause=ThrottleCause.RATE)
        return await self._source.page(after)


class Pass:
    """A pass over a listing, through any number of processes."""

    def __init__(self, source: SlowSource, *, ranges: int, prefix: str = "", seed: int | None = None) -> None:
        self.source = source
        self.ranges, self.prefix = ranges, prefix
        self.rank = None if seed is None else Ranking(seed).rank
        self.checkpoint = MemoryCheckpoint()
        self.found: list[str] = []
        self.is_whole = False
        self.is_over = False

    def live(self, life_s: float | None = None, *, pause_s: float = 0.0, pages: int = 10**9) -> None:
        """Read pages in one process: to the end, until it is killed, or until the run ends."""
        run_virtually(lambda: self._live(life_s, pause_s, pages))
        self.checkpoint = self.checkpoint.reopen()

    async def _live(self, life_s: float | None, pause_s: float, pages: int) -> None:
        clock = LoopClock()

        async def pause(delay_s: float) -> bool:
            await clock.sleep(delay_s)
            return not self.is_over

        repeat = Repeater(max_attempts=8, pause=pause, rng=random.Random(1))
        self.listing = RangedListing(
            ListingReader(self.source, repeat=repeat, where="the listing", hint=""),
            self.checkpoint,
            ranges=self.ranges,
            prefix=self.prefix,
            rank=self.rank,
            is_over=lambda: self.is_over,
        )
        with anyio.move_on_after(life_s):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self.listing.run)
                await self._read(self.listing, pause_s, pages)
                tasks.cancel_scope.cancel()

    async def _read(self, listing: RangedListing, pause_s: float, pages: int) -> None:
        while pages and not self.is_whole:
            page = await listing.page(self.found[-1] if self.found else None)
            self.found += [listed.key for listed in page.objects]
            self.is_whole = page.is_last
            pages -= 1
            await anyio.sleep(pause_s)


def serial_pages(keys: set[str], prefix: str = "") -> int:
    """The requests of a serial listing."""
    return max(1, ceil(sum(key.startswith(prefix) for key in keys) / PAGE))


@SLOW
@given(keys=SETS, ranges=st.integers(2, 64), prefix=st.sampled_from(["", "", "img-0", "é"]), seed=st.integers(0, 99))
def test_every_key_once_in_order(keys: set[str], ranges: int, prefix: str, seed: int) -> None:
    """The keys and their order are those of a serial listing, at 1.2 times its requests and 16 a range at the most."""
    one = Pass(SlowSource(keys, prefix, seed), ranges=ranges, prefix=prefix)
    one.live()
    assert one.found == sorted((key for key in keys if key.startswith(prefix)), key=str.encode)
    assert one.source.pages <= 1.2 * serial_pages(keys, prefix) + 16 * ranges
    assert one.source.most_under_way <= ranges


@SLOW
@given(
    keys=SETS, ranges=st.integers(2, 16), seed=st.integers(0, 99), lives_s=st.lists(st.floats(0.01, 1.5), max_size=8)
)
def test_an_interrupted_listing_goes_on_where_each_range_was(
    keys: set[str], ranges: int, seed: int, lives_s: list[float]
) -> None:
    """Killed at any moment: no key is missed or read twice, and at most one page a range is listed again."""
    one = Pass(SlowSource(keys, "", seed), ranges=ranges)
    for life_s in lives_s:
        one.live(life_s, pause_s=0.05)
    one.live()
    assert one.found == sorted(keys, key=str.encode)
    assert one.source.pages <= 1.2 * serial_pages(keys) + (16 + len(lives_s)) * ranges


@SLOW
@given(keys=SETS, ranges=st.integers(2, 16), seed=st.integers(0, 99), life_s=st.floats(0.01, 1.5))
def test_a_random_order_is_the_same(keys: set[str], ranges: int, seed: int, life_s: float) -> None:
    """Ranked, the whole listing is stored first; a kill on the way changes nothing."""
    one = Pass(SlowSource(keys, "", seed), ranges=ranges, seed=seed)
    one.live(life_s)
    assert one.is_whole or one.found == []
    one.live()
    assert one.found == sorted(keys, key=lambda key: (Ranking(seed).rank(key), key))


@SLOW
@given(keys=SETS, numbers=st.lists(st.integers(1, 12), min_size=2, max_size=4), seed=st.integers(0, 99))
def test_ranges_may_change_between_runs(keys: set[str], numbers: list[int], seed: int) -> None:
    """Another number of ranges goes on with what is stored."""
    one = Pass(SlowSource(keys, "", seed), ranges=1)
    for number in numbers:
        one.ranges = number
        one.live(pages=3)
    one.live()
    assert one.found == sorted(keys, key=str.encode)
    assert one.source.pages <= 1.2 * serial_pages(keys) + (16 + len(numbers)) * max(numbers)


@SLOW
@given(keys=SETS, seed=st.integers(0, 99))
def test_a_second_pass_is_cut_by_the_keys_of_the_first(keys: set[str], seed: int) -> None:
    """What is put and deleted between two passes is found; the cuts of the first pass serve the second."""
    one = Pass(SlowSource(keys, "", seed), ranges=4)
    one.live()
    changed = {key for key in keys if hash(key) % 7} | {"new/1.jpg", "zz"}
    again = Pass(SlowSource(changed, "", seed), ranges=4)
    again.checkpoint = one.checkpoint
    run_virtually(again.checkpoint.drop_listing)
    again.live()
    assert again.found == sorted(changed, key=str.encode)
    assert again.source.pages <= 1.2 * serial_pages(changed) + 16 * 4


@SLOW
@given(keys=COUNTED, seed=st.integers(0, 99), every=st.integers(2, 9))
def test_slow_down_halves_the_ranges_and_is_retried(keys: set[str], seed: int, every: int) -> None:
    """A throttle of the store is never the end, and leaves fewer requests under way."""
    one = Pass(SlowSource(keys, "", seed), ranges=8)
    one.source.fails = lambda page: page % every == 0
    one.live()
    assert one.found == sorted(keys, key=str.encode)
    ranges = one.listing._ranges
    assert ranges is not None
    assert (ranges.width < 8) == (one.source.pages >= every)


def test_throttles_of_requests_under_way_together_halve_once() -> None:
    """Eight at once are one sign; what is throttled after its pause is another one."""
    ranges = range_reader.RangeReader(
        ListingReader(MemorySource(), repeat=None, where="", hint=""),  # type: ignore[arg-type]
        most=8,
        ranges=[],
        cuts=KeyCuts(),
        take=None,  # type: ignore[arg-type]
    )
    ranges.requests = 8
    throttles = [range_reader._Throttles(ranges, request) for request in range(1, 9)]
    for throttle in throttles:
        throttle()
    assert ranges.width == 4
    throttles[0]()
    assert ranges.width == 2
    throttles[1]()
    assert ranges.width == 1


def test_a_listing_is_not_far_ahead_of_its_examination(monkeypatch: pytest.MonkeyPatch) -> None:
    """No more pages are asked for than ranges for each page that is read, and no more keys wait than are allowed."""
    monkeypatch.setattr(ranged_listing, "MOST_AHEAD", 20 * PAGE)
    keys = {f"{number:05d}" for number in range(1000)}
    one = Pass(SlowSource(keys, "", 1), ranges=8)
    one.live(pages=1, pause_s=60)
    assert one.source.pages <= 3 * 8
    one.live(pages=20, pause_s=60)
    stored = len(run_virtually(lambda: one.checkpoint.listed_between("", None, 10**6)))
    assert stored - len(one.found) <= 20 * PAGE
    one.live()
    assert one.found == sorted(keys)


def test_the_end_of_a_run_ends_its_listing() -> None:
    """Once a stop is known, nothing more is asked for; whoever waits for a page is told."""
    keys = {f"{number:05d}" for number in range(1000)}
    one = Pass(SlowSource(keys, "", 1), ranges=8, seed=3)
    asked = []

    async def end() -> None:
        await anyio.sleep(1)
        one.is_over = True
        asked.append(one.source.pages)
        one.listing.wake()
        await anyio.sleep(10)
        asked.append(one.source.pages)

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(end)
            with pytest.raises(BaseExceptionGroup) as caught:
                await one._live(None, 0, 10**9)
            assert caught.group_contains(DrainedError)

    run_virtually(main)
    assert asked[0] == asked[1] > 8


@given(first=KEYS, second=KEYS, third=KEYS, upto=st.none() | KEYS, seen=st.lists(KEYS, max_size=9))
def test_a_cut_is_inside_of_its_range(first: str, second: str, third: str, upto: str | None, seen: list[str]) -> None:
    """A cut is above what is listed and below the end of the range; a guess of what is left is not negative."""
    first, after = sorted((first, second))
    cuts = KeyCuts(seen)
    cuts.note(third)
    if upto is not None and upto <= after:
        return
    at = cuts.cut(first, after, upto)
    assert at is None or (at > after and (upto is None or at < upto))
    assert at is None or at.encode()
    assert cuts.left(first, after, upto, 1000) >= 0


@given(KEYS, KEYS)
def test_what_is_behind_a_beginning(beginning: str, key: str) -> None:
    """It is above every text that begins with it, and one that any store takes; of usual keys none lies between."""
    end = behind(beginning)
    if end is None:
        assert set(beginning) <= {"\U0010fffd", "\U0010fffe", "\U0010ffff"}
        return
    assert end.encode() > beginning.encode()
    assert beginning <= key < end if key.startswith(beginning) else not (key.isascii() and beginning <= key < end)


def test_a_cut_is_no_longer_than_a_key() -> None:
    """Keys of the greatest length are cut where that makes no longer text."""
    first, after = ("日" * 341 + end for end in "ab")
    at = KeyCuts([first, after, "日" * 341 + "z"]).cut(first, after, None)
    assert at is None or len(at.encode()) <= 1024
