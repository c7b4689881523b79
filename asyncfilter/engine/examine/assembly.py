"""The assembly of a pipeline: each part is made once, after the parts that it uses."""

from __future__ import annotations

from asyncfilter.engine.core.backends import Backends
from asyncfilter.engine.core.budget_gate import BudgetGate
from asyncfilter.engine.core.listing import ListingReader
from asyncfilter.engine.core.memory_limit import MemoryLimit
from asyncfilter.engine.core.month_watch import MonthWatch
from asyncfilter.engine.core.row_ids import RowIds
from asyncfilter.engine.core.run_context import RunContext
from asyncfilter.engine.core.spending import SpendingRecord
from asyncfilter.engine.core.state_grants import StateGrants
from asyncfilter.engine.core.watchdog import Watchdog
from asyncfilter.engine.examine.admission import Admission
from asyncfilter.engine.examine.detect import PaidCalls
from asyncfilter.engine.examine.duplicates import DuplicateTracker
from asyncfilter.engine.examine.empty_listing import EmptyListing
from asyncfilter.engine.examine.inputs import Options, RunInputs
from asyncfilter.engine.examine.listing_count import ListingCounter
from asyncfilter.engine.examine.model_versions import ModelVersions
from asyncfilter.engine.examine.pipeline import Pipeline
from asyncfilter.engine.examine.prefetch import PrefetchStage
from asyncfilter.engine.examine.present_source import PresentSource
from asyncfilter.engine.examine.producer import Producer
from asyncfilter.engine.examine.ranged_listing import Ahead, RangedListing
from asyncfilter.engine.examine.stage import ExamineStage
from asyncfilter.engine.settle.assembly import Settlement, assemble_settlement
from asyncfilter.engine.settle.run_core import RunCore
from asyncfilter.job.spec import Job
from asyncfilter.model import uri_of
from asyncfilter.policy.billing_month import period_at
from asyncfilter.policy.budget import Budget
from asyncfilter.policy.cautions.at_start import AtStart, start_warnings, stop_at_start
from asyncfilter.policy.retrying import PACED_CAP_S
from asyncfilter.ports.checkpoint import Checkpoint
from asyncfilter.ports.examine import Sink, Source
from asyncfilter.records.progress import Totals


def assemble(
    job: Job,
    *,
    context: RunContext,
    checkpoint: Checkpoint,
    sink: Sink,
    inputs: RunInputs,
    options: Options | None = None,
    since: Totals | None = None,
) -> Pipeline:
    """Make the pipeline of one run.

    Args:
        job: The job.
        context: The run's id, listener, clock and interrupt.
        checkpoint: Open, and locked by this run.
        sink: Carries out actions.
        inputs: Source, detector and their limits.
        options: The options of this run.
        since: The sums before this run, where it paid for something (reference images) before the pipeline began.
    """
    core = RunCore(job, context=context, checkpoint=checkpoint, options=options or Options())
    return _Assembly(core, inputs, sink, since).pipeline()


class _Assembly:
    """The parts that only a run with paid calls has, and how they are connected."""

    def __init__(self, core: RunCore, inputs: RunInputs, sink: Sink, since: Totals | None) -> None:
        self._core = core
        self._inputs = inputs
        totals = core.totals
        self._backends = Backends(inputs.backends, core.clock)
        self._budget = self._open_budget()
        self._month_watch = MonthWatch(self._budget, core.clock)
        self._budget_gate = BudgetGate(self._budget, core.pending)
        if core.state is not None and core.state.is_authoritative:
            self._budget_gate.on_uncommitted = core.state.hurry
            core.state.use(StateGrants(self._budget_gate, self._backends))
        self._watchdog = self._make_watchdog()
        self._model_versions = self._model_version_check()
        spending = SpendingRecord(
            self._budget_gate,
            totals,
            backends=self._backends,
            hourly_block_micros=self._watchdog.block_micros,
        )
        self._settlement: Settlement = assemble_settlement(
            core,
            sink=sink,
            spending=spending,
            budget=self._budget,
            tps_limit=self._backends.limit_tps,
            lanes=self._backends.states if self._backends.are_lanes else None,
            since=since,
        )
        self._prefetch = PrefetchStage(
            preparation=inputs.preparation,
            repeat=core.repeater(core.stop_signal.pause),
            stop_signal=core.stop_signal,
            memory_limit=MemoryLimit(images=inputs.prefetch_images),
            at_once=inputs.prefetch_at_once,
        )
        self._duplicates = self._duplicate_tracker()
        self._stage = ExamineStage(
            calls=self._calls(),
            duplicates=self._duplicates,
            budget_gate=self._budget_gate,
            limit=inputs.concurrency,
        )
        self._since = since or core.checkpoint.opened.totals
        self._ranged = self._ranged_listing()

    def _open_budget(self) -> Budget:
        job, totals, clock = self._core.job, self._core.totals, self._core.clock
        month = period_at(clock.unix()).month
        return Budget(
            limit_micros=job.limits.budget_micros,
            spent_micros=totals.spent_micros,
            billed_calls=totals.billed_calls,
            positions=self._backends.positions(totals, month, job.pricing.used_this_month),
        )

    def _make_watchdog(self) -> Watchdog:
        core = self._core
        return Watchdog(
            backends=self._backends,
            budget=self._budget,
            margin_s=core.job.limits.timeout_s,
            stop_signal=core.stop_signal,
            cautions=core.cautions,
            emit=core.emit,
            clock=core.clock,
        )

    def _model_version_check(self) -> ModelVersions:
        core = self._core
        return ModelVersions(
            core.totals,
            positions=core.checkpoint,
            last_seq=core.checkpoint.opened.watermark.seq,
            must_agree=core.job.detector.lanes_must_agree,
            stop_signal=core.stop_signal,
            cautions=core.cautions,
            emit=core.emit,
            clock=core.clock,
        )

    def pipeline(self) -> Pipeline:
        core, inputs, settlement = self._core, self._inputs, self._settlement
        return Pipeline(
            options=core.options,
            opened=core.checkpoint.opened.watermark,
            since=self._since,
            budget_micros=core.job.limits.budget_micros,
            warnings=self._warnings(),
            lifecycle=settlement.lifecycle,
            take_over=settlement.take_over,
            summary=settlement.summary,
            admission=self._admission(),
            stage=self._stage,
            prefetch=self._prefetch,
            sequencer=settlement.sequencer,
            backends=self._backends,
            model_versions=self._model_versions,
            budget_gate=self._budget_gate,
            watchdog=self._watchdog,
            listing_counter=ListingCounter(
                source=inputs.source if self._ranged is None else Ahead(self._ranged),
                check=inputs.check,
                repeat=core.repeater(core.stop_signal.pause),
            ),
            ranged=self._ranged,
            stop_signal=core.stop_signal,
            capacity=inputs.capacity,
        )

    def _warnings(self) -> list[str]:
        job, opened, budget = self._core.job, self._core.checkpoint.opened, self._budget
        return start_warnings(
            job,
            AtStart(
                price_micros=budget.next_price_micros,
                spent_micros=budget.spent_micros,
                limit_tps=self._backends.limit_tps,
                is_service=bool(self._inputs.primary.region),
                stop=stop_at_start(job, opened.watermark.tally, opened.decided_by),
                old_used=self._backends.old_used(budget.positions),
                is_list_changed=self._is_list_changed(opened.watermark.origin),
                of_places=self._inputs.cautions,
            ),
        )

    def _is_list_changed(self, former: str) -> bool:
        return bool(former and self._inputs.origin) and former != self._inputs.origin

    def _duplicate_tracker(self) -> DuplicateTracker:
        core, settlement = self._core, self._settlement
        return DuplicateTracker(
            checkpoint=core.checkpoint,
            outcomes=core.outcomes,
            sequencer=settlement.sequencer,
            committer=settlement.committer,
            memory_limit=self._prefetch.memory_limit,
            budget=self._budget,
            totals=core.totals,
            skips=core.job.source.skip_duplicates,
            has_lanes=self._backends.are_lanes,
            is_off=core.job.source.examine_duplicates,
        )

    def _calls(self) -> PaidCalls:
        core = self._core
        return PaidCalls(
            backends=self._backends,
            outcomes=core.outcomes,
            budget_gate=self._budget_gate,
            month_watch=self._month_watch,
            certain_stop=self._settlement.sequencer.certain_stop,
            committer=self._settlement.committer,
            memory_limit=self._prefetch.memory_limit,
            repeat=core.repeater(core.stop_signal.pause, PACED_CAP_S),
            totals=core.totals,
            model_versions=self._model_versions,
            stop_signal=core.stop_signal,
            emit=core.emit,
            clock=core.clock,
            capacity=self._inputs.capacity,
        )

    def _admission(self) -> Admission:
        core, settlement = self._core, self._settlement
        return Admission(
            job=core.job,
            options=core.options,
            producer=self._producer(),
            prefetch=self._prefetch,
            listing=core.checkpoint,
            origin=self._inputs.origin,
            is_ranged=self._ranged is not None,
            outcomes=core.outcomes,
            redecider=settlement.redecider,
            take_over=settlement.take_over,
            sequencer=settlement.sequencer,
            committer=settlement.committer,
            loop=settlement.loop,
            pending=core.pending,
            pool=self._stage.pool,
            budget_gate=self._budget_gate,
            month_watch=self._month_watch,
            backends=self._backends,
            duplicates=self._duplicates,
            empty_listing=EmptyListing(
                core.job.source,
                source=self._inputs.source,
                places=self._inputs.places,
                check=self._inputs.check,
                repeat=core.repeater(core.stop_signal.pause),
            ),
            totals=core.totals,
            stop_signal=core.stop_signal,
        )

    def _producer(self) -> Producer:
        core, opened = self._core, self._core.checkpoint.opened
        bucket = core.job.source.bucket
        return Producer(
            reader=self._reader(self._source()),
            labels=core.checkpoint,
            positions=core.checkpoint,
            bucket=bucket,
            check=self._inputs.check,
            skips_duplicates=core.job.source.skip_duplicates,
            retry_failed=core.options.retry_failed,
            answers=core.answers,
            next_seq=opened.watermark.seq + 1,
            ids=self._row_ids(),
        )

    def _row_ids(self) -> RowIds:
        ids = self._inputs.row_ids or RowIds()
        ids.begin(self._core.checkpoint.opened.next_id)
        return ids

    def _reader(self, source: Source) -> ListingReader:
        core = self._core
        return ListingReader(
            source,
            repeat=core.repeater(core.stop_signal.pause),
            where=f"the listing of {uri_of(core.job.source.bucket, '')}",
            hint="Run the same command again once S3 responds; nothing is lost.",
        )

    def _ranged_listing(self) -> RangedListing | None:
        core, ranged = self._core, self._inputs.ranged
        if ranged is None:
            return None
        listing = RangedListing(
            self._reader(self._inputs.source),
            core.checkpoint,
            ranges=ranged.ranges,
            prefix=ranged.prefix,
            rank=ranged.rank,
            is_over=lambda: core.stop_signal.is_requested,
            is_dry=core.options.dry_run,
        )
        core.stop_signal.on_request(listing.wake)
        return listing

    def _source(self) -> Source:
        """The objects to examine; those of a list as they are now."""
        core, inputs = self._core, self._inputs
        if self._ranged is not None:
            return self._ranged
        if inputs.heads is None:
            return inputs.source
        return PresentSource(
            inputs.source,
            inputs.heads,
            check=inputs.check,
            known=core.checkpoint.by_keys,
            retry_failed=core.options.retry_failed,
        )
