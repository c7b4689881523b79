"""The money that is written with every commit: the sums so far, and what may be spent before the next commit."""

from __future__ import annotations

from asyncfilter.engine.core.backends import Backends
from asyncfilter.engine.core.budget_gate import BudgetGate
from asyncfilter.records.progress import Totals

GRANT_S = 0.1
"""Possible spending is granted for the calls of this time ahead. After a kill, as much may count as spent in vain."""

LEAST_GRANT_CALLS = 4
"""A grant covers at least this many calls, at any rate."""


class SpendingRecord:
    """The money of a run, as the checkpoint records it.

    Invariant: no reservation exceeds what the last durable record granted.

    Args:
        gate: The budget, with the tasks that wait for money.
        totals: The sums, counted by the callers; each commit contains a copy.
        backends: Their rate gives the number of calls in ``GRANT_S``.
        hourly_block_micros: Possible spending on hourly detectors that must be durable ahead.
    """

    def __init__(self, gate: BudgetGate, totals: Totals, *, backends: Backends, hourly_block_micros: int) -> None:
        self._gate = gate
        self._totals = totals
        self._backends = backends
        self._hourly_block_micros = hourly_block_micros
        self._grant_micros = 0

    def next(self) -> Totals:
        """The sums to write now, with the next block of possible spending; ``confirm`` once they are durable."""
        # Kept until `confirm`: attempts are settled during the commit, so a grant computed later would be another
        # amount.
        self._grant_micros = self._gate.budget.next_grant_micros(self._block_micros())
        return self._sums(self._grant_micros)

    def confirm(self) -> None:
        """Serve waiting tasks from the block of money that became durable."""
        self._gate.budget.grant(self._grant_micros)
        self._gate.refresh()

    def final(self) -> Totals:
        """The sums at the end: nothing stays reserved."""
        return self._sums(self._gate.budget.spent_micros)

    def close(self) -> None:
        """Refuse every further reservation, because nothing can be made durable any more."""
        self._gate.close()

    def _block_micros(self) -> int:
        # At 5 calls a second, `GRANT_S` is half a call: without a minimum, the block would be empty.
        calls = max(LEAST_GRANT_CALLS, round(self._backends.rate_tps() * GRANT_S))
        return calls * self._gate.budget.next_price_micros + self._hourly_block_micros

    def _sums(self, grant_micros: int) -> Totals:
        budget = self._gate.budget
        self._totals.spent_micros = budget.spent_micros
        self._totals.billed_calls = budget.billed_calls
        for position in budget.positions:
            if position.sums is None:
                self._totals.month_use = position.month_use
            else:
                position.sums.month_use = position.month_use
        # What the next process adds to the spending if this one is killed (`checkpoint/open_file`).
        reserved_micros = grant_micros - budget.spent_micros
        sums = self._totals.copy()
        sums.reserved_micros, sums.reserved_calls = reserved_micros, self._reserved_calls(reserved_micros)
        return sums

    def _reserved_calls(self, reserved_micros: int) -> int:
        """The calls that may be billed for ``reserved_micros``; none for free calls and for a model's running time."""
        budget = self._gate.budget
        held_calls = budget.held_calls if budget.held_micros else 0
        price_micros = budget.next_price_micros
        # Not all divided by the price: what is held may be held at the higher price of an earlier tier.
        free_micros = max(0, reserved_micros - budget.held_micros - self._hourly_block_micros)
        return held_calls + (free_micros // price_micros if price_micros else 0)
