"""One browser for the tests of a module."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest_asyncio

from tests.kit.browser import Watched, browser, watched_page
from tests.kit.review_double import FakeReview, card, drawn
from tests.kit.review_page import ReviewPage

WAITING = 40


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chrome() -> AsyncIterator[Any]:
    """The browser."""
    async with browser() as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="module")
async def review() -> AsyncIterator[FakeReview]:
    """A review of 40 drawn pictures that wait."""
    fake = FakeReview(
        [card(number, f"birds/{number:03}.jpg") for number in range(1, WAITING + 1)],
        drawn,
        ("Robin", "Wren", "Person"),
    )
    await fake.start()
    yield fake
    await fake.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def open_page(chrome: Any, review: FakeReview) -> AsyncIterator[Callable[..., Any]]:
    """Opens the page of the review; ``may_lose`` as in ``Watched``, and options of the browser's context."""
    async with AsyncExitStack() as stack:

        async def opening(url: str = "", *, may_lose: bool = False, **options: Any) -> ReviewPage:
            watched: Watched = await stack.enter_async_context(watched_page(chrome, **options))
            watched.may_lose = may_lose
            page = ReviewPage(watched)
            await page.page.goto(url or review.url)
            return page

        yield opening
