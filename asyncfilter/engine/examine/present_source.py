"""Objects of a list as they are now: a list may be older than its store, and it may know no more than keys.

An object is looked at before it may be paid for: one that is gone is skipped, one that was replaced is examined as it
is now. An object whose outcome the checkpoint has is not looked at.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence

import anyio

from asyncfilter.errors import AsyncFilterError, PermissionDeniedError
from asyncfilter.model import MISSING, UNREADABLE, ListedObject, Skip
from asyncfilter.policy.matching import match
from asyncfilter.ports.examine import Heads, Page, Source
from asyncfilter.records.images import StoredImage

_LOOKED_AT = {None, Skip.ARCHIVED}
"""Also what is archived: a list does not know which objects are restored for the time being."""

AT_ONCE = 64
"""Most objects that are looked at at the same time."""


class PresentSource:
    """A source whose objects are looked at, as far as they may be paid for.

    Args:
        source: Lists the objects of a list, each key once.
        heads: Looks at one object.
        check: Returns the reason why a listed object is not examined, or None.
        known: Returns the stored rows of keys, cached ones with their labels.
        retry_failed: True when images that failed are examined again.
    """

    def __init__(
        self,
        source: Source,
        heads: Heads,
        *,
        check: Callable[[ListedObject], Skip | None],
        known: Callable[[Sequence[str]], Awaitable[Sequence[StoredImage]]],
        retry_failed: bool = False,
    ) -> None:
        self._source = source
        self._heads = heads
        self._check = check
        self._known = known
        self._retry_failed = retry_failed
        self._after: str | None = None
        self._found: dict[str, ListedObject] = {}

    async def page(self, after: str | None) -> Page:
        """See ``Source``. An attempt that follows a failed one looks only at the objects that are left."""
        page = await self._source.page(after)
        if after != self._after:
            self._after, self._found = after, {}
        await self._look_at(await self._unknown(page.objects))
        return Page([self._found.get(listed.key, listed) for listed in page.objects], is_last=page.is_last)

    async def _unknown(self, objects: Sequence[ListedObject]) -> list[ListedObject]:
        """Those that may be paid for and were not looked at yet."""
        wanted = [one for one in objects if one.key not in self._found and self._check(one) in _LOOKED_AT]
        rows: dict[str, list[StoredImage]] = defaultdict(list)
        for row in await self._known([one.key for one in wanted if one.etag]):
            rows[row.key].append(row)
        return [one for one in wanted if not self._has_outcome(one, rows.get(one.key, ()))]

    def _has_outcome(self, listed: ListedObject, rows: Sequence[StoredImage]) -> bool:
        found = match(rows, listed, retry_failed=self._retry_failed)
        return found.standing is not None or found.stored is not None

    async def _look_at(self, objects: Sequence[ListedObject]) -> None:
        """Look at objects, several at a time.

        Raises:
            AsyncFilterError: The first error; what was found until then is kept.
        """
        errors: list[AsyncFilterError] = []
        left = iter(objects)
        async with anyio.create_task_group() as tasks:
            for _ in range(min(AT_ONCE, len(objects))):
                tasks.start_soon(self._look_at_some, left, errors)
        if errors:
            raise errors[0]

    async def _look_at_some(self, left: Iterator[ListedObject], errors: list[AsyncFilterError]) -> None:
        for listed in left:
            if errors:
                return
            try:
                self._found[listed.key] = await self._head(listed)
            except AsyncFilterError as error:
                errors.append(error)

    async def _head(self, listed: ListedObject) -> ListedObject:
        try:
            found = await self._heads.head(listed.key)
        except PermissionDeniedError:
            # Of this object alone, perhaps: its examination finds the cause.
            return listed if listed.etag else ListedObject(listed.key, listed.size_bytes, UNREADABLE)
        return ListedObject(listed.key, 0, MISSING) if found is None else found
