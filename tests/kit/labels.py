"""Labels of images by key, for ``Stage`` and ``Bucket``; deterministic."""

from __future__ import annotations

from asyncfilter.testing import BROKEN


def birds(number: int, *, every: int = 3, broken_every: int = 0) -> dict[str, str]:
    """Labels of ``number`` images.

    Args:
        number: How many images.
        every: The first of every ``every`` images shows a robin.
        broken_every: The second of every ``broken_every`` images is broken unless it shows a robin; 0 for none.
            All other images show a cat.
    """
    return {f"{index:05d}.jpg": _bird(index, every, broken_every) for index in range(number)}


def _bird(index: int, every: int, broken_every: int) -> str:
    if index % every == 0:
        return "Robin"
    return BROKEN if broken_every and index % broken_every == 1 else "Cat"


def cycled(number: int, *labels: str) -> dict[str, str]:
    """Labels of ``number`` images: ``labels``, repeated in this order."""
    return {f"{index:05d}.jpg": labels[index % len(labels)] for index in range(number)}
