"""How much may be spent before the next commit of a state to S3: arithmetic in integer micro-dollars.

A machine that is lost with its disk may have spent all of it, so that much counts as spent then. So it is enough for
what can be called between two commits, and no more.
"""

from __future__ import annotations

GRANT_S = 10.0
"""A grant covers at most the calls of this time."""

LEFT_DIVISOR = 10
"""A grant is at most this part of what is left of the budget."""

LEAST_CALLS = 100
"""A grant covers at least this many calls, as far as the budget does."""


def grant_micros(
    *,
    spent_micros: int,
    held_micros: int,
    limit_micros: int | None,
    price_micros: int,
    rate_tps: float,
    hourly_micros: int,
) -> int:
    """Everything that may be spent until the next commit, as a total that counts what was spent before.

    Args:
        spent_micros: What is settled.
        held_micros: What attempts in flight may cost; a grant covers it in any case.
        limit_micros: The budget; None without one.
        price_micros: The highest price of the next call.
        rate_tps: Attempts a second that are allowed.
        hourly_micros: The price per hour of what costs money by time.
    """
    block = round(rate_tps * GRANT_S) * price_micros + round(hourly_micros * GRANT_S / 3600)
    if limit_micros is not None:
        block = min(block, max(0, limit_micros - spent_micros) // LEFT_DIVISOR)
    block = max(block, LEAST_CALLS * price_micros)
    total = spent_micros + max(block, held_micros)
    # Time of a model may have passed the limit; what is spent and held is covered even then.
    return total if limit_micros is None else max(min(total, limit_micros), spent_micros + held_micros)
