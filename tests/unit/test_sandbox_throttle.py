"""The sandbox's quota is exact, since tests of other parts rely on it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncfilter.sandbox.accounts import Pair
from asyncfilter.sandbox.rates import Quotas, Rates, RateSpec, new_quotas
from asyncfilter.sandbox.throttle import Ramp, SlidingWindow, ThrottleMode, TokenBucket, new_quota

GAPS = st.lists(st.floats(0, 0.5), min_size=1, max_size=200)


@given(st.integers(1, 20), GAPS)
def test_no_window_of_a_second_holds_more_than_the_quota(tps: int, gaps_s: list[float]) -> None:
    """For any attempts, every second, the first included, admits at most the quota, and none below it is refused."""
    quota, at_s = SlidingWindow(tps), 1000.0
    admitted: list[float] = []
    for gap_s in gaps_s:
        at_s += gap_s
        recent = sum(1 for then_s in admitted if then_s > at_s - 1)
        assert quota.admit(at_s) == (recent < tps)
        if recent < tps:
            admitted.append(at_s)


def test_a_quota_below_one_a_second() -> None:
    """A rate of 0.5 a second admits one attempt every two seconds."""
    quota = SlidingWindow(0.5)
    assert [quota.admit(at_s) for at_s in (0.0, 1.0, 1.9, 2.0, 3.9, 4.0)] == [True, False, False, True, False, True]


@given(st.floats(0.5, 50), GAPS)
def test_a_bucket_keeps_the_rate_in_the_long_run(tps: float, gaps_s: list[float]) -> None:
    """No more is admitted than the burst and the refill since the start."""
    quota, at_s, admitted = TokenBucket(tps), 0.0, 0
    for gap_s in gaps_s:
        at_s += gap_s
        admitted += quota.admit(at_s)
        assert admitted <= max(1, tps) + (at_s - gaps_s[0]) * tps + 1e-6


def test_a_bucket_saves_up_a_second() -> None:
    """After idle time exactly one second's worth is admitted at once."""
    quota = TokenBucket(3)
    assert [quota.admit(0.0) for _ in range(4)] == [True, True, True, False]
    assert [quota.admit(100.0) for _ in range(4)] == [True, True, True, False]
    assert quota.admit(100.34)


def test_a_ramp_refuses_a_jump_and_lets_growth_pass() -> None:
    """Up to twice as many as in the second before are admitted; from idle only up to the floor."""
    ramp = Ramp(2.0, floor=10)
    assert sum(ramp.admit(100.0 + n / 1000) for n in range(50)) == 10
    assert sum(ramp.admit(101.0 + n / 1000) for n in range(50)) == 20
    assert sum(ramp.admit(102.0 + n / 1000) for n in range(50)) == 40
    assert sum(ramp.admit(104.0 + n / 1000) for n in range(50)) == 10


def test_each_detection_has_its_own_quota() -> None:
    """DetectLabels and DetectCustomLabels are counted apart; a rate must be positive."""
    quotas = new_quotas(1, ThrottleMode.WINDOW)
    assert [quotas[name].admit(0.0) for name in ("DetectLabels", "DetectCustomLabels", "DetectLabels")] == [
        True,
        True,
        False,
    ]
    assert isinstance(new_quota(1, ThrottleMode.BUCKET), TokenBucket)
    assert new_quotas(None, ThrottleMode.WINDOW) == {}
    with pytest.raises(ValueError, match="above 0"):
        new_quotas(0, ThrottleMode.WINDOW)


def test_a_pair_without_a_rate_of_its_own_has_that_of_its_region_or_the_plain_one() -> None:
    """Each pair is counted by itself; a rate that is given twice is refused."""
    rates = Rates(5, [RateSpec(20, "us-west-2"), RateSpec(1, "us-west-2", "A")])
    pairs = [Pair("A", "us-west-2"), Pair("B", "us-west-2"), Pair("A", "us-east-1"), Pair()]
    assert [rates.of(pair) for pair in pairs] == [1, 20, 5, 5]
    assert [rates.own(pair) for pair in pairs] == [1, 20, None, None]
    quotas = Quotas(rates=rates)
    assert [quotas.admits("DetectLabels", pairs[0], 0.0) for _ in range(2)] == [True, False]
    assert [quotas.admits("DetectLabels", pair, 0.0) for pair in pairs[1:]] == [True] * 3
    assert Rates(None).of(pairs[0]) is None
    with pytest.raises(ValueError, match="us-west-2 is given twice"):
        Rates(None, [RateSpec(20, "us-west-2"), RateSpec(5, "us-west-2")])
    with pytest.raises(ValueError, match="all other regions is given twice"):
        Rates(1, [RateSpec(2)])


def test_a_ramp_is_each_pairs_own() -> None:
    """What one pair does is no sudden growth of another."""
    quotas = Quotas(rates=Rates(None), growth=2.0)
    first, second = Pair("A", "us-east-1"), Pair("A", "us-west-2")
    assert [sum(quotas.admits_growth(pair, 100.0) for _ in range(50)) for pair in (first, second)] == [10, 10]
