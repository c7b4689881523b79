"""The lanes of a job as a plan needs them: rates, prices, and what was billed at each in the month."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from asyncfilter.engine.core.backends import DetectorBackend
from asyncfilter.policy.billing_month import BillingPeriod, use_in
from asyncfilter.policy.lane_prices import LanePrices
from asyncfilter.policy.pricing import PriceList
from asyncfilter.records.progress import LaneTotals, MonthUse


def lane_prices(
    backends: Sequence[DetectorBackend], known: Mapping[str, LaneTotals], period: BillingPeriod, free: PriceList
) -> tuple[LanePrices, ...]:
    """The lanes; empty without lanes.

    Args:
        backends: Of the job.
        known: What the checkpoint has of each lane, by its name.
        period: The present month.
        free: The prices of a detector of the caller's own.
    """
    return tuple(_prices(backend, known.get(backend.name), period, free) for backend in backends if backend.name)


def _prices(backend: DetectorBackend, sums: LaneTotals | None, period: BillingPeriod, free: PriceList) -> LanePrices:
    # A lane that is elsewhere now is another one to AWS, which counts its images anew.
    is_same = sums is not None and (sums.region, sums.account) == (backend.region, backend.account)
    use = use_in(period.month, sums.month_use if sums and is_same else MonthUse(), backend.used_this_month)
    return LanePrices(
        name=backend.name,
        region=backend.region,
        account=backend.account,
        tps=backend.limit_tps,
        origin=backend.tps_origin,
        by=backend.by,
        prices=backend.prices or free,
        # The last minutes of a month cost what the first images of the next one cost.
        used=0 if period.is_ending else use.billed,
        is_used_old=use.has_old_used,
    )


def sum_tps(lanes: Sequence[LanePrices]) -> float | None:
    """The sum of their rates; None when one of them is not known."""
    rates = [lane.tps for lane in lanes]
    return None if None in rates else sum(rate for rate in rates if rate is not None)
