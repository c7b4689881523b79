"""A source, a detector, reference images and a sink in memory, with failures chosen by the caller."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

import anyio
import anyio.lowlevel

from asyncfilter.errors import ImageError
from asyncfilter.model import Detection, Effect, Label, ListedObject, ObjectRef, S3Location
from asyncfilter.ports.examine import Page

Fault = Callable[[str, int], Exception | None]
"""Returns the error to raise, or None, for a key and the number of the attempt at it, from 1."""


def no_fault(_key: str, _attempt: int) -> Exception | None:
    """Return None: no attempt fails."""
    return None


class MemorySource:
    """Objects in UTF-8 byte order of their keys, as S3 lists them.

    Args:
        objects: In any order; ``put`` and ``remove`` change them while a run goes on.
        page_objects: Objects on a page at the most.
        fault: Called with the key that the page follows ("" for the first page).
    """

    def __init__(
        self, objects: Iterable[ListedObject] = (), *, page_objects: int = 1000, fault: Fault = no_fault
    ) -> None:
        self._objects = {listed.key: listed for listed in objects}
        self._order: list[bytes] | None = None
        self._page_objects = page_objects
        self._fault = fault
        self._attempts: Counter[str] = Counter()

    @classmethod
    def of_keys(cls, keys: Iterable[str], page_objects: int = 1000) -> MemorySource:
        """Objects of 1,000 bytes whose ETag follows from the key."""
        return cls((ListedObject(key, 1000, f"etag-{key}") for key in keys), page_objects=page_objects)

    def put(self, listed: ListedObject) -> None:
        """Add an object, or replace it."""
        self._objects[listed.key] = listed
        self._order = None

    def remove(self, key: str) -> None:
        """Delete an object."""
        del self._objects[key]
        self._order = None

    def head(self, key: str) -> ListedObject | None:
        """The current object; None when there is none."""
        return self._objects.get(key)

    async def page(self, after: str | None) -> Page:
        """See ``Source``."""
        self._attempts[after or ""] += 1
        error = self._fault(after or "", self._attempts[after or ""])
        await anyio.lowlevel.checkpoint()
        if error is not None:
            raise error
        if self._order is None:
            self._order = sorted(key.encode() for key in self._objects)
        start = bisect_right(self._order, after.encode()) if after is not None else 0
        keys = self._order[start : start + self._page_objects]
        return Page([self._objects[key.decode()] for key in keys], start + len(keys) >= len(self._order))


class ScriptedDetector:
    """Returns labels from a table, after a delay, and counts its calls.

    Args:
        labels: Labels by key, as (name, percent); a key that is missing has none.
        delay_s: Seconds to wait before the response, by key; none by default.
        fault: Chooses the attempts that fail.
        sleep: Called to wait.
    """

    def __init__(
        self,
        labels: Mapping[str, Sequence[tuple[str, float]]],
        *,
        delay_s: Callable[[str], float] | None = None,
        fault: Fault = no_fault,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        self.attempts: Counter[str] = Counter()
        self.in_flight = 0
        self.peak = 0
        self.delay_s = delay_s
        self._labels = dict(labels)
        self._fault = fault
        self._sleep = sleep

    def learn(self, labels: Mapping[str, Sequence[tuple[str, float]]]) -> None:
        """Add labels of images; those of a key that has labels are replaced."""
        self._labels.update(labels)

    async def detect(self, image: ObjectRef) -> Detection:
        """See ``Detector``."""
        self.attempts[image.key] += 1
        error = self._fault(image.key, self.attempts[image.key])
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        try:
            await self._sleep(self.delay_s(image.key) if self.delay_s is not None else 0.0)
        finally:
            self.in_flight -= 1
        if error is not None:
            raise error
        return Detection(tuple(Label(name, pct) for name, pct in self._labels.get(image.key, ())), "3.0")


class MemoryReferences:
    """Reference images by address, and a count of the paid attempts.

    Args:
        labels: The labels of each image.
        fault: Chooses the attempts that fail.
    """

    def __init__(self, labels: Mapping[str, Detection], *, fault: Fault = no_fault) -> None:
        self.attempts: Counter[str] = Counter()
        self.etags = {uri: f"etag-{uri}" for uri in labels}
        self._labels = dict(labels)
        self._fault = fault

    async def head(self, uri: str) -> ListedObject:
        """See ``References``."""
        await anyio.lowlevel.checkpoint()
        if uri not in self.etags:
            raise ImageError(f"{uri}: there is no such image", code="vanished")
        return ListedObject(uri, 1000, self.etags[uri])

    async def detect(self, image: ObjectRef) -> Detection:
        """See ``References``."""
        self.attempts[image.key] += 1
        error = self._fault(image.key, self.attempts[image.key])
        await anyio.sleep(0.1)
        if error is not None:
            raise error
        return self._labels[image.key]


class RecordingSink:
    """Records what was written to which target, and rejects objects that are not the examined ones.

    Args:
        source: The source of the objects, for a check of their ETags; None for no check.
        fault: Chooses the attempts that fail.
    """

    def __init__(self, source: MemorySource | None = None, *, fault: Fault = no_fault) -> None:
        self.written: dict[S3Location | None, ObjectRef] = {}
        self.performed: list[Effect] = []
        self.attempts: Counter[str] = Counter()
        self._source = source
        self._fault = fault

    async def perform(self, effect: Effect) -> None:
        """See ``Sink``."""
        key = effect.source.key
        self.attempts[key] += 1
        error = self._fault(key, self.attempts[key])
        await anyio.lowlevel.checkpoint()
        if error is not None:
            raise error
        self._check_unchanged(effect.source)
        self.performed.append(effect)
        self.written[effect.target] = effect.source

    def _check_unchanged(self, image: ObjectRef) -> None:
        if self._source is None:
            return
        now = self._source.head(image.key)
        if now is None:
            raise ImageError(f"{image.uri} is not there any more", code="vanished")
        if now.etag != image.etag:
            raise ImageError(f"{image.uri} was replaced since it was examined", code="changed")
