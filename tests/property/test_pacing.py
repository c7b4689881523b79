"""The pacer keeps its bound for any requests, and uses the full rate."""

from __future__ import annotations

from bisect import bisect_left

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from asyncfilter.policy.pacing import FIRST_S, Pacer

rates = st.floats(min_value=0.05, max_value=20_000)
waits = st.one_of(
    st.just(0.0),
    st.floats(min_value=0, max_value=0.02),
    st.floats(min_value=0, max_value=1.5),
    st.floats(min_value=0, max_value=60),
)
requests = st.tuples(waits, st.integers(min_value=1, max_value=40), st.none() | rates)


def fullest_window(times_s: list[float]) -> int:
    """The most attempts in any half-open second, counted in the second before each attempt."""
    return max((index + 1 - bisect_left(times_s, at_s - 1.0 + 1e-9) for index, at_s in enumerate(times_s)), default=0)


@given(rate_tps=rates, steps=st.lists(requests, max_size=60))
def test_no_second_has_more_than_105_percent_of_the_rate_and_one(
    rate_tps: float, steps: list[tuple[float, int, float | None]]
) -> None:
    """For any requests, changing rates and idle times, no second has more attempts than the highest rate plus one."""
    pacer = Pacer(rate_tps)
    now_s, highest_tps = 1000.0, rate_tps
    taken_s: list[float] = []
    for wait_s, times, changed_tps in steps:
        now_s += wait_s
        if changed_tps is not None:
            pacer.set_rate(changed_tps, now_s)
            highest_tps = max(highest_tps, changed_tps)
        taken_s += [now_s for _ in range(times) if pacer.take(now_s)]
    assert fullest_window(taken_s) <= highest_tps + 1 <= 1.05 * highest_tps + 1


@given(changes=st.lists(st.tuples(st.floats(min_value=0.001, max_value=3), rates), min_size=1, max_size=8))
def test_no_stretch_has_more_than_the_rates_of_its_time_allow(changes: list[tuple[float, float]]) -> None:
    """Greedy attempts under changing rates: from the first on, their number stays below the sum of rate x time."""
    pacer = Pacer(changes[0][1])
    now_s, allowed, highest_tps, taken = 0.0, 0.0, 0.0, 0
    for lasts_s, rate_tps in changes:
        pacer.set_rate(rate_tps, now_s)
        highest_tps = max(highest_tps, rate_tps)
        end_s = now_s + lasts_s
        allowed += rate_tps * lasts_s
        for _ in range(3000):
            at_s = max(now_s, pacer.due_s)
            if at_s >= end_s:
                break
            assert pacer.take(at_s)
            now_s = at_s
            taken += 1
        now_s = end_s
    assert taken <= allowed + 0.005 * highest_tps + 1


@given(
    rate_tps=st.floats(min_value=5, max_value=5_000), lateness_s=st.lists(st.floats(0, 0.002), min_size=7, max_size=7)
)
def test_timers_of_a_millisecond_lose_no_share(rate_tps: float, lateness_s: list[float]) -> None:
    """Woken up to 3 ms late each time, the pacer gives at least .98 of the rate, except in its first interval."""
    pacer = Pacer(rate_tps)
    now_s, taken, asked = 0.0, 0, 0
    seconds = max(2.0, 200 / rate_tps)
    while now_s < seconds:
        while pacer.take(now_s):
            taken += 1
        now_s = max(pacer.due_s, now_s) + 0.001 + lateness_s[asked % 7]
        asked += 1
    assert taken >= 0.98 * rate_tps * (seconds - FIRST_S) - 1


@given(
    rate_tps=st.integers(min_value=1, max_value=500),
    lateness_s=st.lists(st.one_of(st.floats(0, 0.012), st.floats(0, 3)), min_size=1, max_size=30),
)
def test_a_quota_counted_strictly_by_the_second_is_never_passed(rate_tps: int, lateness_s: list[float]) -> None:
    """With late attempts followed by punctual ones, no second has more attempts than the rate."""
    pacer = Pacer(rate_tps)
    pacer.take(0.0)
    taken_s: list[float] = [0.0]
    for late_s in lateness_s:
        at_s = max(taken_s[-1], pacer.due_s) + late_s
        assert pacer.take(at_s)
        taken_s.append(at_s)
        for _ in range(rate_tps):
            at_s = max(at_s, pacer.due_s)
            assert pacer.take(at_s)
            taken_s.append(at_s)
    assert fullest_window(taken_s) <= rate_tps


@given(
    rate_tps=st.integers(min_value=100, max_value=2_000),
    pauses=st.lists(st.tuples(st.floats(0, 1), st.floats(0.02, 0.09)), min_size=4, max_size=12),
)
@example(2_000, [(0.9, 0.05), (0.9, 0.05), (0.9, 0.05), (0.9, 0.05)])
def test_pauses_that_are_made_good_fill_no_second_beyond_the_rate(
    rate_tps: int, pauses: list[tuple[float, float]]
) -> None:
    """After idle time, a burst of requests stays within the rate in every second."""
    pacer = Pacer(rate_tps)
    now_s, taken_s = 0.0, [0.0] if pacer.take(0.0) else []
    for busy_s, pause_s in pauses:
        until_s = now_s + busy_s
        while (at_s := max(now_s, pacer.due_s)) < until_s:
            assert pacer.take(at_s)
            taken_s.append(at_s)
            now_s = at_s
        now_s = until_s + pause_s
        while pacer.take(now_s):
            taken_s.append(now_s)
    assert fullest_window(taken_s) <= rate_tps


@given(rate_tps=rates, idle_s=st.floats(min_value=0, max_value=1e6))
def test_a_returned_permit_can_be_taken_again(rate_tps: float, idle_s: float) -> None:
    """A returned permit can be taken again at once, and only once."""
    pacer = Pacer(rate_tps, catch_up_s=0.0, first_s=0.0)
    assert pacer.take(idle_s)
    pacer.give_back()
    rounding_s = 1e-9
    assert pacer.take(idle_s + rounding_s)
    assert not pacer.take(idle_s + rounding_s)


@pytest.mark.parametrize("rate_tps", [0.0, -1.0, float("nan")])
def test_a_rate_must_be_above_zero(rate_tps: float) -> None:
    """A rate that would stop the run for ever is refused."""
    with pytest.raises(ValueError, match="above 0"):
        Pacer(rate_tps)
