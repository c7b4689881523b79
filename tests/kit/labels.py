"""What images show, by key, for ``Stage`` and others: enough of each kind, and the same each time."""

from __future__ import annotations

from asyncfilter.testing import BROKEN


def birds(number: int, *, every: int = 3, broken_every: int = 0) -> dict[str, str]:
    """Labels of ``number`` images.

    Args:
        number: How many images.
        every: Of so many images the first shows a robin.
        broken_every: Of so many images the second is broken where it shows no robin; 0 for none. The rest are cats.
    """
    return {f"{index:05d}.jpg": _bird(index, every, broken_every) for index in range(number)}


def _bird(index: int, every: int, broken_every: int) -> str:
    if index % every == 0:
        return "Robin"
    return BROKEN if broken_every and index % broken_every == 1 else "Cat"


def in_turn(number: int, *labels: str) -> dict[str, str]:
    """Labels of ``number`` images that show ``labels`` in turn."""
    return {f"{index:05d}.jpg": labels[index % len(labels)] for index in range(number)}
