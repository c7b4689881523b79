"""What the review by people would cost."""

from __future__ import annotations

import pytest

from asyncfilter.errors import JobError
from asyncfilter.job import ByHand
from asyncfilter.policy.by_hand import COST_SOURCE, OWN_SOURCE, PACE_SOURCE, PEOPLE, review_by_people
from tests.kit.jobs import make_bare_job


def test_cost_and_hours_are_those_of_one_and_of_three_people() -> None:
    """1,200 images are an hour of one person."""
    found = review_by_people(1200, ByHand())
    assert PEOPLE == (1, 3)
    assert found.cost_micros == (44_400_000, 133_200_000)
    assert found.hours == (1.0, 3.0)
    assert review_by_people(0, ByHand()).cost_micros == (0, 0)


@pytest.mark.parametrize(
    ("terms", "sources"),
    [
        (ByHand(), [COST_SOURCE, PACE_SOURCE]),
        (ByHand(hour_micros=1), [OWN_SOURCE, PACE_SOURCE]),
        (ByHand(images_per_hour=1.0), [COST_SOURCE, OWN_SOURCE]),
        (ByHand(hour_micros=1, images_per_hour=1.0), [OWN_SOURCE]),
    ],
)
def test_each_figure_has_its_source(terms: ByHand, sources: list[str]) -> None:
    """A figure of the user's own is not said to be from a public source."""
    assert review_by_people(5, terms).sources == sources


def test_the_settings_of_the_job_file() -> None:
    """Each may be given alone; absent and null mean the default."""
    assert make_bare_job().pricing.by_hand == ByHand()
    assert make_bare_job(pricing={"by_hand": {"hour_usd": None}}).pricing.by_hand == ByHand()
    own = make_bare_job(pricing={"by_hand": {"hour_usd": 12.5}}).pricing.by_hand
    assert own == ByHand(hour_micros=12_500_000)
    own = make_bare_job(pricing={"by_hand": {"images_per_hour": 400}}).pricing.by_hand
    assert own == ByHand(images_per_hour=400.0)


@pytest.mark.parametrize("by_hand", [{"images_per_hour": 0}, {"hour_usd": -1}, {"hour_usd": "20"}, {"pace": 3}])
def test_wrong_settings_are_refused(by_hand: dict[str, object]) -> None:
    """No pace of nought, no negative cost, no unknown key."""
    with pytest.raises(JobError, match=r"pricing\.by_hand"):
        make_bare_job(pricing={"by_hand": by_hand})
