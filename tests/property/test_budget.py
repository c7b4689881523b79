"""The budget under any interleaving of reservations, settlements, grants and crashes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from asyncfilter.policy.budget import Availability, Budget, Reservation

TIERS = [(10, 1000), (25, 800), (None, 250)]


def price_micros(nth: int) -> int:
    """A price that falls twice."""
    return next(price for up_to, price in TIERS if up_to is None or nth <= up_to)


class BudgetMachine(RuleBasedStateMachine):
    """Spending stays within the invariant of ``Budget``."""

    LIMIT_MICROS = 20_000

    def __init__(self) -> None:
        super().__init__()
        self.open: list[Reservation] = []
        self.billed = 0
        self.durable_micros = 0
        self.budget = self.reopened(0, 0)

    def reopened(self, spent_micros: int, billed_calls: int) -> Budget:
        return Budget(
            limit_micros=self.LIMIT_MICROS,
            spent_micros=spent_micros,
            billed_calls=billed_calls,
            price_micros=price_micros,
        )

    @rule(block=st.integers(0, 8000))
    def grant(self, block: int) -> None:
        micros = self.budget.next_grant_micros(block)
        self.durable_micros = micros
        self.budget.grant(micros)

    @precondition(lambda self: self.budget.availability() is Availability.AVAILABLE)
    @rule()
    def reserve(self) -> None:
        self.open.append(self.budget.reserve())

    @precondition(lambda self: self.open)
    @rule(which=st.integers(0, 100), billed=st.booleans())
    def settle(self, which: int, billed: bool) -> None:
        reservation = self.open.pop(which % len(self.open))
        if billed:
            reservation.commit()
            self.billed += 1
        else:
            reservation.release()

    @rule()
    def crash(self) -> None:
        """After a crash the durable grant counts as spent, since attempts in flight may have been billed."""
        self.billed += len(self.open)
        self.open.clear()
        self.budget = self.reopened(max(self.durable_micros, self.budget.spent_micros), self.budget.billed_calls)
        self.durable_micros = self.budget.spent_micros

    @invariant()
    def ceiling_holds(self) -> None:
        budget = self.budget
        assert budget.spent_micros + budget.held_micros <= max(budget.granted_micros, budget.spent_micros)
        assert budget.granted_micros <= self.LIMIT_MICROS
        assert budget.held_calls == len(self.open)

    @invariant()
    def billed_amount_is_within_the_limit(self) -> None:
        cheapest = sum(price_micros(nth) for nth in range(1, self.billed + 1))
        assert cheapest <= self.LIMIT_MICROS

    @invariant()
    def exhausted_budget_cannot_cover_a_call(self) -> None:
        if self.budget.availability() is Availability.EXHAUSTED:
            assert self.budget.spent_micros + self.budget.next_price_micros > self.LIMIT_MICROS


TestBudget = BudgetMachine.TestCase


@given(calls=st.integers(0, 60))
def test_spending_is_exactly_the_sum_of_the_prices(calls: int) -> None:
    """Sequential calls cost the prices of the tiers, to the micro-dollar."""
    budget = Budget(limit_micros=None, price_micros=price_micros)
    for _ in range(calls):
        budget.grant(budget.next_grant_micros(budget.next_price_micros))
        budget.reserve().commit()
    assert budget.spent_micros == sum(price_micros(nth) for nth in range(1, calls + 1))
    assert budget.billed_calls == calls


def test_reservation_is_settled_once() -> None:
    """Settling twice raises an error and counts once."""
    budget = Budget(limit_micros=5000, price_micros=lambda _nth: 1000)
    budget.grant(5000)
    reservation = budget.reserve()
    reservation.commit()
    for again in (reservation.commit, reservation.release):
        with pytest.raises(ValueError, match="exactly once"):
            again()
    assert (budget.spent_micros, budget.held_micros) == (1000, 0)


def test_nothing_is_reserved_beyond_what_is_durable() -> None:
    """Without a grant there is no reservation, under any limit."""
    budget = Budget(limit_micros=5000, price_micros=lambda _nth: 1000)
    assert budget.availability() is Availability.UNGRANTED
    with pytest.raises(ValueError, match="granted"):
        budget.reserve()
