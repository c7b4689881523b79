"""What calls cost that several lanes share: at the most, and at the cheapest lane.

Which lane an image meets is not known before. Prices never rise with the number of images billed, so the most that a
number of calls can cost is reached where each call meets the lane with the highest next price.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from asyncfilter.policy.pricing import PriceList


class LanePrices(msgspec.Struct, frozen=True, kw_only=True):
    """A lane before a run.

    Attributes:
        account: Number of its account; None where STS may not be asked.
        tps: Calls a second that it may make; None where that is not known.
        origin: The origin of that figure, as text for people.
        by: ``reference`` or ``bytes``: how it gets its images.
        prices: Of its calls.
        used: Images billed there this month before the next one.
        is_used_old: Whether its ``used_this_month`` is of an earlier month, and not counted.
    """

    name: str
    region: str
    account: str | None
    tps: float | None
    origin: str
    by: str
    prices: PriceList
    used: int
    is_used_old: bool = False

    @property
    def next_micros(self) -> int:
        """The price of the next image."""
        return self.prices.price_micros(self.used + 1)


class Place(NamedTuple):
    """A place in a price list: the ``first`` image is billed next, counted from 1 in its month."""

    prices: PriceList
    first: int


def most_micros(places: Sequence[Place], calls: int) -> int:
    """The most that ``calls`` can cost, however they are divided."""
    total_micros, left = 0, calls
    for micros, count in sorted((step for place in places for step in _steps(place)), key=lambda step: -step[0]):
        taken = left if count is None else min(left, count)
        total_micros += taken * micros
        left -= taken
    return total_micros


def least_micros(places: Sequence[Place], calls: int) -> int:
    """What ``calls`` cost where all of them are made at the cheapest place."""
    return min(place.prices.total_micros(place.first, calls) for place in places)


def _steps(place: Place) -> Iterator[tuple[int, int | None]]:
    """Prices with the number of images that have them; None for the last price."""
    nth = place.first
    for tier in place.prices.tiers:
        if tier.up_to is None:
            yield tier.micros, None
        elif tier.up_to >= nth:
            yield tier.micros, tier.up_to - nth + 1
            nth = tier.up_to + 1
