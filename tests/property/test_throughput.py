"""The throughput computed from any readings."""

from __future__ import annotations

from collections import Counter
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncfilter.policy.throughput import LEAST_S, Bound, Samples, Second, percentile, rounded_up, throughput


@st.composite
def seconds(draw: st.DrawFn) -> Second:
    """A second whose attempts were accepted, throttled, or neither."""
    accepted, throttled, lost = (draw(st.integers(0, 200)) for _ in range(3))
    return Second(accepted + throttled + lost, accepted, throttled, draw(st.floats(0, 1000)))


SAMPLES = st.builds(
    Samples,
    seconds=st.lists(seconds(), max_size=80),
    latencies=st.dictionaries(st.integers(0, 20_000), st.integers(1, 500)).map(Counter),
    peak_in_flight=st.integers(0, 5000),
)


def steady(rate: int, number: int, throttled: int = 0) -> list[Second]:
    """Seconds that are all the same."""
    return [Second(rate + throttled, rate, throttled, 1.0) for _ in range(number)]


@given(SAMPLES, st.floats(0.1, 20_000))
def test_figures_lie_within_what_was_read(samples: Samples, ceiling_tps: float) -> None:
    """For any readings the rate is an observed one, shares are within 0 and 1, latencies rise, all figures exist."""
    found = throughput(samples, ceiling_tps)
    if found is None:
        assert not any(second.attempts for second in samples.seconds[1:])
        return
    rates = [second.accepted for second in samples.seconds]
    assert min(rates) <= found.measured_tps <= max(rates)
    assert found.measured_tps <= found.tried_tps
    assert 0 <= found.throttled_share <= 1
    assert found.p50_ms <= found.p90_ms <= found.p99_ms <= found.slowest_ms
    assert found.concurrency >= found.measured_tps * found.p99_ms / 1000
    assert found.is_steady <= (found.window_s >= LEAST_S)


@given(st.lists(st.integers(0, 50), max_size=200), st.sampled_from([0.5, 0.9, 0.99, 1.0]))
def test_a_percentile_is_what_sorting_gives(values: list[int], share: float) -> None:
    """Percentiles from counts by value equal those of the sorted values."""
    expected = sorted(values)[ceil(share * len(values)) - 1] if values else 0
    assert percentile(Counter(values), share) == expected


@given(st.integers(0, 10**12))
def test_amounts_are_rounded_up_by_little(micros: int) -> None:
    """The result is in whole cents, never lower, at most a tenth higher from ten cents on, and idempotent."""
    rounded = rounded_up(micros)
    assert rounded >= micros
    assert rounded % 10_000 == 0
    assert rounded - micros < max(10_000, 0.1 * micros + 1)
    assert rounded_up(rounded) == rounded


def test_the_first_half_and_the_last_second_do_not_count() -> None:
    """Neither the ramp nor an incomplete second changes the rate."""
    ramp, end = [Second(5 * 2**at_s, 5 * 2**at_s) for at_s in range(4)], [Second(3, 3)]
    found = throughput(Samples(seconds=ramp + steady(50, 10, throttled=1) + end), 75.0)
    assert found is not None
    assert (found.measured_tps, found.window_s, found.bound) == (50.0, 7, Bound.QUOTA)


@pytest.mark.parametrize(
    ("rate", "throttled", "bound"),
    [
        (75, 0, Bound.CEILING),
        (74, 1, Bound.CEILING),
        (70, 0, Bound.CEILING),
        (70, 1, Bound.QUOTA),
        (50, 5, Bound.QUOTA),
        (50, 0, Bound.CLIENT),
    ],
)
def test_the_limiting_factor_is_reported(rate: int, throttled: int, bound: Bound) -> None:
    """A limit is reported only if attempts were throttled below the ceiling."""
    found = throughput(Samples(seconds=steady(rate, 20, throttled)), 75.0)
    assert found is not None
    assert found.bound is bound


def test_samples_of_a_search_are_not_steady() -> None:
    """After a throttle late in the first half the rate is not steady in the second."""
    late = [*steady(40, 13), *steady(40, 1, throttled=9), *steady(40, 17)]
    early = [*steady(40, 4), *steady(40, 1, throttled=9), *steady(40, 26)]
    for read, is_steady in ((late, False), (early, True), (steady(75, 31), True), (steady(75, 8), False)):
        found = throughput(Samples(seconds=read), 75.0)
        assert found is not None
        assert found.is_steady is is_steady
