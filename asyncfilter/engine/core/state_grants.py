"""The money that commits to a state in S3 grant to a run."""

from __future__ import annotations

from asyncfilter.engine.core.backends import Backends
from asyncfilter.engine.core.budget_gate import BudgetGate
from asyncfilter.policy.state_grants import grant_micros
from asyncfilter.ports.keeping import Grant


class StateGrants:
    """``Grants`` over the budget of one run.

    Invariant: no reservation exceeds what the last commit granted, nor what the commit under way will grant.

    Args:
        gate: The budget, with the tasks that wait for money.
        backends: Their rate bounds a grant.
    """

    def __init__(self, gate: BudgetGate, backends: Backends) -> None:
        self._gate, self._budget = gate, gate.budget
        self._backends = backends
        self._budget.ceiling_micros = self._budget.spent_micros

    @property
    def is_low(self) -> bool:
        """See ``Grants``: less than half of a new grant is left."""
        budget = self._budget
        left = (budget.ceiling_micros or 0) - budget.spent_micros - budget.held_micros
        wanted = self._total() - budget.spent_micros - budget.held_micros
        return 2 * left < wanted

    def propose(self) -> Grant:
        """See ``Grants``."""
        total = self._total()
        # Before the commit: a restored state counts only this much as spent.
        self._budget.ceiling_micros = min(total, self._budget.ceiling_micros or 0)
        return Grant(total, self._budget.next_price_micros)

    def granted(self, grant: Grant) -> None:
        """See ``Grants``."""
        self._budget.ceiling_micros = grant.micros
        self._gate.refresh()

    def _total(self) -> int:
        budget = self._budget
        return grant_micros(
            spent_micros=budget.spent_micros,
            held_micros=budget.held_micros,
            limit_micros=budget.limit_micros,
            price_micros=budget.next_price_micros,
            rate_tps=self._backends.rate_tps(),
            hourly_micros=self._backends.hourly_micros,
        )
