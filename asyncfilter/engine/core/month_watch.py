"""The month watch: restarts the tiers of the price list when the wall clock enters another UTC month.

Invariant: no attempt is made with a reservation whose price is from another month than the attempt.
"""

from __future__ import annotations

from asyncfilter.clock import Clock
from asyncfilter.policy.billing_month import period_at
from asyncfilter.policy.budget import Budget, Reservation


class MonthWatch:
    """Compares the wall clock with the period in which a budget counts.

    Args:
        budget: Told of every new period.
        clock: The wall clock.
    """

    def __init__(self, budget: Budget, clock: Clock) -> None:
        self._budget = budget
        self._clock = clock
        # No time is in between: the first look computes the period.
        self._begins_s = self._ends_s = 0.0
        self.look()

    def look(self) -> None:
        """Let the budget enter the present period; a comparison of two numbers, nearly always."""
        now_s = self._clock.unix()
        if not self._begins_s <= now_s < self._ends_s:
            period = period_at(now_s)
            self._begins_s, self._ends_s = period.begins_s, period.ends_s
            self._budget.enter(period)

    def is_current(self, reservation: Reservation) -> bool:
        """Whether the reservation has the price of an attempt that is made now; otherwise another one is needed.

        To be called once the attempt has its permit: the wait for it may have lasted past the end of a month.
        """
        self.look()
        return reservation.period == self._budget.period
