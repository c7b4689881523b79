"""The reading of a first look: the begin of a listing, then the begin of the folders behind it.

The keys of a listing are sorted, so its begin is often one folder of many. Where it is too long to be read as a whole,
the look passes over the rest of the folder in which it stopped, and reads one page behind it, again and again.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from asyncfilter.clock import Clock
from asyncfilter.engine.core.listing import ListingReader, following
from asyncfilter.engine.core.retry import Repeater, full_pause
from asyncfilter.policy.first_look import FirstLook, FirstLookCounter
from asyncfilter.ports.examine import Source

FIRST_PAGES = 10
"""Pages that are read from the begin of the listing; a page of S3 has 1,000 objects."""

FURTHER_PAGES = 20
"""Most pages that are read behind them, one for each folder that is passed over."""

_ATTEMPTS = 4
_BEHIND_SLASH = chr(ord("/") + 1)


class FirstLookReader:
    """Reads the listing of one place, once.

    Args:
        source: Lists the objects.
        prefix: The prefix that ``source`` lists.
        max_bytes: The largest image that can be examined.
        clock: Time, for the pauses between attempts.
        on_listed: Called after every page with the number of objects that were seen.
    """

    def __init__(
        self,
        *,
        source: Source,
        prefix: str,
        max_bytes: int,
        clock: Clock,
        on_listed: Callable[[int], None] | None = None,
    ) -> None:
        self._reader = ListingReader(
            source,
            repeat=Repeater(max_attempts=_ATTEMPTS, pause=full_pause(clock), rng=Random()),
            where="the listing",
            hint="Try again once S3 responds; nothing was paid.",
        )
        self._prefix = prefix
        self._counter = FirstLookCounter(prefix, max_bytes)
        self._on_listed = on_listed

    async def run(self) -> FirstLook:
        """Read the pages.

        Raises:
            AccessError: The place cannot be listed.
        """
        after: str | None = None
        for _ in range(FIRST_PAGES):
            after, is_last = await self._page(after)
            if is_last:
                return self._counter.look(is_whole=True)
        for _ in range(FURTHER_PAGES):
            after = self._behind_folder(after)
            if after is None:
                break
            after, is_last = await self._page(after)
            if is_last:
                break
        return self._counter.look(is_whole=False)

    async def _page(self, after: str | None) -> tuple[str | None, bool]:
        """Count one page; the key after which the next one begins, and whether this was the last."""
        page = await self._reader.page(after)
        self._counter.add(page.objects)
        if self._on_listed is not None:
            self._on_listed(self._counter.listed)
        return (after, True) if page.is_last else (following(page, after), False)

    def _behind_folder(self, key: str | None) -> str | None:
        """What sorts behind all keys of the folder of ``key``, and before nearly all later ones; None in no folder."""
        folder = self._counter.folder_of(key or "")
        return self._prefix + folder.removesuffix("/") + _BEHIND_SLASH if folder else None
