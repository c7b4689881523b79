"""The reading of a first look: bounded, and not only of the first folder."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from asyncfilter.clock import SystemClock
from asyncfilter.engine.preview.first_look import FIRST_PAGES, FURTHER_PAGES, FirstLookReader
from asyncfilter.errors import ThrottleCause, ThrottledError
from asyncfilter.model import ListedObject
from asyncfilter.policy.first_look import FirstLook
from asyncfilter.ports.examine import Page

PAGE = 10


class Pages:
    """A source of small pages; the first ``failures`` requests are throttled."""

    def __init__(self, keys: Sequence[str], failures: int = 0) -> None:
        self._keys = sorted(keys, key=str.encode)
        self._failures = failures
        self.requests = 0

    async def page(self, after: str | None) -> Page:
        """See ``Source``."""
        self.requests += 1
        if self._failures:
            self._failures -= 1
            raise ThrottledError("slow down", cause=ThrottleCause.SERVER)
        behind = [key for key in self._keys if after is None or key.encode() > after.encode()]
        return Page([ListedObject(key, 5, "etag") for key in behind[:PAGE]], is_last=len(behind) <= PAGE)


async def look(source: Pages, prefix: str = "") -> FirstLook:
    """The look at a source."""
    return await FirstLookReader(source=source, prefix=prefix, max_bytes=100, clock=SystemClock()).run()


@pytest.mark.parametrize("images", [0, 1, PAGE, PAGE + 1, PAGE * FIRST_PAGES])
async def test_a_short_listing_is_read_as_a_whole(images: int) -> None:
    """All objects are counted, once."""
    found = await look(Pages([f"{number:05}.jpg" for number in range(images)]))
    assert (found.listed, found.images, found.is_whole) == (images, images, True)


async def test_a_long_listing_is_read_in_all_of_its_folders() -> None:
    """Folders behind the first one are found, by one page each."""
    source = Pages([f"in/{folder}/{number:04}.jpg" for folder in "abcdef" for number in range(500)])
    found = await look(source, "in/")
    assert set(found.folders) == {f"{folder}/" for folder in "abcdef"}
    assert not found.is_whole
    assert source.requests <= FIRST_PAGES + FURTHER_PAGES


async def test_the_look_is_bounded() -> None:
    """However many folders there are, and also without folders."""
    source = Pages([f"{folder:03}/{number:02}.jpg" for folder in range(300) for number in range(30)])
    await look(source)
    assert source.requests == FIRST_PAGES + FURTHER_PAGES
    flat = Pages([f"{number:05}.jpg" for number in range(3000)])
    found = await look(flat)
    assert (flat.requests, found.listed, found.is_whole) == (FIRST_PAGES, FIRST_PAGES * PAGE, False)


async def test_no_object_is_counted_twice() -> None:
    """Folders whose names continue one another are passed over in the order of the listing."""
    keys = [f"{folder}/{number:03}.jpg" for folder in ("a", "a-b", "a0", "a b", "ab", "é") for number in range(60)]
    found = await look(Pages(keys))
    assert found.listed <= len(keys)
    assert set(found.folders) >= {"a/", "ab/", "é/"}


async def test_throttled_pages_are_repeated() -> None:
    """As a run does."""
    assert (await look(Pages(["a.jpg"], failures=1))).images == 1
