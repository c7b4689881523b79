"""A list as a source: its files are read one after the other, in flat memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Protocol

from anyio import to_thread

from asyncfilter.errors import AsyncFilterError
from asyncfilter.model import ListedObject
from asyncfilter.ports.examine import Page

PAGE_OBJECTS = 10_000
"""Objects on a page: each page is stored as one transaction."""


class ListFile(Protocol):
    """One file of a list."""

    async def objects(self) -> Iterator[ListedObject]:
        """The objects that the file names, read as they are taken, on another thread; the file is checked before.

        Raises:
            UsageError: The file is not the one that it should be; or, as it is read, it is damaged.
            AccessError: It may not be read.
        """
        ...


class ListSource:
    """``Source``: the objects of a list in its order, from its start to its end.

    A list has no order in which it could be entered in the middle: a page follows the one before it, or is the first.

    Args:
        files: Of the list, in order.
    """

    def __init__(self, files: Sequence[ListFile]) -> None:
        self._files = files
        self._left: Iterator[ListFile] = iter(())
        self._objects: Iterator[ListedObject] | None = None
        self._last: str | None = None

    async def page(self, after: str | None) -> Page:
        """See ``Source``; an object that the list has several times is on several pages."""
        if after is None:
            self._left, self._last = iter(self._files), None
            await self._open_next()
        elif after != self._last:
            raise AsyncFilterError(f"a list cannot be entered behind the key {after!r}")
        objects: list[ListedObject] = []
        while not objects and self._objects is not None:
            objects = await to_thread.run_sync(_some, self._objects)
            if len(objects) < PAGE_OBJECTS:
                await self._open_next()
            while objects and objects[-1].key == self._last:
                objects.pop()  # so that every page goes on behind the key of the last one
        if objects:
            self._last = objects[-1].key
        return Page(objects, is_last=self._objects is None)

    async def _open_next(self) -> None:
        file = next(self._left, None)
        self._objects = None if file is None else await file.objects()


def _some(objects: Iterator[ListedObject]) -> list[ListedObject]:
    return list(islice(objects, PAGE_OBJECTS))
