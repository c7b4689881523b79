"""The answers that are not durable yet: which worker keeps each, and which belong to no ask."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

import anyio
import msgspec

from asyncfilter.fleet.link import Link
from asyncfilter.model import Detection, ObjectRef

_MOST_LATE = 10_000
"""With so many answers that are not stored yet, no further ones are fetched."""

LinkKey = tuple[str, str]


class LateAnswer(msgspec.Struct, frozen=True):
    """An answer that belongs to no ask under way."""

    image: ObjectRef
    detection: Detection


class _Number(NamedTuple):
    """Where an answer is kept: a process of a worker, and its number there."""

    link: Link
    process: str
    number: int


class UnstoredAnswers:
    """The answers of one run that are not durable yet."""

    def __init__(self) -> None:
        self._numbers: dict[LinkKey, list[_Number]] = defaultdict(list)
        self._late: list[LateAnswer] = []
        self._arrived = anyio.Event()

    def numbered(self, link: Link, number: int, image: ObjectRef) -> None:
        """Note under which number a worker keeps the answer about an image."""
        self._numbers[image.key, image.etag].append(_Number(link, link.process, number))

    def durable(self, objects: Iterable[LinkKey]) -> None:
        """Report to the workers that the answers about these objects, by key and ETag, are durable."""
        by_link: dict[Link, list[int]] = defaultdict(list)
        for one in objects:
            for link, process, number in self._numbers.pop(one, ()):
                if process == link.process:  # an ended process keeps nothing; another may use the number
                    by_link[link].append(number)
        for link, numbers in by_link.items():
            link.durable(numbers)

    # -- Late answers ----------------------------------------------------------------------------------------------

    def add_late(self, image: ObjectRef, detection: Detection) -> None:
        """Add an answer that belongs to no ask under way."""
        self._late.append(LateAnswer(image, detection))
        self._arrived.set()

    def take_late(self) -> list[LateAnswer]:
        """The answers that were added since the last call."""
        late, self._late = self._late, []
        if late:  # else a task may wait for the event that is there
            self._arrived = anyio.Event()
        return late

    async def late_arrived(self) -> None:
        """Return once there are late answers."""
        await self._arrived.wait()

    @property
    def are_too_many(self) -> bool:
        """True while no further late answers should be fetched."""
        return len(self._late) > _MOST_LATE
