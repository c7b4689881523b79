"""Listing in ranges: several listing requests under way at once, each of a range of keys of its own.

A task lists one page at a time, of the first range in the order of keys that no other task is listing. Where every
range has its task, the one that has the most keys left is cut in two (``policy/key_cuts.py``). So a range ends where
the next one began; what a page has beyond that is dropped.

Requests: each cut costs at most one page that is not full, and the number of cuts is bounded (``_may_cut``).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence

import anyio
import msgspec

from asyncfilter.engine.core.listing import ListingReader, following
from asyncfilter.engine.core.retry import DrainedError
from asyncfilter.model import ListedObject
from asyncfilter.policy.key_cuts import KeyCuts
from asyncfilter.records.listing_ranges import KeyRange

PAGE_OBJECTS = 1000
"""The most objects of a page."""

CUTS_A_RANGE = 12
"""Cuts for each range that may be under way; with those of ``CUTS_A_PAGE`` a listing keeps to 1.2 times the requests of
a serial one, plus 16 a range (docs/guarantees.md, *Listing in ranges*), also when it is interrupted."""
CUTS_A_PAGE = 0.15

WORTH_A_CUT = 2 * PAGE_OBJECTS
"""Keys that a range must have left for a cut."""

PAGES_TO_WIDEN = 100
"""Pages without a throttle after which one more request may be under way."""


class ListedRange:
    """A range that is being listed: what is left of it, and what is known of its keys.

    Attributes:
        after, upto: See ``KeyRange``; ``after`` is durable.
        first: The first key that was listed of it, empty before there is one.
        listed: Keys listed of it.
        is_busy: A request for it is under way.
        is_kept: A page of it has arrived, and is not durable yet.
    """

    __slots__ = ("_left", "after", "first", "is_busy", "is_kept", "listed", "upto")

    def __init__(self, after: str, upto: str | None) -> None:
        self.after = after
        self.upto = upto
        self.first = ""
        self.listed = 0
        self.is_busy = False
        self.is_kept = False
        self._left: tuple[str, str | None, float] | None = None

    def keys_left(self, cuts: KeyCuts) -> float:
        """How many keys it may have left; calculated once for each change."""
        held = self._left
        if held is None or held[:2] != (self.after, self.upto):
            left = cuts.left(self.first, self.after, self.upto, self.listed)
            self._left = held = (self.after, self.upto, left)
        return held[2]


class Arrived(msgspec.Struct, frozen=True):
    """What a page has of a range; ``is_done`` when nothing of the range is left."""

    range: ListedRange
    objects: Sequence[ListedObject]
    is_done: bool

    @property
    def after(self) -> str:
        """The key up to which the range is listed."""
        return self.objects[-1].key if self.objects else self.range.after


class RangeReader:
    """Lists ranges until nothing is left, or the run ends.

    Args:
        reader: Reads one page, with retries.
        most: Requests under way at once, at the most.
        ranges: What is to be listed, in the order of keys, without overlaps.
        cuts: Guesses cuts.
        take: Called with every page; it calls ``keep`` once the page is durable, before it returns.
        may_list: Called before a request, with True for the first range; False when it has to wait for ``changed``.
        is_over: True when no further request may be sent.
        cuts_made: Cuts, and ``keys_listed`` keys listed, before an interruption.
    """

    def __init__(
        self,
        reader: ListingReader,
        *,
        most: int,
        ranges: Iterable[KeyRange],
        cuts: KeyCuts,
        take: Callable[[Arrived], Awaitable[None]],
        may_list: Callable[[bool], bool] = lambda _is_first: True,
        is_over: Callable[[], bool] = lambda: False,
        cuts_made: int = 0,
        keys_listed: int = 0,
    ) -> None:
        self.left = [ListedRange(one.after, one.upto) for one in ranges]
        """The ranges that are not whole, in the order of keys."""
        self.error: Exception | None = None
        """The first error, which ends the listing."""
        self.requests = 0
        """Pages that were asked for, repetitions not counted."""
        self.under_way = 0
        self.cuts_made = cuts_made
        self.keys_listed = keys_listed
        self.width = most
        """Requests that may be under way at once; a throttle halves it."""
        self._reader = reader
        self._most = most
        self._cuts = cuts
        self._take = take
        self._may_list = may_list
        self._is_over = is_over
        self._since_throttle = 0
        self._halved_at = 0
        self.change = anyio.Event()
        """Set at the next change, and replaced then."""

    @property
    def frontier(self) -> str | None:
        """The key up to which everything is listed; None when the listing is whole."""
        return self.left[0].after if self.left else None

    def changed(self) -> None:
        """Wake all that wait for a change."""
        change, self.change = self.change, anyio.Event()
        change.set()

    async def run(self) -> None:
        """List. An error is left in ``error``; pages that had arrived until then are taken."""
        async with anyio.create_task_group() as tasks:
            for number in range(self._most):
                tasks.start_soon(self._work, number)

    def keep(self, arrived: Arrived) -> None:
        """Note that a page is durable."""
        one = arrived.range
        if arrived.objects:
            one.first = one.first or arrived.objects[0].key
            self._cuts.note(arrived.objects[0].key)
            self._cuts.note(arrived.after)
        one.after = arrived.after
        one.listed += len(arrived.objects)
        self.keys_listed += len(arrived.objects)
        if arrived.is_done:
            self.left.remove(one)

    async def _work(self, number: int) -> None:
        while self.left and self.error is None and not self._is_over():
            one = self._next() if number < self.width else None
            if one is None:
                await self.change.wait()
                continue
            one.is_busy = True
            try:
                await self._list(one)
            except DrainedError:
                return
            except Exception as error:  # noqa: BLE001  a source may raise anything; who waits for its pages raises it
                if self.error is None:
                    self.error = error
            finally:
                one.is_busy = one.is_kept = False
                self.changed()

    def _next(self) -> ListedRange | None:
        """The range to list a page of; None when none may be listed now."""
        for place, one in enumerate(self.left):
            if not one.is_busy:
                return one if self._may_list(place == 0) else None
        return self._cut() if self._may_list(False) and self._may_cut() else None  # noqa: FBT003  a callable

    def _may_cut(self) -> bool:
        return self.cuts_made < CUTS_A_RANGE * self._most + CUTS_A_PAGE * self.keys_listed / PAGE_OBJECTS

    def _cut(self) -> ListedRange | None:
        """The upper part of the range with the most keys left, cut off from it."""
        known = [one for one in self.left if one.first and not one.is_kept]
        for one in sorted(known, key=lambda one: one.keys_left(self._cuts), reverse=True):
            if one.keys_left(self._cuts) < WORTH_A_CUT:
                return None
            at = self._cuts.cut(one.first, one.after, one.upto)
            if at is not None:
                upper, one.upto = ListedRange(at, one.upto), at
                self.left.insert(self.left.index(one) + 1, upper)
                self.cuts_made += 1
                return upper
        return None

    async def _list(self, one: ListedRange) -> None:
        self.requests += 1
        self.under_way += 1
        try:
            page = await self._reader.page(one.after or None, _Throttles(self, self.requests))
        finally:
            self.under_way -= 1
        self._widen()
        following(page, one.after or None)
        objects, upto = page.objects, one.upto
        if upto is not None and objects and objects[-1].key > upto:
            objects = [listed for listed in objects if listed.key <= upto]
        is_at_end = upto is not None and bool(objects) and objects[-1].key == upto
        one.is_kept = True
        await self._take(Arrived(one, objects, page.is_last or is_at_end or len(objects) < len(page.objects)))

    def throttled(self, request: int) -> None:
        """Halve the width, once for all requests that were under way together."""
        self._since_throttle = 0
        if request > self._halved_at:
            self.width = max(1, self.width // 2)
            self._halved_at = self.requests

    def _widen(self) -> None:
        self._since_throttle += 1
        if self._since_throttle >= PAGES_TO_WIDEN and self.width < self._most:
            self.width += 1
            self._since_throttle = 0


class _Throttles:
    """Reports the throttles of one request; what is throttled again counts as a new request."""

    def __init__(self, ranges: RangeReader, request: int) -> None:
        self._ranges = ranges
        self._request = request

    def __call__(self) -> None:
        self._ranges.throttled(self._request)
        self._request = self._ranges.requests + 1
