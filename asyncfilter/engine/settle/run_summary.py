"""What a run tells of itself: its first event, its progress at any moment, and its summary at the end."""

from __future__ import annotations

import msgspec

from asyncfilter.clock import Clock
from asyncfilter.engine.ending import Ending
from asyncfilter.engine.monitor import Sequencer
from asyncfilter.engine.way import Options
from asyncfilter.events import RunStarted
from asyncfilter.job.spec import Job
from asyncfilter.model import StopReason, Summary
from asyncfilter.policy.budget import Budget
from asyncfilter.policy.counts import counts, exit_code
from asyncfilter.ports import Checkpoint, Totals


class RunSummary:
    """Puts together what was counted in one run.

    Args:
        job: What is done.
        run_id: Names the run in the checkpoint's history.
        checkpoint: Open, and held by this run.
        sequencer: Counts in order.
        ending: Knows why the run ended.
        clock: Time; the run starts now.
        since: The sums at the start of the run.
        totals: The sums that are counted in no order, money apart.
        budget: The money; None where nothing is paid.
        tps_limit: The rate that may be used; None where nothing is called, or nothing is known of it.
    """

    def __init__(
        self,
        job: Job,
        *,
        run_id: str,
        checkpoint: Checkpoint,
        sequencer: Sequencer,
        ending: Ending,
        clock: Clock,
        since: Totals,
        totals: Totals,
        budget: Budget | None = None,
        tps_limit: float | None = None,
    ) -> None:
        self._job = job
        self._run_id = run_id
        self._checkpoint = checkpoint
        self._sequencer = sequencer
        self._ending = ending
        self._clock = clock
        self._since = since
        self._totals = totals
        self._budget = budget
        self._tps_limit = tps_limit
        self._started_s = clock.monotonic()

    @property
    def elapsed_s(self) -> float:
        """Seconds since the run started."""
        return self._clock.monotonic() - self._started_s

    def sums(self) -> Totals:
        """The sums at this moment."""
        if self._budget is None:
            return self._totals
        spent, billed = self._budget.spent_micros, self._budget.billed_calls
        return msgspec.structs.replace(self._totals, spent_micros=spent, billed_calls=billed)

    def started(self, options: Options, *, tps_origin: str) -> RunStarted:
        """The first event of the run."""
        opened = self._checkpoint.opened
        return RunStarted(
            at_unix_s=self._clock.unix(),
            run_id=self._run_id,
            name=self._job.name,
            checkpoint=self._checkpoint.location,
            resumed=not opened.is_new,
            listing_from=opened.watermark.cursor,
            tps_limit=self._tps_limit,
            tps_origin=tps_origin,
            budget_micros=self._job.limits.budget_micros,
            spent_micros=self._totals.spent_micros,
            dry_run=options.dry_run,
        )

    def summary(self, *, overshoot: int, pending_removals: int) -> Summary:
        """What the run came to.

        Args:
            overshoot: Images paid for beyond the stop position, over the checkpoint's life.
            pending_removals: Images that ``apply`` would take out of the source.
        """
        reason, error = self._ending.reason or StopReason.COMPLETED, self._ending.error
        sequencer, sums, wall_s = self._sequencer, self.sums(), self.elapsed_s
        life = counts(sequencer.watermark.tally, sums, overshoot=overshoot)
        this_run = counts(sequencer.this_run, sums, overshoot=sequencer.overshoot, since=self._since)
        return Summary(
            run_id=self._run_id,
            name=self._job.name,
            stop_reason=reason,
            counts=life,
            this_run=this_run,
            budget_micros=self._job.limits.budget_micros,
            tps_mean=this_run.attempts / wall_s if wall_s > 0 else 0.0,
            tps_limit=self._tps_limit,
            wall_s=wall_s,
            resumed=not self._checkpoint.opened.is_new,
            checkpoint=self._checkpoint.location,
            error=error.message if error is not None else None,
            hint=error.hint if error is not None else None,
            exit_code=exit_code(reason, error, any_failed=bool(life.failed)),
            pending_removals=pending_removals,
        )
