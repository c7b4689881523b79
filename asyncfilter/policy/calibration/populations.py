"""The thresholds that can be certified, and the milestones of a part: all that is settled before anybody is asked."""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil


def candidates(*, floor: float, present: float) -> tuple[float, ...]:
    """The whole percents from ``floor`` to 99, and the present threshold, rising."""
    return tuple(sorted({*map(float, range(ceil(floor), 100)), float(present)}))


def milestones_of(images: int, announced: Iterable[int]) -> tuple[int, ...]:
    """The milestones of a part: the announced ones below its size, and the size itself if one announced is no less."""
    wanted = sorted(set(announced))
    below = [milestone for milestone in wanted if milestone < images]
    return (*below, images) if images and len(below) < len(wanted) else tuple(below)
