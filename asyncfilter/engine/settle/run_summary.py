"""The report of a run: its first event, its sums at any moment, and its summary at the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from asyncfilter.engine.settle.run_core import RunCore
from asyncfilter.engine.settle.sequencer import Sequencer
from asyncfilter.events import LaneTerms, RunStarted
from asyncfilter.model import AnswersState, StopReason, Summary, Workers
from asyncfilter.policy.budget import Budget
from asyncfilter.policy.counts import counts, exit_code
from asyncfilter.policy.empty_listing import NothingToExamineError
from asyncfilter.policy.lane_counts import LaneState, lane_counts, with_means
from asyncfilter.records.progress import Totals


class RunSummary:
    """Makes the first event and the summary of one run from its counts.

    Args:
        core: What all parts of the run share; the run starts now.
        sequencer: Counts in order.
        since: The sums at the start of the run.
        budget: The money; None where nothing is paid.
        tps_limit: The rate that may be used; None where no calls are made, or it is not known.
        lanes: Returns the lanes as they are; None without lanes.
    """

    def __init__(
        self,
        core: RunCore,
        *,
        sequencer: Sequencer,
        since: Totals,
        budget: Budget | None = None,
        tps_limit: float | None = None,
        lanes: Callable[[], Mapping[str, LaneState]] | None = None,
    ) -> None:
        self._job = core.job
        self._run_id = core.run_id
        self._checkpoint = core.checkpoint
        self._options = core.options
        self._stop_signal = core.stop_signal
        self._clock = core.clock
        self._totals = core.totals
        self._cautions = core.cautions
        self._workers = core.workers
        self._workers_wanted = core.workers_wanted
        self._sequencer = sequencer
        self._since = since
        self._budget = budget
        self._tps_limit = tps_limit
        self._lanes = lanes
        self._started_s = core.clock.monotonic()

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

    def workers(self) -> Workers | None:
        """The workers of the fleet so far; None without one."""
        return self._workers() if self._workers is not None else None

    def started(self, *, tps_origin: str, lanes: Sequence[LaneTerms] = ()) -> RunStarted:
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
            dry_run=self._options.dry_run,
            lanes=[lane.name for lane in lanes],
            lane_terms=list(lanes),
            epoch=opened.epoch,
            on="local" if self._workers is None else "ray",
            workers_wanted=self._workers_wanted,
        )

    def summary(self, *, overshoot: int, pending_removals: int, answers: AnswersState | None = None) -> Summary:
        """The summary of the run.

        Args:
            overshoot: Images paid for beyond the stop position, over the checkpoint's life.
            pending_removals: Images that ``apply`` would take out of the source.
            answers: The answers file, and how far it was followed.
        """
        reason, error = self._stop_signal.reason or StopReason.COMPLETED, self._stop_signal.error
        sequencer, sums, wall_s = self._sequencer, self.sums(), self.elapsed_s
        life = counts(sequencer.watermark.tally, sums, overshoot=overshoot)
        this_run = counts(sequencer.this_run, sums, overshoot=sequencer.overshoot, since=self._since)
        if self._lanes is not None:
            states = self._lanes()
            lanes = lane_counts(sums, states=states), lane_counts(sums, self._since, states=states)
            life.lanes, this_run.lanes = with_means(*lanes, wall_s)
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
            complete=reason is StopReason.COMPLETED and sequencer.watermark.listing_done,
            nothing=error.found if isinstance(error, NothingToExamineError) else None,
            cautions=self._cautions.said,
            answers=answers,
            workers=self.workers(),
            epoch=self._checkpoint.opened.epoch,
        )
