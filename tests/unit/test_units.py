"""Inference units: what a rate needs, and what it costs."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from asyncfilter.policy.units import MOST_COMPARED, UnitTerms, compared, units_for

TERMS = UnitTerms(unit_tps=5.0, is_measured=False, hour_micros=4_000_000, units=1, limit_tps=12.0, wanted_tps=None)


def test_one_to_five_units_are_compared() -> None:
    """The account's quota bounds the rate; every minute that is begun is paid for."""
    rows = compared(TERMS, 36_000)
    assert [row.units for row in rows] == [1, 2, 3, 4, 5]
    assert [row.tps for row in rows] == [5, 10, 12, 12, 12]
    assert [row.duration_s for row in rows] == [7200, 3600, 3000, 3000, 3000]
    assert [row.cost_micros for row in rows] == [8_000_000, 8_000_000, 10_000_000, 13_333_333, 16_666_666]


def test_nothing_to_examine_costs_nothing() -> None:
    """And takes no time."""
    assert {(row.duration_s, row.cost_micros) for row in compared(TERMS, 0)} == {(0.0, 0)}


@given(st.floats(0.1, 1000), st.floats(0.1, 100))
def test_advised_units_are_enough_and_no_more(wanted_tps: float, unit_tps: float) -> None:
    """Up to rounding errors."""
    units = units_for(wanted_tps, unit_tps)
    assert units * unit_tps >= wanted_tps * (1 - 1e-4)
    assert units == 1 or (units - 1) * unit_tps < wanted_tps


def test_advice_needs_a_wanted_rate() -> None:
    """``limits.tps`` is one."""
    assert TERMS.advised_units is None
    assert msgspec.structs.replace(TERMS, wanted_tps=20.0).advised_units == 4
    assert len(compared(TERMS, 1)) == MOST_COMPARED


def test_a_rate_that_was_not_measured_is_said_to_be_a_guess() -> None:
    """In the origin of the rate."""
    assert TERMS.described == "1 unit at 5 a second, a guess, since AWS publishes none"
    measured = msgspec.structs.replace(TERMS, is_measured=True, unit_tps=6.2, units=2)
    assert measured.described == "2 units at 6.2 a second, as bench measured"
