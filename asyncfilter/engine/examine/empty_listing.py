"""The explanation of a listing without images: looks for the images nearby, at the cost of some list requests."""

from __future__ import annotations

import difflib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol, TypeVar
from unicodedata import normalize

import anyio

from asyncfilter.engine.core.retry import DrainedError, Repeater
from asyncfilter.errors import AsyncFilterError
from asyncfilter.job.spec import SourceSpec
from asyncfilter.model import ListedObject, NothingFound, Skip, uri_of
from asyncfilter.policy.empty_listing import Evidence, difference, is_image, nothing_found, spellings
from asyncfilter.ports.examine import Places, Source

T = TypeVar("T")

SEARCH_S = 20.0
"""Longest search, seconds: what was found until then is reported."""

_TRIED = 8
"""Folders of one level that are looked into, those with the most similar names."""


class EmptyListing:
    """Explains a listing that has no image to examine.

    Args:
        spec: The source.
        source: Its listing.
        places: Other places of its store; None where these cannot be listed.
        check: Returns the reason why a listed object is not examined, or None.
        repeat: The retry policy.
    """

    def __init__(
        self,
        spec: SourceSpec,
        *,
        source: Source,
        places: Places | None,
        check: Callable[[ListedObject], Skip | None],
        repeat: Repeater,
    ) -> None:
        self._spec = spec
        self._source = source
        self._places = places
        self._check = check
        self._repeat = repeat

    async def explain(
        self, listed: int, skipped: Mapping[str, int], skipped_keys: Mapping[str, Sequence[str]]
    ) -> NothingFound:
        """The explanation; trouble with a request makes it shorter, and is no error.

        Args:
            listed: Objects in the listing.
            skipped: Those that are skipped, by reason; all of them are.
            skipped_keys: The first keys of each reason.
        """
        left_out = await self._left_out() if listed else []
        nearest: str | None = None
        spelling: str | None = None
        if any(map(is_image, left_out)):
            nearest = self._places.prefix if self._places is not None else self._spec.prefix
        elif self._places is not None:
            with anyio.move_on_after(SEARCH_S):
                nearest, spelling = await _Search(self._places, self._attempt).nearest()
        return nothing_found(
            self._spec,
            Evidence(
                address=self._address(self._spec.prefix if self._places is None else self._places.prefix),
                listed=listed,
                skipped=skipped,
                skipped_keys=skipped_keys,
                left_out=[one.key for one in left_out],
                nearest=nearest,
                nearest_address=None if nearest is None else self._address(nearest),
                spelling=spelling,
            ),
        )

    def _address(self, prefix: str) -> str:
        return self._places.address(prefix) if self._places is not None else uri_of(self._spec.bucket, prefix)

    async def _left_out(self) -> list[ListedObject]:
        """Objects of the first page that the globs leave out."""
        page = await self._attempt(lambda: self._source.page(None))
        objects = page.objects if page is not None else ()
        return [one for one in objects if self._check(one) in (Skip.NOT_INCLUDED, Skip.EXCLUDED)]

    async def _attempt(self, request: Callable[[], Awaitable[T]]) -> T | None:
        """The answer to a request; None when there is none, for instance for want of a permission."""
        try:
            return await self._repeat(request)
        except (AsyncFilterError, DrainedError):
            return None


class _Attempt(Protocol):
    """Makes a request; see ``EmptyListing``."""

    async def __call__(self, request: Callable[[], Awaitable[T]], /) -> T | None: ...


class _Search:
    """Looks for images near the prefix of a source, at the most similar names first."""

    def __init__(self, places: Places, attempt: _Attempt) -> None:
        self._places = places
        self._attempt = attempt

    async def nearest(self) -> tuple[str | None, str | None]:
        """The nearest prefix that has images, and what is wrong with the source's, as far as these are found."""
        prefix = self._places.prefix
        for other, what in spellings(prefix):
            if await self._has_images(other):
                return other, what
        trimmed = prefix.rstrip("/")
        if any(is_image(one) and "/" not in one.key[len(trimmed) :] for one in await self._objects(trimmed)):
            return trimmed, "the address ends in a slash, and the keys go on without one"
        for above in self._places.above(prefix):
            found = await self._below(above, prefix)
            if found is not None:
                return found, difference(prefix, found)
        return None, None

    async def _below(self, above: str, prefix: str) -> str | None:
        """The prefix with images that is most similar to ``prefix`` below ``above``, which contains it."""
        segment, _, rest = prefix.removeprefix(above).partition("/")
        for folder in _by_likeness(segment, await self._attempt(lambda: self._places.folders(above)) or (), above):
            for other in dict.fromkeys((folder + rest, folder)):
                if other != prefix and await self._has_images(other):
                    return other
        key = next((one.key for one in await self._objects(above) if is_image(one)), None)
        return None if key is None else key[: key.rfind("/") + 1]

    async def _has_images(self, prefix: str) -> bool:
        return any(map(is_image, await self._objects(prefix)))

    async def _objects(self, prefix: str) -> Sequence[ListedObject]:
        return await self._attempt(lambda: self._places.objects(prefix)) or ()


def _by_likeness(segment: str, folders: Sequence[str], above: str) -> list[str]:
    """The folders whose names are most similar to ``segment``, the most similar first."""
    wanted = normalize("NFC", segment).casefold()

    def similarity(folder: str) -> float:
        name = normalize("NFC", folder.removeprefix(above).rstrip("/")).casefold()
        return difflib.SequenceMatcher(None, wanted, name).ratio()

    return sorted(folders, key=similarity, reverse=True)[:_TRIED]
