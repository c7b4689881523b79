"""Prices by region and tier, and the prices of a job."""

from __future__ import annotations

import pytest

from asyncfilter.job import PriceTier
from asyncfilter.policy.detectors import price_list
from asyncfilter.policy.pricing import PriceList
from tests.kit.jobs import make_bare_job

MODEL = "arn:aws:rekognition:eu-west-1:123456789012:project/birds/version/v1/1700000000000"


def test_tiers_change_after_their_last_image() -> None:
    """The millionth image of a month costs the first price, the next one the second."""
    prices = price_list(make_bare_job(), "us-east-1")
    assert [prices.price_micros(n) for n in (1, 1_000_000, 1_000_001, 5_000_000, 5_000_001, 35_000_001)] == [
        1000, 1000, 800, 800, 600, 250,
    ]  # fmt: skip
    assert prices.total_micros(1, 1_000_000) == 1_000_000_000
    assert prices.total_micros(1_000_000, 2) == 1800
    assert not prices.is_estimate
    assert "2026-09-11" in prices.source


def test_each_feature_is_billed() -> None:
    """Labels and properties of one call cost the sum of both, each in its own tiers."""
    prices = price_list(make_bare_job(detector={"features": ["IMAGE_PROPERTIES", "GENERAL_LABELS"]}), "us-east-1")
    assert [prices.price_micros(n) for n in (1, 1_000_001, 5_000_001)] == [1750, 1400, 1200]


def test_an_unknown_region_costs_the_dearest_known_price() -> None:
    """An estimated price is the highest known one, which keeps the budget, and is marked as an estimate."""
    prices = price_list(make_bare_job(), "mx-central-1")
    assert prices.is_estimate
    assert "estimate" in prices.source
    known = ("us-east-1", "us-west-1", "eu-central-1", "ap-northeast-1", "ap-south-1")
    assert prices.price_micros(1) == max(price_list(make_bare_job(), region).price_micros(1) for region in known)
    assert prices.price_micros(10**9) == prices.price_micros(1)


def test_a_feature_unknown_in_a_region_makes_an_estimate() -> None:
    """If one of two prices is unknown, the sum is an estimate."""
    both = make_bare_job(detector={"features": ["GENERAL_LABELS", "IMAGE_PROPERTIES"]})
    assert price_list(both, "eu-central-1").is_estimate
    assert not price_list(make_bare_job(), "eu-central-1").is_estimate


def test_the_jobs_own_prices_come_first() -> None:
    """Tiers of the job file replace the table, in any region, to the micro-dollar."""
    pricing = {"tiers": [{"up_to": 10, "usd": 0.000123}, {"up_to": None, "usd": 0}]}
    prices = price_list(make_bare_job(pricing=pricing), "mx-central-1")
    assert (prices.price_micros(10), prices.price_micros(11), prices.is_estimate) == (123, 0, False)


def test_custom_labels_cost_by_the_hour() -> None:
    """A call costs nothing; an hour of an inference unit does, at the table's price or the job's."""
    detector = {"kind": "rekognition-custom-labels", "model": MODEL}
    prices = price_list(make_bare_job(detector=detector), "eu-west-1")
    assert prices.total_micros(1, 10**6) == 0
    assert prices.unit_hour_micros == 4_000_000
    assert not prices.is_estimate
    own = price_list(make_bare_job(detector=detector, pricing={"inference_unit_hour_usd": 1.5}), "eu-west-1")
    assert own.unit_hour_micros == 1_500_000
    assert own.source == "the job file"


@pytest.mark.parametrize(
    "tiers",
    [
        (),
        ((10, 5),),
        ((10, 5), (None, 6)),
        ((10, 5), (10, 5), (None, 5)),
        ((None, 5), (None, 5)),
    ],
)
def test_tiers_that_no_budget_could_reckon_with_are_refused(tiers: tuple[tuple[int | None, int], ...]) -> None:
    """A program's own tiers must rise in images, fall in price and have no end, as those of a job file do."""
    with pytest.raises(ValueError, match="expected"):
        PriceList(tiers=tuple(PriceTier(up_to=end, micros=micros) for end, micros in tiers), source="a test")


def test_images_count_from_one() -> None:
    """An image number out of range is an error, not a price."""
    prices = price_list(make_bare_job(), "us-east-1")
    with pytest.raises(ValueError, match="found 0"):
        prices.price_micros(0)
    with pytest.raises(ValueError, match="found 1 and -1"):
        prices.total_micros(1, -1)
    assert prices.total_micros(1, 0) == 0
