"""Looks at objects that are slow: a store that is away holds nothing up, and one slow look hides nothing."""

from __future__ import annotations

from types import SimpleNamespace

import anyio
import pytest

from asyncfilter.records.answers import Subject
from asyncfilter.review import versions
from asyncfilter.review.rows import CardRow
from asyncfilter.review.versions import OriginalState, Versions

NEVER_S = 1e9


class SlowLooks:
    """Looks at images that are all gone; each look takes the next of some times, in seconds of a clock of its own."""

    def __init__(self, *takes_s: float) -> None:
        self.now_s = 100.0
        self.looks = 0
        self._takes_s = iter(takes_s)

    async def standing(self, _: CardRow) -> OriginalState | None:
        """See ``Looks``."""
        self.looks += 1
        took_s = next(self._takes_s)
        self.now_s += min(took_s, versions.LOOK_S)
        if took_s == NEVER_S:
            await anyio.sleep_forever()
        return OriginalState.GONE

    def is_free(self, _: CardRow) -> bool:
        """See ``Looks``."""
        return False


def row(number: int) -> CardRow:
    """An image."""
    return CardRow(id=number, subject=Subject(bucket="raw", key=f"{number}.jpg", etag="e", size_bytes=1))


@pytest.mark.parametrize(
    ("takes_s", "shown"),
    [
        ((0.1, 0.1, 0.1), [False, False, False]),
        ((2.0, 0.1, 2.0), [False, False, False]),
        ((2.0, 2.0), [False, False, True]),
        ((NEVER_S,), [True, True, True]),
    ],
    ids=["quick", "one slow", "two slow", "away"],
)
async def test_slow_looks(monkeypatch: pytest.MonkeyPatch, takes_s: tuple[float, ...], shown: list[bool]) -> None:
    """One slow look is an answer as any other; after two, or one without an end, nothing is looked at for a while."""
    looks = SlowLooks(*takes_s)
    monkeypatch.setattr(versions, "time", SimpleNamespace(monotonic=lambda: looks.now_s))
    if NEVER_S in takes_s:
        monkeypatch.setattr(versions, "LOOK_S", 0.05)
        monkeypatch.setattr(versions, "_SLOW_LOOK_S", 0.01)
    known = Versions(looks)
    assert [await known.is_shown(row(number), is_large=True) for number in range(3)] == shown
    assert looks.looks == len(takes_s)
