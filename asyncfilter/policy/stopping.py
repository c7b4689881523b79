"""Stop rules: which of them holds for a tally, in the order of docs/guarantees.md, *Stop rules*."""

from __future__ import annotations

from asyncfilter.errors import AccessError, AsyncFilterError
from asyncfilter.job.spec import ErrorShare, Limits, Stop
from asyncfilter.model import StopReason
from asyncfilter.policy.sequential import is_surely_below
from asyncfilter.records.tally import Tally

ACCESS_CAUSES = frozenset({"access_denied", "kms_denied"})
"""Failures that a permission would cure: a run that ends for them has the exit code for access."""


def stop_due(tally: Tally, stop: Stop, limits: Limits) -> StopReason | None:
    """The stop rule that holds at ``tally``, or None.

    When several hold at one image, the result is the first of matches, misses_in_a_row, hit_rate, errors, max_images.
    """
    if stop.matches is not None and tally.matches >= stop.matches:
        return StopReason.MATCHES
    if stop.misses_in_a_row is not None and tally.misses_in_a_row >= stop.misses_in_a_row:
        return StopReason.MISSES_IN_A_ROW
    rare = stop.hit_rate
    if rare is not None and is_surely_below(rare.below, rare.confidence, hits=tally.matches, trials=tally.judged):
        return StopReason.HIT_RATE
    if stop.errors is not None and _too_many_failed(tally, stop.errors):
        return StopReason.ERRORS
    if limits.max_images is not None and tally.examined >= limits.max_images:
        return StopReason.MAX_IMAGES
    return None


def stop_cause(reason: StopReason, tally: Tally, stop: Stop) -> AsyncFilterError | None:
    """The error of a stop that is not a success: for ``errors`` the failures, with the most frequent cause."""
    if reason is not StopReason.ERRORS or stop.errors is None:
        return None
    window = stop.errors.window
    code, times = max(tally.failed.items(), key=lambda item: item[1], default=("unavailable", 0))
    message = (
        f"{tally.recent.failures(window)} of the last {window} images could not be examined "
        f"(stop.errors: {stop.errors.rate:g}); most often {code}, {times} times in all"
    )
    hint = "Remove the cause, then run again with --retry-failed, which counts errors anew."
    return AccessError(message, hint=hint) if code in ACCESS_CAUSES else AsyncFilterError(message, hint=hint)


def _too_many_failed(tally: Tally, errors: ErrorShare) -> bool:
    failures = tally.recent.failures(errors.window)
    return failures is not None and failures / errors.window >= errors.rate
