"""The counts of a run: a tally and sums, combined into the figures that reports show."""

from __future__ import annotations

import msgspec

from asyncfilter.errors import AsyncFilterError, ExitCode
from asyncfilter.model import Counts, Reviewed, StopReason
from asyncfilter.records.progress import Totals
from asyncfilter.records.tally import Tally


def counts(tally: Tally, totals: Totals, *, overshoot: int, since: Totals | None = None) -> Counts:
    """All counts of a run.

    Args:
        tally: What was counted in order.
        totals: What was counted whenever it happened.
        overshoot: Images paid for beyond the position of ``tally``.
        since: The sums at the start, to count only what came after.
    """
    before = since if since is not None else Totals()
    return Counts(
        listed=tally.listed,
        skipped=dict(tally.skipped),
        examined=tally.examined,
        overshoot=overshoot,
        from_checkpoint=totals.from_checkpoint - before.from_checkpoint,
        duplicates=totals.duplicates - before.duplicates,
        saved_micros=totals.saved_micros - before.saved_micros,
        calls=totals.calls - before.calls,
        attempts=totals.attempts - before.attempts,
        throttled=totals.throttled - before.throttled,
        retried=totals.retried - before.retried,
        adopted=totals.adopted - before.adopted,
        failed=dict(tally.failed),
        keep=tally.keep,
        review=tally.review,
        reject=tally.reject,
        copied=tally.effects.get("copy", 0),
        deleted=tally.effects.get("delete", 0),
        moved=tally.effects.get("move", 0),
        tagged=tally.effects.get("tag", 0),
        stale=tally.stale,
        billed_calls=totals.billed_calls - before.billed_calls,
        spent_micros=totals.spent_micros - before.spent_micros,
        reviewed=msgspec.convert(tally.reviewed, Reviewed),
    )


def exit_code(reason: StopReason, error: AsyncFilterError | None, *, any_failed: bool) -> int:
    """The exit code for the stop reason and the counts (docs/guarantees.md, *Exit codes*)."""
    if reason is StopReason.INTERRUPTED:
        return ExitCode.INTERRUPTED
    if reason is StopReason.FAILED:
        return error.exit_code if error is not None else ExitCode.INTERNAL
    if reason is StopReason.ERRORS and error is not None and error.exit_code == ExitCode.ACCESS:
        return ExitCode.ACCESS
    is_success = reason not in (StopReason.ERRORS, StopReason.NOTHING_TO_EXAMINE) and not any_failed
    return ExitCode.OK if is_success else ExitCode.SOME_FAILED
