"""The listing counter: counts ahead how many images a listing holds, so that people see when a run will end.

It costs one list request per thousand objects, which is thousands of times less than examining them, and it stops
without a result after ``MOST_PAGES``. Only the display uses its result.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from asyncfilter.engine.core.listing import following
from asyncfilter.engine.core.retry import DrainedError, Repeater
from asyncfilter.errors import AsyncFilterError
from asyncfilter.model import ListedObject, Skip
from asyncfilter.ports.examine import Source

MOST_PAGES = 1000
"""A million objects, which cost half a cent to list (S3 price of LIST); beyond that no end is estimated."""


class ListingCounter:
    """Counts the images of a listing after a cursor.

    Args:
        source: Lists the objects.
        check: Returns the reason why a listed object is not examined, or None.
        repeat: The retry policy for pages.
    """

    def __init__(self, *, source: Source, check: Callable[[ListedObject], Skip | None], repeat: Repeater) -> None:
        self.images: int | None = None
        """Images after the cursor; None until all are counted, or when there are too many."""
        self._source = source
        self._check = check
        self._repeat = repeat

    async def count(self, cursor: str | None) -> None:
        """Count to the end of the listing. Errors are ignored here: the run lists the same pages and reports them."""
        images = 0
        for _ in range(MOST_PAGES):
            try:
                page = await self._repeat(partial(self._source.page, cursor))
                images += sum(self._check(listed) is None for listed in page.objects)
                if page.is_last:
                    self.images = images
                    return
                cursor = following(page, cursor)
            except (AsyncFilterError, DrainedError):
                return
