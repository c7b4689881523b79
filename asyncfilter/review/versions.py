"""Whether the version of an object that a person sees is still there: a picture on the screen may be a cached one.

A look is a HEAD request or a ``stat``. Answers and large pictures must not wait long for it: what cannot be told soon
counts as unchanged.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from enum import Enum, auto
from typing import Protocol

import anyio

from asyncfilter.records.answers import Subject
from asyncfilter.review.rows import CardRow

LOOKS_AT_ONCE = 16
LOOK_S = 3.0
"""An answer, or a picture, waits so long at the most."""
TRUSTED_S = 30.0
"""What was read or looked at is not looked at again for so long before a picture is shown."""
_SLOW_LOOK_S = 1.0
_NO_LOOKS_S = 30.0
"""After a look without an end, or two slow ones in a row, there are none for so long: nothing must wait for a store
that is away. The first look opens connections and may ask for keys, which takes long where nothing is wrong."""
_MOST_KNOWN = 10_000
_MOST_REPLACED = 100_000


class OriginalState(Enum):
    """What stands in the place of an image."""

    SAME = auto()
    """The version that is meant."""
    REPLACED = auto()
    GONE = auto()
    """Nothing, and there is no copy."""


class Looks(Protocol):
    """Looks at objects."""

    async def standing(self, row: CardRow) -> OriginalState | None:
        """What stands in the place of an image now; None where that cannot be told."""
        ...

    def is_free(self, row: CardRow) -> bool:
        """Whether a look costs nothing and takes no time: that at a file."""
        ...


class Versions:
    """Knows what was replaced or removed.

    Args:
        looks: Looks at objects.
    """

    def __init__(self, looks: Looks) -> None:
        self._looks = looks
        self._at_once = anyio.CapacityLimiter(LOOKS_AT_ONCE)
        self._replaced: set[Subject] = set()
        self._gone: dict[Subject, float] = {}
        self._trusted: dict[Subject, float] = {}
        self._looks_from_s = 0.0
        self._was_slow_s: float | None = None

    def trust(self, row: CardRow) -> None:
        """Note that a version was there just now."""
        self._gone.pop(row.subject, None)
        _note(self._trusted, row.subject)

    def note_replaced(self, row: CardRow) -> None:
        """Note that another version stands in the place of an image."""
        if len(self._replaced) < _MOST_REPLACED:
            self._replaced.add(row.subject)

    def is_replaced(self, row: CardRow) -> bool:
        """Whether another version is known to stand in the place of an image."""
        return row.subject in self._replaced

    async def replaced(self, rows: Sequence[CardRow]) -> frozenset[int]:
        """The ids of those images that are replaced, as far as that can be told soon."""
        await self._look_at(rows)
        return frozenset(row.id for row in rows if row.subject in self._replaced)

    async def is_shown(self, row: CardRow, *, is_large: bool) -> bool:
        """Whether a picture that was made before may be shown: a large one, and a file, is looked at first."""
        if self._looks.is_free(row):
            await self._look(row)
        elif is_large and row.subject not in self._replaced and not _is_recent(self._trusted, row.subject):
            await self._look_at([row])
        return row.subject not in self._replaced and not _is_recent(self._gone, row.subject)

    async def _look_at(self, rows: Sequence[CardRow]) -> None:
        began_s = time.monotonic()
        if began_s < self._looks_from_s:
            return
        with anyio.move_on_after(LOOK_S) as scope:
            async with anyio.create_task_group() as tasks:
                for row in rows:
                    tasks.start_soon(self._look, row)
        now_s = time.monotonic()
        if now_s - began_s <= _SLOW_LOOK_S:
            self._was_slow_s = None
        elif scope.cancelled_caught or (self._was_slow_s is not None and began_s >= self._was_slow_s):
            self._looks_from_s, self._was_slow_s = now_s + _NO_LOOKS_S, None
        elif self._was_slow_s is None:
            self._was_slow_s = now_s

    async def _look(self, row: CardRow) -> None:
        if row.subject in self._replaced:
            return
        async with self._at_once:
            found = await self._looks.standing(row)
        if found is OriginalState.REPLACED:
            self.note_replaced(row)
        elif found is OriginalState.GONE:
            _note(self._gone, row.subject)
        elif found is OriginalState.SAME:
            self.trust(row)


def _note(known: dict[Subject, float], subject: Subject) -> None:
    if len(known) >= _MOST_KNOWN:
        known.clear()
    known[subject] = time.monotonic()


def _is_recent(known: dict[Subject, float], subject: Subject) -> bool:
    at_s = known.get(subject)
    return at_s is not None and time.monotonic() - at_s < TRUSTED_S
