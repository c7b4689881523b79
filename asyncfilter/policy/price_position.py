"""The price position: how many images were billed this month in one account and region, and so what the next one costs.

Invariant: ``next_micros`` is at least the price of every later call of the month, since prices never rise with the
number of images.
"""

from __future__ import annotations

from collections.abc import Callable

from asyncfilter.policy.billing_month import BillingPeriod
from asyncfilter.records.progress import LaneTotals, MonthUse


class PricePosition:
    """A place in the tiers of one price list.

    Args:
        price_micros: Price of the n-th image billed in a UTC month, n from 1. It must never rise with n.
        month_use: What was billed in the present month.
        sums: Of the lane whose position it is: what is paid is added to them. None without lanes.

    Attributes:
        sums: As given.
        next_micros: The highest price of the next call.
        first_micros: The highest price of any call.
    """

    __slots__ = ("_billed", "_is_ending", "_month_use", "_price_micros", "first_micros", "next_micros", "sums")

    def __init__(
        self, price_micros: Callable[[int], int], month_use: MonthUse | None = None, *, sums: LaneTotals | None = None
    ) -> None:
        self.sums = sums
        self._price_micros = price_micros
        self._month_use = month_use or MonthUse()
        self._billed = self._month_use.billed
        self._is_ending = False
        self.first_micros = price_micros(1)
        self.next_micros = price_micros(self._billed + 1)

    @property
    def month_use(self) -> MonthUse:
        """What was billed in the present month so far."""
        use = self._month_use
        calls = self._billed - (use.used if use.is_used_counted else 0)
        return MonthUse(month=use.month, calls=calls, used=use.used, is_used_counted=use.is_used_counted)

    def enter(self, period: BillingPeriod) -> bool:
        """Price the next calls as in ``period``; another month, later or earlier, begins with its first image.

        Returns:
            Whether prices changed their meaning: a price that was held before is that of another period.
        """
        if period.month != self._month_use.month:
            self._month_use = MonthUse(month=period.month, used=self._month_use.used)
            self._billed = 0
        elif not period.is_ending or self._is_ending:
            # A clock that is set back within the month lowers no price.
            return False
        self._is_ending = period.is_ending
        self._look_up()
        return True

    def count(self) -> bool:
        """Count one more billed image of the present month; whether the next one costs less."""
        former_micros = self.next_micros
        self._billed += 1
        self._look_up()
        return self.next_micros != former_micros

    def pay(self, micros: int) -> None:
        """Add what one billed call cost to the sums of the lane."""
        if self.sums is not None:
            self.sums.spent_micros += micros
            self.sums.billed_calls += micros > 0

    def _look_up(self) -> None:
        # At the end of a month AWS may count the call as the first of the next one.
        self.next_micros = self._price_micros(1 if self._is_ending else self._billed + 1)
