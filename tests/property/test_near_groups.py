"""Near duplicates are those that a comparison of all pairs finds."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncfilter.policy.near_duplicates import MAX_DISTANCE, distance, near_groups


def by_comparing_all(hashes: list[int], max_distance: int) -> list[list[int]]:
    """Connected groups, by comparing all pairs."""
    groups: list[set[int]] = []
    for index in range(len(hashes)):
        touched = [g for g in groups if any(distance(hashes[index], hashes[other]) <= max_distance for other in g)]
        merged = {index}.union(*touched)
        groups = [group for group in groups if group not in touched] + [merged]
    return sorted(sorted(group) for group in groups if len(group) > 1)


@st.composite
def clusters(draw: st.DrawFn) -> list[int]:
    """Hashes of which many are near each other: a few seeds with some bits flipped."""
    seeds = draw(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=4))
    flips = st.lists(st.integers(0, 63), max_size=20)
    found = []
    for _ in range(draw(st.integers(0, 25))):
        value = draw(st.sampled_from(seeds))
        for bit in draw(flips):
            value ^= 1 << bit
        found.append(value)
    return found


@given(clusters(), st.integers(0, MAX_DISTANCE))
def test_groups_are_those_of_comparing_all(hashes: list[int], max_distance: int) -> None:
    """No near pair is missed and no far pair is joined, at any distance."""
    assert near_groups(hashes, max_distance) == by_comparing_all(hashes, max_distance)


def test_many_hashes_are_cut_into_other_pieces_and_none_is_missed() -> None:
    """With thousands of hashes the bands are finer; exactly the inserted near hashes are found."""
    rng = random.Random(7)
    hashes = [rng.getrandbits(64) for _ in range(20_000)]
    inserted = []
    for start in range(0, 20_000, 500):
        bits = rng.sample(range(64), 6)
        hashes[start + 1] = hashes[start] ^ sum(1 << bit for bit in bits)
        inserted.append([start, start + 1])
    assert near_groups(hashes, 6) == inserted


@pytest.mark.parametrize("wrong", [-1, MAX_DISTANCE + 1])
def test_distances_beyond_sense_are_refused(wrong: int) -> None:
    """A distance at which all hashes are near is an error."""
    with pytest.raises(ValueError, match="expected a distance from 0 to"):
        near_groups([1, 2], wrong)
