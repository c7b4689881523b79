"""What the answers of a dead head cost that a restored copy in S3 has in no sum.

With S3 as the truth, grants cover them, and with the file of the head its reservations do. A copy has neither once the
disk is lost too: what its last commit lacks was spent all the same, as far as workers show it.
"""

from __future__ import annotations

from collections.abc import Callable

from asyncfilter.clock import Clock
from asyncfilter.engine.core.backends import Backends
from asyncfilter.engine.examine.inputs import RunInputs
from asyncfilter.job.spec import Job
from asyncfilter.policy.billing_month import period_at
from asyncfilter.ports.keeping import KeptState
from asyncfilter.records.progress import Totals

Charge = Callable[[Totals, int], None]
"""Counts so many answers as billed calls."""


def adopted_spending(job: Job, inputs: RunInputs, state: KeptState | None, clock: Clock) -> Charge | None:
    """What counts adopted answers as spent; None where they are counted already.

    With lanes nobody knows which one answered: the dearest is taken, so that too much is counted, and never too little.
    """
    if state is None or not state.lacks_spending:
        return None

    def charge(totals: Totals, answers: int) -> None:
        backends = Backends(inputs.backends, clock)
        positions = backends.positions(totals, period_at(clock.unix()).month, job.pricing.used_this_month)
        for _ in range(answers):
            dearest = max(positions, key=lambda position: position.next_micros)
            if micros := dearest.next_micros:
                totals.spent_micros += micros
                totals.billed_calls += 1
                dearest.pay(micros)
                dearest.count()
        for position in positions:
            if position.sums is None:
                totals.month_use = position.month_use
            else:
                position.sums.month_use = position.month_use

    return charge
