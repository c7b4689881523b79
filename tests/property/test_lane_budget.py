"""One budget over several price positions: what is held, what is settled, and what a month's end changes."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from asyncfilter.policy.billing_month import period_at
from asyncfilter.policy.budget import Availability, Budget, Reservation
from asyncfilter.policy.price_position import PricePosition
from asyncfilter.records.progress import LaneTotals, MonthUse

LIMIT_MICROS = 40_000
TIERS = ((1200, 700, 100), (1000, 1000, 950), (300, 200, 0))
WIDTH = 5
DAYS = tuple(datetime(2026, month, day, tzinfo=UTC).timestamp() for month in (10, 11, 12) for day in (1, 15))
LAST_MINUTE = datetime(2026, 11, 30, 23, 58, tzinfo=UTC).timestamp()


def price(lane: int, nth: int) -> int:
    """The price of the n-th image of a month at a lane."""
    return TIERS[lane][min((nth - 1) // WIDTH, 2)]


def position(lane: int, sums: LaneTotals) -> PricePosition:
    """The position of a lane at the begin of October."""
    return PricePosition(lambda nth: price(lane, nth), MonthUse(month="2026-10"), sums=sums)


class LaneBudgetMachine(RuleBasedStateMachine):
    """Whatever lane takes an attempt, and whenever a month ends: never above the limit, never below the real bill."""

    def __init__(self) -> None:
        super().__init__()
        self.sums = [LaneTotals() for _ in TIERS]
        self.positions = [position(lane, sums) for lane, sums in enumerate(self.sums)]
        self.budget = Budget(limit_micros=LIMIT_MICROS, positions=self.positions)
        self.open_lanes = [0, 1, 2]
        self.held: list[tuple[Reservation, str, list[int]]] = []
        self.month = "2026-10"
        self.billed: dict[tuple[int, str], int] = {}
        self.real_micros = 0

    @precondition(lambda self: self.budget.availability() is Availability.UNGRANTED)
    @rule()
    def grant(self) -> None:
        self.budget.grant(self.budget.next_grant_micros(5000))

    @precondition(lambda self: self.budget.availability() is Availability.AVAILABLE)
    @rule()
    def reserve(self) -> None:
        self.held.append((self.budget.reserve(), self.month, list(self.open_lanes)))

    @precondition(lambda self: self.held)
    @rule(which=st.integers(0, 50), lane=st.integers(0, 50), billed=st.booleans())
    def settle(self, which: int, lane: int, billed: bool) -> None:
        """An attempt was sent in the month of its reservation, at a lane that was open then."""
        reservation, month, lanes = self.held.pop(which % len(self.held))
        at = lanes[lane % len(lanes)]
        if not billed:
            reservation.release()
            return
        reservation.commit(self.positions[at])
        nth = self.billed[at, month] = self.billed.get((at, month), 0) + 1
        self.real_micros += price(at, nth)

    @rule(day=st.sampled_from([*DAYS, LAST_MINUTE]))
    def enter(self, day: float) -> None:
        period = period_at(day)
        if period.month >= self.month:  # AWS counts by its own clock, which goes forward
            self.budget.enter(period)
            self.month = period.month

    @precondition(lambda self: len(self.open_lanes) > 1)
    @rule(lane=st.integers(0, 50))
    def close(self, lane: int) -> None:
        gone = self.open_lanes.pop(lane % len(self.open_lanes))
        self.budget.close(self.positions[gone])

    @invariant()
    def holds(self) -> None:
        budget = self.budget
        assert self.real_micros <= budget.spent_micros
        assert budget.spent_micros + budget.held_micros <= LIMIT_MICROS
        assert budget.spent_micros == sum(sums.spent_micros for sums in self.sums)
        assert budget.billed_calls == sum(sums.billed_calls for sums in self.sums)
        assert budget.next_price_micros == max(self.positions[lane].next_micros for lane in self.open_lanes)


TestLaneBudget = LaneBudgetMachine.TestCase
