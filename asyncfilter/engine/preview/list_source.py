"""A source that lists given objects in a given order."""

from __future__ import annotations

from collections.abc import Sequence

from asyncfilter.model import ListedObject
from asyncfilter.ports.examine import Page

PAGE_OBJECTS = 1000


class ChosenSource:
    """A source that lists ``chosen`` objects in the given order; every key must occur once."""

    def __init__(self, chosen: Sequence[ListedObject]) -> None:
        self._chosen = chosen
        self._next = {listed.key: index for index, listed in enumerate(chosen, 1)}

    async def page(self, after: str | None) -> Page:
        """See ``Source``."""
        start = 0 if after is None else self._next[after]
        return Page(self._chosen[start : start + PAGE_OBJECTS], is_last=start + PAGE_OBJECTS >= len(self._chosen))
