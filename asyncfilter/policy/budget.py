"""The budget: money is reserved before a call and settled after it, in integer micro-dollars.

Invariant: ``spent + held <= granted <= limit``. Spent is settled. Held is reserved by attempts in flight. Granted is
the possible spending that the checkpoint has on record: it counts as spent if the process is killed. Nothing is
reserved beyond it until the next block is durable. Where the truth is a state in S3, nothing is reserved beyond what
its last commit grants either (``ceiling_micros``).

With several price positions (lanes) the most expensive open one gives the price that is held, and the one that was
called the price that is settled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum, auto

from asyncfilter.policy.billing_month import BillingPeriod
from asyncfilter.policy.price_position import PricePosition
from asyncfilter.records.progress import MonthUse


class Availability(Enum):
    """Whether the next call can be paid."""

    AVAILABLE = auto()
    UNGRANTED = auto()
    """Yes, once the next block is durable."""
    UNCOMMITTED = auto()
    """Yes, once a commit to the state in S3 grants more."""
    HELD = auto()
    """Not now, but images in flight may end, or release their reservations."""
    EXHAUSTED = auto()
    """No, and nothing in flight can change that."""


class Budget:
    """A ceiling in micro-dollars on everything that was ever paid for one checkpoint.

    Args:
        limit_micros: The ceiling; None for none.
        spent_micros: What was spent before, including the unsettled reservations of runs that were killed.
        billed_calls: The attempts it was spent on; calls without a price are not billed.
        month_use: What was billed in the present month; prices count from there.
        price_micros: Price of the n-th image billed in a UTC month, n from 1. It must never rise with n, so that the
            price of the next call bounds those of all later ones in the month.
        positions: The price positions of lanes, at least one, in place of ``month_use`` and ``price_micros``.

    Attributes:
        next_price_micros: The highest price of the next call.
        positions: All price positions.
        period: Rises when the price list begins anew: a reservation is valid in its own period.
    """

    def __init__(
        self,
        *,
        limit_micros: int | None,
        spent_micros: int = 0,
        billed_calls: int = 0,
        month_use: MonthUse | None = None,
        price_micros: Callable[[int], int] | None = None,
        positions: Sequence[PricePosition] = (),
    ) -> None:
        self.limit_micros = limit_micros
        self.spent_micros = spent_micros
        self.billed_calls = billed_calls
        self.held_micros = 0
        self.held_calls = 0
        self.granted_micros = spent_micros
        self.ceiling_micros: int | None = None
        """What the last commit to the state in S3 grants, as a total; None where no such commit is waited for."""
        self.period = 0
        if price_micros is not None:
            positions = (PricePosition(price_micros, month_use),)
        self.positions = tuple(positions)
        self._open = list(self.positions)
        self.next_price_micros = 0
        self._look_up()

    @property
    def month_use(self) -> MonthUse:
        """What was billed in the present month so far, at the first position."""
        return self.positions[0].month_use

    def enter(self, period: BillingPeriod) -> None:
        """Price the next calls as in ``period``; another month, later or earlier, begins with its first image."""
        changes = [position.enter(period) for position in self.positions]
        if any(changes):
            self.period += 1
            self._look_up()

    def close(self, position: PricePosition) -> None:
        """Hold no price for a lane that is no longer called; what is held for its calls in flight stays held."""
        if len(self._open) > 1:
            self._open.remove(position)
            self._look_up()

    def availability(self, *, spare_calls: int = 0) -> Availability:
        """Whether the next call can be paid now, while ``spare_calls`` more calls after it can be paid, too.

        Spare calls are compared with the limit alone: nothing is reserved for them, so they need no grant.
        """
        price_micros = self.next_price_micros
        wanted = self.spent_micros + self.held_micros + price_micros
        if self.limit_micros is not None:
            if wanted > self.limit_micros:
                return Availability.HELD if self.held_calls else Availability.EXHAUSTED
            if wanted + spare_calls * price_micros > self.limit_micros:
                return Availability.HELD
        if self.ceiling_micros is not None and wanted > self.ceiling_micros:
            return Availability.UNCOMMITTED
        return Availability.AVAILABLE if wanted <= self.granted_micros else Availability.UNGRANTED

    def reserve(self) -> Reservation:
        """Hold the price of one attempt.

        Raises:
            ValueError: It does not fit below what is granted (see ``availability``).
        """
        if self.availability() is not Availability.AVAILABLE:
            raise ValueError("nothing can be reserved beyond what is granted")
        return Reservation(self, self.next_price_micros)

    def charge(self, micros: int) -> None:
        """Spend ``micros`` that belong to no call (a model's running time); they count whether they fit or not."""
        self.spent_micros += micros

    def affords(self, micros: int) -> bool:
        """True while ``micros`` fit below the limit, beside what is spent and held."""
        return self.limit_micros is None or self.spent_micros + self.held_micros + micros <= self.limit_micros

    def next_grant_micros(self, block_micros: int) -> int:
        """The next amount to put on record: all that is spent and held, and one more block, up to the limit."""
        wanted = self.spent_micros + self.held_micros + block_micros
        if self.limit_micros is not None:
            wanted = min(wanted, self.limit_micros)
        # `charge` may pass the limit; what is on record must cover what is spent and held even then.
        return max(wanted, self.spent_micros + self.held_micros)

    def grant(self, micros: int) -> None:
        """Note that ``micros`` of possible spending are durable."""
        self.granted_micros = micros

    def spend(self, micros: int, position: PricePosition, *, counts: bool) -> None:
        """Settle the price of one call at ``position``; ``counts`` where it belongs to the present month."""
        self.spent_micros += micros
        if micros:
            self.billed_calls += 1
            position.pay(micros)
            if counts and position.count():
                self._look_up()

    def _look_up(self) -> None:
        self.next_price_micros = max(position.next_micros for position in self._open)


class Reservation:
    """The price of one attempt, held until it is settled exactly once."""

    __slots__ = ("_budget", "_micros", "period")

    def __init__(self, budget: Budget, micros: int) -> None:
        self._budget: Budget | None = budget
        self._micros = micros
        self.period = budget.period
        budget.held_micros += micros
        budget.held_calls += 1

    @property
    def is_open(self) -> bool:
        """True until it is settled."""
        return self._budget is not None

    def commit(self, position: PricePosition | None = None) -> None:
        """The attempt was billed, or may have been.

        Args:
            position: Of the lane that was called; None for the only one.

        Raises:
            ValueError: It was settled before.
        """
        budget = self._close()
        called = position or budget.positions[0]
        is_present = self.period == budget.period
        # Less than what was held: at a lane with another price, or where calls settled since then reached a cheaper
        # tier. After the end of its month the position knows only the highest price.
        most_micros = called.next_micros if is_present else called.first_micros
        budget.spend(min(self._micros, most_micros), called, counts=is_present)

    def release(self) -> None:
        """The attempt was certainly not billed, or not made.

        Raises:
            ValueError: It was settled before.
        """
        self._close()

    def _close(self) -> Budget:
        budget = self._budget
        if budget is None:
            raise ValueError("a reservation is settled exactly once")
        self._budget = None
        budget.held_micros -= self._micros
        budget.held_calls -= 1
        return budget
