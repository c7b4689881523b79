"""When enough has been seen: stop rules over a tally, in the order of the contract (section 5)."""

from __future__ import annotations

from asyncfilter.job.spec import Limits, Stop
from asyncfilter.model import StopReason
from asyncfilter.policy.tally import Tally


def stop_due(tally: Tally, stop: Stop, limits: Limits) -> StopReason | None:
    """The stop rule that holds at ``tally``, or None.

    When several hold at one image the first of matches, misses_in_a_row, max_images is named.
    """
    if stop.matches is not None and tally.matches >= stop.matches:
        return StopReason.MATCHES
    if stop.misses_in_a_row is not None and tally.misses_in_a_row >= stop.misses_in_a_row:
        return StopReason.MISSES_IN_A_ROW
    if limits.max_images is not None and tally.examined >= limits.max_images:
        return StopReason.MAX_IMAGES
    return None
