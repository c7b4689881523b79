"""UTC months: the tiers of a price list begin anew in each, so a call's price depends on the month it is made in.

A wall clock may be wrong, and may be corrected while a run lasts. So the count of a month never goes on after the clock
showed another month, earlier or later: it begins at nought again, where the price is the highest. And since AWS accepts
requests from a clock that is up to five minutes off, a call in the last five minutes of a month costs what the first
call of the next month costs.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

from asyncfilter.records.progress import MonthUse

MARGIN_S = 300.0
"""The end of a month, in which AWS may count a call in the next one, seconds.

Source: Signature Version 4 requests are refused when their time differs from AWS's by more than five minutes.
"""

USED_IS_OLD = (
    "{} was set in an earlier month (or before the clock was changed) and is not counted: this "
    "month's images are priced from the first tier on; set it to the images billed this month"
)
"""A sentence with a place for the key, such as ``pricing.used_this_month``."""

_DECEMBER = 12


class BillingPeriod(NamedTuple):
    """A stretch of time in which prices count in one way: a UTC month, or the last minutes of it.

    Attributes:
        month: As in ``2026-11``.
        is_ending: True in the last minutes of the month.
        begins_s: First moment, seconds since 1970-01-01 UTC.
        ends_s: First moment after it.
        month_ends_s: First moment of the next month.
    """

    month: str
    is_ending: bool
    begins_s: float
    ends_s: float
    month_ends_s: float


def period_at(unix_s: float) -> BillingPeriod:
    """The period at ``unix_s`` seconds since 1970-01-01 UTC."""
    now = datetime.fromtimestamp(unix_s, UTC)
    begins = datetime(now.year, now.month, 1, tzinfo=UTC)
    ends = datetime(now.year + now.month // _DECEMBER, now.month % _DECEMBER + 1, 1, tzinfo=UTC)
    begins_s, month_ends_s = begins.timestamp(), ends.timestamp()
    margin_s = month_ends_s - MARGIN_S
    is_ending = unix_s >= margin_s
    return BillingPeriod(
        month=f"{begins:%Y-%m}",
        is_ending=is_ending,
        begins_s=margin_s if is_ending else begins_s,
        ends_s=month_ends_s if is_ending else margin_s,
        month_ends_s=month_ends_s,
    )


def use_in(month: str, stored: MonthUse, used_this_month: int) -> MonthUse:
    """What counts in ``month``, when a run begins in it.

    Args:
        month: The month of the run's start.
        stored: What the checkpoint holds; it counts only in its own month.
        used_this_month: ``pricing.used_this_month``, which counts in the month in which a run first saw this value.
    """
    calls = stored.calls if stored.month == month else 0
    if used_this_month != stored.used:
        return MonthUse(month=month, calls=calls, used=used_this_month, is_used_counted=True)
    is_counted = stored.is_used_counted and stored.month == month
    return MonthUse(month=month, calls=calls, used=stored.used, is_used_counted=is_counted)
