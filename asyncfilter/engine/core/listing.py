"""Reading a listing page by page: with retries, and with an end when it cannot be read or does not go on."""

from __future__ import annotations

from collections.abc import Callable

from asyncfilter.engine.core.retry import Repeater
from asyncfilter.errors import AsyncFilterError, EndpointError, ThrottledError, TransientError
from asyncfilter.ports.examine import Page, Source

THROTTLED_LIMIT_S = 600.0
"""Waits for a throttled page that end the listing (docs/guarantees.md, *The rate holds*)."""


class ListingReader:
    """Reads the pages of a source.

    Args:
        source: Lists the objects.
        repeat: The retry policy for pages.
        where: The listing, for messages.
        hint: What to do when it cannot be read.
    """

    def __init__(self, source: Source, *, repeat: Repeater, where: str, hint: str) -> None:
        self._source = source
        self._repeat = repeat
        self._where = where
        self._hint = hint

    async def page(self, after: str | None, on_throttled: Callable[[], None] | None = None) -> Page:
        """The objects that follow the key ``after``; ``on_throttled`` is called for every attempt that is throttled.

        Raises:
            AccessError: The source cannot be listed, or no longer; ``EndpointError`` when every attempt failed.
            DrainedError: The run ends before the page could be read.
        """
        throttled_s = 0.0

        def watch(error: Exception, delay_s: float) -> None:
            nonlocal throttled_s
            if isinstance(error, ThrottledError):
                if on_throttled is not None:
                    on_throttled()
                if throttled_s >= THROTTLED_LIMIT_S:
                    raise self._unreadable(error, f"throttled for {THROTTLED_LIMIT_S / 60:.0f} minutes: ")
                throttled_s += delay_s

        try:
            return await self._repeat(lambda: self._source.page(after), watch)
        except TransientError as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: ThrottledError | TransientError, why: str = "") -> EndpointError:
        return EndpointError(f"{self._where} cannot be read: {why}{error.message}", hint=self._hint)


def following(page: Page, after: str | None) -> str | None:
    """The key after which the next page begins.

    Raises:
        AsyncFilterError: It would begin where this page began: the same page would be read for ever.
    """
    if not page.objects:
        return after
    last = page.objects[-1].key
    if last == after:
        raise AsyncFilterError(
            f"the listing does not go on: the page behind the key {after!r} ends with that key",
            hint="Return from `page(after)` only objects that follow `after` in the source's order.",
        )
    return last
