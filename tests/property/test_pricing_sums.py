"""Exact sums over any price tiers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from asyncfilter.job import PriceTier
from asyncfilter.policy.pricing import PriceList


@st.composite
def price_lists(draw: st.DrawFn) -> PriceList:
    """Any tiers whose images rise and whose prices never do."""
    ends = sorted(draw(st.sets(st.integers(1, 60), max_size=4)))
    prices = sorted(draw(st.lists(st.integers(0, 2000), min_size=len(ends) + 1, max_size=len(ends) + 1)), reverse=True)
    tiers = [PriceTier(up_to=end, micros=micros) for end, micros in zip([*ends, None], prices, strict=True)]
    return PriceList(tiers=tuple(tiers), source="a test")


@given(price_lists(), st.integers(1, 70), st.integers(0, 70))
def test_a_total_is_the_sum_of_its_images(prices: PriceList, first: int, count: int) -> None:
    """Computed by tier or by image, the sum is the same."""
    assert prices.total_micros(first, count) == sum(prices.price_micros(n) for n in range(first, first + count))


@given(price_lists(), st.integers(1, 70))
def test_a_later_image_is_never_dearer(prices: PriceList, nth: int) -> None:
    """A reservation at the present price covers any later image."""
    assert prices.price_micros(nth + 1) <= prices.price_micros(nth)


@given(price_lists(), st.integers(1, 70), st.integers(0, 30), st.integers(0, 30))
def test_totals_add_up(prices: PriceList, first: int, one: int, two: int) -> None:
    """A run in two parts costs the same as in one."""
    whole = prices.total_micros(first, one + two)
    assert whole == prices.total_micros(first, one) + prices.total_micros(first + one, two)
