"""Intervals and draws: intervals hold with the stated probability, checked exactly and by simulation."""

from __future__ import annotations

import random
from collections import Counter
from math import comb

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncfilter.model import ListedObject
from asyncfilter.policy.intervals import hits_in_whole
from asyncfilter.policy.sampling import ContentCounter, Ranking, Sampler


@settings(max_examples=60, deadline=None)
@given(whole=st.integers(1, 45), data=st.data())
def test_every_truth_is_covered_often_enough(whole: int, data: st.DataObject) -> None:
    """Over all samples of a population with any number of hits, the interval contains it in at least 95 %."""
    sample = data.draw(st.integers(0, whole))
    total = data.draw(st.integers(0, whole))
    covered = sum(
        comb(total, hits) * comb(whole - total, sample - hits)
        for hits in range(max(0, sample - (whole - total)), min(sample, total) + 1)
        if hits_in_whole(hits, sample, whole).low <= total <= hits_in_whole(hits, sample, whole).high
    )
    assert covered / comb(whole, sample) >= 0.95


@pytest.mark.parametrize(("rate", "sample"), [(0.02, 100), (0.3, 50), (0.5, 400)])
def test_coverage_by_simulation_on_a_large_whole(rate: float, sample: int) -> None:
    """Of a thousand samples from two million, at most one interval in twenty misses the true number."""
    whole, rng = 2_000_000, random.Random(3)
    total = int(rate * whole)
    intervals = [hits_in_whole(hits, sample, whole) for hits in range(sample + 1)]
    drawn = (sum(rng.random() < rate for _ in range(sample)) for _ in range(1000))
    missed = sum(not interval.low <= total <= interval.high for interval in (intervals[hits] for hits in drawn))
    assert missed / 1000 <= 0.05 + 3 * (0.05 * 0.95 / 1000) ** 0.5


@given(whole=st.integers(1, 10**9), data=st.data())
def test_intervals_are_sound_at_any_size(whole: int, data: st.DataObject) -> None:
    """The interval contains the observed share, its bounds are possible numbers, and a full sample is exact."""
    sample = data.draw(st.integers(0, min(whole, 3000)))
    hits = data.draw(st.integers(0, sample))
    low, high = hits_in_whole(hits, sample, whole)
    assert hits <= low <= high <= whole - (sample - hits)
    if sample:
        assert low <= hits * whole / sample <= high
    if sample == whole:
        assert (low, high) == (hits, hits)


def test_known_values() -> None:
    """The limits of Clopper and Pearson for 5 of 20 (0.0866 to 0.4910), for a very large population."""
    low, high = hits_in_whole(5, 20, 10**9)
    assert (round(low / 10**9, 4), round(high / 10**9, 4)) == (0.0866, 0.4910)


@pytest.mark.parametrize("numbers", [(-1, 5, 10), (6, 5, 10), (2, 11, 10)])
def test_nonsense_is_refused(numbers: tuple[int, int, int]) -> None:
    """More hits than draws, or more draws than the population, raise an error."""
    with pytest.raises(ValueError, match="expected 0 <= hits"):
        hits_in_whole(*numbers)


# -- Draws -------------------------------------------------------------------------------------------------------------


def objects(keys: list[str]) -> list[ListedObject]:
    """Objects with these keys."""
    return [ListedObject(key, 1, key) for key in keys]


@given(keys=st.lists(st.text(max_size=8), unique=True, max_size=60), size=st.integers(0, 70), seed=st.integers(0, 9))
def test_a_sample_does_not_depend_on_the_order(keys: list[str], size: int, seed: int) -> None:
    """The sample is the beginning of the shuffle of all keys, for any order of arrival."""
    ranking = Ranking(seed)
    forward, backward = Sampler(size, ranking), Sampler(size, ranking)
    for listed in objects(keys):
        forward.offer(listed)
    for listed in reversed(objects(keys)):
        backward.offer(listed)
    shuffled = sorted(keys, key=lambda key: (ranking.rank(key), key))[:size]
    assert [listed.key for listed in forward.drawn()] == shuffled
    assert forward.drawn() == backward.drawn()


def test_every_key_is_as_likely_as_any_other() -> None:
    """Over many seeds each key is drawn about equally often, including the first and the last."""
    keys, drawn = [f"{number:04d}.jpg" for number in range(40)], Counter[str]()
    for seed in range(1000):
        draw = Sampler(10, Ranking(seed))
        for listed in objects(keys):
            draw.offer(listed)
        drawn.update(listed.key for listed in draw.drawn())
    spread = (1000 * 0.25 * 0.75) ** 0.5
    assert all(abs(drawn[key] - 250) < 4.5 * spread for key in keys)


# -- Contents ----------------------------------------------------------------------------------------------------------

IMAGES = st.lists(st.tuples(st.integers(0, 12) | st.none(), st.booleans()), max_size=60)


@given(images=IMAGES)
def test_shared_contents_as_counted_by_hand(images: list[tuple[int | None, bool]]) -> None:
    """Up to the limit contents are counted exactly: an unpaid image is free if a known or earlier one is the same."""
    contents, paid, known = ContentCounter(), set[int](), {number for number, is_known in images if is_known}
    free = 0
    for number, is_known in images:
        contents.count(None if number is None else (str(number), 1), is_known=is_known)
        if number is not None and not is_known:
            free += number in known or number in paid
            paid.add(number)
    assert contents.shared(sum(not is_known for _, is_known in images)) == free


def test_shared_contents_are_estimated_in_flat_memory() -> None:
    """With far more contents than the limit, the share of duplicates is estimated within a few percent."""
    contents = ContentCounter(capacity=2000)
    for number in range(60_000):
        contents.count((f"{number % 50_000}", 1), is_known=False)
    assert len(contents._seen) <= 2000
    assert abs(contents.shared(60_000) - 10_000) < 1000


def test_nothing_shared_is_never_estimated_as_something() -> None:
    """Without duplicates the estimate is zero, with any number of contents."""
    contents = ContentCounter(capacity=100)
    for number in range(5000):
        contents.count((f"{number}", 1), is_known=False)
    assert contents.shared(5000) == 0
