"""The arithmetic of forecasts and estimates."""

from __future__ import annotations

import random
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncfilter.job import ByHand, Limits, PriceTier, Stop
from asyncfilter.model import Counts, StopReason
from asyncfilter.policy.by_hand import review_by_people
from asyncfilter.policy.forecast import CheckpointTotals, ListingSurvey, PlanInputs, PricingTerms, estimate, forecast
from asyncfilter.policy.lane_prices import LanePrices, Place, least_micros, most_micros
from asyncfilter.policy.pricing import PriceList

MILLI = PriceList(tiers=(PriceTier(up_to=None, micros=1000),), source="test")


def plan_inputs(unpaid: int = 1000, *, checkpoint_totals: CheckpointTotals | None = None, **changes: Any) -> PlanInputs:
    """A listing of ``unpaid`` unpaid images at a tenth of a cent and 10 a second."""
    terms: dict[str, Any] = {"prices": MILLI, "used": 0, "hourly_micros": 0, "limit_tps": 10.0, "tps_origin": "test"}
    survey = changes.pop("survey", ListingSurvey(listed=unpaid, unpaid=unpaid))
    return PlanInputs(
        survey=survey,
        checkpoint_totals=checkpoint_totals or CheckpointTotals(),
        terms=PricingTerms(**(terms | changes)),
    )


def test_everything_fits() -> None:
    """Without limits the forecast is the whole listing, at the rate."""
    found = forecast(plan_inputs(), Limits())
    assert (found.calls, found.cost_micros, found.ends) == (1000, 1_000_000, StopReason.COMPLETED)
    assert found.duration_s == 100.0
    assert found.by_hand == review_by_people(1000, ByHand())


def test_tiers_and_what_was_used_this_month_count() -> None:
    """The forecast adds up the tiers from the month's present usage."""
    tiers = PriceList(tiers=(PriceTier(up_to=1500, micros=1000), PriceTier(up_to=None, micros=100)), source="test")
    assert forecast(plan_inputs(prices=tiers, used=1000), Limits()).cost_micros == 500 * 1000 + 500 * 100


@pytest.mark.parametrize(
    ("limits", "checkpoint_totals", "calls", "ends"),
    [
        (Limits(budget_micros=400_999), CheckpointTotals(), 400, StopReason.BUDGET),
        (Limits(budget_micros=1_000_000), CheckpointTotals(), 1000, StopReason.COMPLETED),
        (Limits(budget_micros=1_000_000), CheckpointTotals(spent_micros=300_000), 700, StopReason.BUDGET),
        (Limits(budget_micros=100_000), CheckpointTotals(spent_micros=300_000), 0, StopReason.BUDGET),
        (Limits(max_images=50), CheckpointTotals(), 50, StopReason.MAX_IMAGES),
        (Limits(max_images=50), CheckpointTotals(examined=60), 0, StopReason.MAX_IMAGES),
        (Limits(max_images=1000), CheckpointTotals(), 1000, StopReason.COMPLETED),
        (Limits(max_images=50, budget_micros=40_000), CheckpointTotals(), 40, StopReason.BUDGET),
        (Limits(max_images=50, budget_micros=50_000), CheckpointTotals(), 50, StopReason.MAX_IMAGES),
    ],
)
def test_limits_end_the_forecast(
    limits: Limits, checkpoint_totals: CheckpointTotals, calls: int, ends: StopReason
) -> None:
    """The nearest limit determines the calls and the stop reason; earlier spending counts."""
    found = forecast(plan_inputs(checkpoint_totals=checkpoint_totals), limits)
    assert (found.calls, found.ends, found.whole_micros) == (calls, ends, 1_000_000)


def test_known_and_shared_images_cost_nothing() -> None:
    """Only images with unpaid content are in the cost; the cost by hand includes all."""
    survey = ListingSurvey(listed=100, settled=20, waiting=10, unpaid=70, shared=30)
    found = forecast(plan_inputs(survey=survey), Limits())
    assert (found.calls, found.cost_micros) == (40, 40_000)
    assert found.by_hand == review_by_people(100, ByHand())


def test_a_model_costs_by_its_time() -> None:
    """Custom Labels: hours at the rate times the hourly price, and a budget that covers half of it halves the calls."""
    free = PriceList(tiers=(PriceTier(up_to=None, micros=0),), source="test")
    whole = plan_inputs(36_000, prices=free, hourly_micros=4_000_000)
    assert forecast(whole, Limits()).cost_micros == 4_000_000
    assert forecast(whole, Limits(budget_micros=2_000_000)).calls == 18_000


def test_an_unknown_rate_has_no_duration() -> None:
    """Without a known rate there is no duration."""
    assert forecast(plan_inputs(limit_tps=None), Limits()).duration_s is None


# -- Estimates ---------------------------------------------------------------------------------------------------------


def test_estimates_of_a_plain_sample() -> None:
    """Shares of the sample are scaled to the listing; failed images are not billed and have no verdict."""
    counts = Counts(keep=20, review=10, reject=50, failed={"x": 20}, calls=100, billed_calls=80)
    estimated = estimate(counts, plan_inputs(10_000), Stop(matches=500))
    assert estimated.sampled == 100
    assert estimated.hit_rate.value == 0.25
    assert estimated.failure_share.value == 0.2
    assert estimated.keep.value == 2000
    assert estimated.total_micros.value == 8_000_000
    assert estimated.kept_micros.value == 4000
    assert estimated.to_matches is not None
    assert estimated.to_matches.value == 2500
    for one in (
        estimated.hit_rate,
        estimated.failure_share,
        estimated.keep,
        estimated.total_micros,
        estimated.kept_micros,
        estimated.to_matches,
    ):
        assert one.high is not None
        assert one.low < (one.value or 0) < one.high


def test_time_outs_that_are_counted_twice_raise_the_total() -> None:
    """If every second image of the sample was billed twice, so is every second image of the estimate."""
    counts = Counts(reject=100, calls=100, billed_calls=150)
    assert estimate(counts, plan_inputs(1000), Stop()).total_micros.value == 1_500_000


def test_a_sample_without_hits_has_no_price_for_one() -> None:
    """Without a match the estimate has no value and no upper bound, but a lower one."""
    estimated = estimate(Counts(reject=200, calls=200, billed_calls=200), plan_inputs(10_000), Stop(matches=5))
    assert (estimated.hit_rate.value, estimated.kept_micros.value, estimated.kept_micros.high) == (0.0, None, None)
    assert estimated.kept_micros.low > 1000 / 0.02
    assert estimated.to_matches is not None
    assert (estimated.to_matches.value, estimated.to_matches.high) == (None, None)


def test_a_sample_of_failures_alone_has_wide_intervals() -> None:
    """Without a verdict the hit rate is unknown, nearly all images fail, and nothing is billed."""
    estimated = estimate(Counts(failed={"x": 50}, calls=50), plan_inputs(1000), Stop())
    assert (estimated.hit_rate.value, estimated.hit_rate.low, estimated.hit_rate.high) == (None, 0.0, 1.0)
    assert estimated.failure_share.low > 0.9
    assert estimated.total_micros.value == 0


def test_a_whole_listing_as_sample_is_exact() -> None:
    """If all images were drawn, the intervals have no width."""
    counts = Counts(keep=30, reject=60, failed={"x": 10}, calls=100, billed_calls=90)
    estimated = estimate(counts, plan_inputs(100), Stop())
    assert (estimated.keep.low, estimated.keep.high) == (30, 30)
    assert estimated.hit_rate.low == estimated.hit_rate.value == estimated.hit_rate.high
    assert estimated.total_micros.low == estimated.total_micros.value == estimated.total_micros.high == 90_000


def test_a_free_sample_does_not_estimate_repetitions() -> None:
    """Known images give verdicts and failures; the estimated price stays that of one call each."""
    counts = Counts(keep=5, reject=40, failed={"x": 5}, from_checkpoint=50)
    survey = ListingSurvey(listed=1000, settled=50, unpaid=950, drawn_failed=5)
    estimated = estimate(counts, plan_inputs(survey=survey), Stop())
    assert estimated.total_micros.value == 855_000


def test_estimates_cover_the_truth() -> None:
    """Over many samples of one listing each interval contains the true value in at least 95 %."""
    rng, whole, sample, rounds = random.Random(5), 2000, 120, 400
    population = ["keep"] * 160 + ["reject"] * 1740 + ["failed"] * 100
    true_values = {"hit_rate": 160 / 1900, "failure_share": 0.05, "keep": 160, "total_micros": 1_900_000}
    missed = dict.fromkeys(true_values, 0)
    for _ in range(rounds):
        drawn = rng.sample(population, sample)
        failed = drawn.count("failed")
        counts = Counts(
            keep=drawn.count("keep"),
            reject=drawn.count("reject"),
            failed={"x": failed},
            calls=sample,
            billed_calls=sample - failed,
        )
        estimated = estimate(counts, plan_inputs(whole), Stop())
        for name, value in true_values.items():
            one = getattr(estimated, name)
            missed[name] += not one.low <= value <= one.high
    assert max(missed.values()) / rounds <= 0.05 + 3 * (0.05 * 0.95 / rounds) ** 0.5


TIERED = PriceList(tiers=(PriceTier(up_to=1000, micros=1000), PriceTier(up_to=None, micros=100)), source="test")
DAY_S = 86_400.0


@pytest.mark.parametrize(
    ("month_left_s", "used", "calls", "micros"),
    [
        (None, 0, 3000, 1_000_000 + 200_000),
        (DAY_S * 30, 0, 3000, 1_000_000 + 200_000),
        # 10 a second: 1,500 calls in this month, the others in the next one.
        (150.0, 0, 3000, 2 * (1_000_000 + 50_000)),
        (150.0, 1000, 3000, 150_000 + 1_000_000 + 50_000),
        (0.0, 1000, 3000, 100 + 1_000_000 + 199_900),
        # At the rate a whole month has 24,192,000 calls at least.
        (150.0, 0, 1500 + 24_192_000 + 1000, 1_050_000 + 1_000_000 + 2_419_100_000 + 1_000_000),
    ],
)
def test_each_month_of_a_forecast_has_its_tiers(month_left_s: float | None, used: int, calls: int, micros: int) -> None:
    """Calls that fall into later months, at the rate, are priced from the first tier on."""
    found = forecast(plan_inputs(calls, prices=TIERED, used=used, month_left_s=month_left_s), Limits())
    assert found.cost_micros == micros


@pytest.mark.parametrize("month_left_s", [0.0, 0.05, 30.0, 1e6, None])
@pytest.mark.parametrize("budget_micros", [0, 999, 1000, 500_000, 1_500_000, 10**10, 10**15])
def test_what_is_affordable_fits_and_one_more_does_not(month_left_s: float | None, budget_micros: int) -> None:
    """Also when months end in between."""
    terms = plan_inputs(prices=TIERED, used=5, month_left_s=month_left_s).terms
    calls = terms.affordable(budget_micros)
    assert terms.cost_micros(calls) <= budget_micros
    assert calls == 10**12 or terms.cost_micros(calls + 1) > budget_micros


# -- Lanes -------------------------------------------------------------------------------------------------------------


def lane(name: str, prices: PriceList, used: int = 0, tps: float = 5.0) -> LanePrices:
    """A lane with a price list."""
    return LanePrices(
        name=name, region="us-east-1", account=None, tps=tps, origin="test", by="reference", prices=prices, used=used
    )


TIERS = st.lists(st.tuples(st.integers(1, 6), st.integers(0, 9)), min_size=1, max_size=3)


def falling(steps: list[tuple[int, int]]) -> PriceList:
    """Tiers of these lengths at these prices, highest first; the last has no end."""
    prices = sorted((micros for _, micros in steps), reverse=True)
    ends: list[int] = []
    for length, _ in steps[:-1]:
        ends.append((ends[-1] if ends else 0) + length)
    tiers = [PriceTier(up_to=up_to, micros=micros) for up_to, micros in zip([*ends, None], prices, strict=True)]
    return PriceList(tiers=tuple(tiers), source="test")


@given(st.lists(st.tuples(TIERS, st.integers(1, 8)), min_size=1, max_size=3), st.integers(0, 9))
def test_the_cost_of_lanes_is_between_the_cheapest_and_the_most(
    lanes: list[tuple[list[tuple[int, int]], int]], calls: int
) -> None:
    """The most is that of the worst division of the calls, found by trying all of them."""
    places = [Place(falling(steps), first) for steps, first in lanes]
    divisions = (division for division in product(range(calls + 1), repeat=len(places)) if sum(division) == calls)
    costs = [
        sum(place.prices.total_micros(place.first, number) for place, number in zip(places, division, strict=True))
        for division in divisions
    ]
    assert most_micros(places, calls) == max(costs)
    assert least_micros(places, calls) == min(costs)


def test_lanes_add_their_rates_and_the_dearest_decides_the_cost() -> None:
    """Hours are those of the sum of the rates; a budget is that of the dearest lane."""
    cheap = PriceList(tiers=(PriceTier(up_to=None, micros=250),), source="test")
    found = plan_inputs(lanes=(lane("a", MILLI), lane("b", cheap)), limit_tps=20.0)
    whole = forecast(found, Limits())
    assert (whole.cost_micros, whole.least_micros, whole.duration_s) == (1_000_000, 250_000, 50.0)
    assert forecast(found, Limits(budget_micros=400_000)).calls == 400
    assert forecast(plan_inputs(), Limits()).least_micros == 1_000_000
