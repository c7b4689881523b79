"""Grants: never beyond the budget, never less than what is held, and as much as the contract says."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from asyncfilter.policy.budget import Availability, Budget
from asyncfilter.policy.state_grants import GRANT_S, LEAST_CALLS, LEFT_DIVISOR, grant_micros

MONEY = st.integers(0, 10**9)


@given(MONEY, MONEY, st.none() | MONEY, st.integers(0, 10**6), st.floats(0, 5000), MONEY)
def test_a_grant_is_at_most_ten_seconds_or_a_tenth_but_a_hundred_calls(
    spent: int, held: int, limit: int | None, price: int, rate: float, hourly: int
) -> None:
    """And within the budget, unless more than that is spent and held already."""
    total = grant_micros(
        spent_micros=spent,
        held_micros=held,
        limit_micros=limit,
        price_micros=price,
        rate_tps=rate,
        hourly_micros=hourly,
    )
    assert total >= spent
    assert limit is None or total <= max(limit, spent + held)
    least = LEAST_CALLS * price
    most = round(rate * GRANT_S) * price + round(hourly * GRANT_S / 3600)
    if limit is not None:
        most = min(most, max(0, limit - spent) // LEFT_DIVISOR)
        assert total >= min(spent + held, limit) or total >= min(spent + least, limit)
    assert total - spent <= max(most, least, held)


@given(st.lists(st.sampled_from(["reserve", "settle", "propose", "commit"]), max_size=60))
def test_nothing_is_reserved_beyond_what_the_last_commit_granted(steps: list[str]) -> None:
    """Whatever the order of calls and commits: a machine that is lost has spent at most what S3 says."""
    budget = Budget(limit_micros=500_000, price_micros=lambda _nth: 1000)
    budget.ceiling_micros = committed = proposed = 0
    held = []
    for step in steps:
        if step == "reserve":
            budget.grant(budget.next_grant_micros(10_000))
            if budget.availability() is Availability.AVAILABLE:
                held.append(budget.reserve())
        elif step == "settle" and held:
            held.pop().commit()
        elif step == "propose":
            proposed = grant_micros(
                spent_micros=budget.spent_micros,
                held_micros=budget.held_micros,
                limit_micros=budget.limit_micros,
                price_micros=1000,
                rate_tps=5.0,
                hourly_micros=0,
            )
            budget.ceiling_micros = min(proposed, budget.ceiling_micros)
        elif step == "commit" and proposed:
            budget.ceiling_micros = committed = proposed
        assert budget.spent_micros + budget.held_micros <= max(committed, budget.ceiling_micros)
        assert committed <= 500_000
