"""The pages of a list at the service; a list that does not go on ends with an error instead of being asked for ever."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from asyncfilter.errors import StoreError
from asyncfilter.ports.model_service import ListPage

T = TypeVar("T")

MOST_EMPTY_PAGES = 1000
"""Empty pages in a row that are read."""


async def items_of(what: str, page_of: Callable[[str | None], Awaitable[ListPage[T]]]) -> AsyncIterator[T]:
    """The items of all pages, in order.

    Args:
        what: What is listed, for messages.
        page_of: One page; None asks for the first one, else the token of the page before.

    Raises:
        StoreError: A token comes again, or too many pages in a row are empty.
    """
    token: str | None = None
    passed: set[str] = set()
    empty = 0
    while True:
        page = await page_of(token)
        for item in page.items:
            yield item
        token = page.token
        if token is None:
            return
        empty = 0 if page.items else empty + 1
        if token in passed:
            raise _endless(what, "a page repeats the token of a former one")
        if empty >= MOST_EMPTY_PAGES:
            raise _endless(what, f"{MOST_EMPTY_PAGES:,} pages in a row are empty, and more are said to follow")
        passed.add(token)


def _endless(what: str, why: str) -> StoreError:
    return StoreError(
        f"The list of {what} does not end: {why}",
        hint="Check AWS_ENDPOINT_URL_REKOGNITION: this is not how Rekognition lists.",
    )
