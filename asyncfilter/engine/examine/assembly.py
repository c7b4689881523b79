"""The assembly of a pipeline: each part is made once, after those that it uses."""

from __future__ import annotations

from random import Random

from asyncfilter.clock import Clock, SystemClock
from asyncfilter.engine.admission import Admission
from asyncfilter.engine.call import PaidCalls
from asyncfilter.engine.census import Census
from asyncfilter.engine.core.backends import Backends
from asyncfilter.engine.core.spending import SpendingRecord
from asyncfilter.engine.ending import Interrupt
from asyncfilter.engine.examine.stage import ExamineStage
from asyncfilter.engine.pipeline import Pipeline
from asyncfilter.engine.preparing import Preparing
from asyncfilter.engine.producer import Producer
from asyncfilter.engine.purse import BudgetGate
from asyncfilter.engine.settle.assembly import RunCore, Settlement, assemble_settlement
from asyncfilter.engine.supervisor import Supervisor
from asyncfilter.engine.twins import DuplicateTracker
from asyncfilter.engine.way import Options, Way
from asyncfilter.events import Emit, ignore
from asyncfilter.job.spec import Job
from asyncfilter.policy.budget import Budget
from asyncfilter.policy.retrying import PACED_CAP_S
from asyncfilter.ports import Checkpoint, Sink, Totals


def assemble(
    job: Job,
    *,
    run_id: str,
    checkpoint: Checkpoint,
    sink: Sink,
    way: Way,
    options: Options | None = None,
    interrupt: Interrupt | None = None,
    emit: Emit = ignore,
    clock: Clock | None = None,
    rng: Random | None = None,
    since: Totals | None = None,
) -> Pipeline:
    """Make the pipeline of one run.

    Args:
        job: What to do.
        run_id: Names the run in the checkpoint's history.
        checkpoint: Open, and held by this run.
        sink: Carries out actions.
        way: Source, detector and their limits.
        options: What was asked of this run.
        interrupt: The user's wish to end it.
        emit: Told of everything that happens.
        clock: Time.
        rng: Draws the jitter of retries.
        since: The sums before this run, where it paid for something before the pipeline began.
    """
    core = RunCore(
        job,
        run_id=run_id,
        checkpoint=checkpoint,
        options=options or Options(),
        interrupt=interrupt or Interrupt(),
        emit=emit,
        clock=clock or SystemClock(),
        rng=rng or Random(),
    )
    return _Assembly(core, way, sink, since).pipeline()


class _Assembly:
    """The parts that only an examining run has, and how they are connected."""

    def __init__(self, core: RunCore, way: Way, sink: Sink, since: Totals | None) -> None:
        self._core = core
        self._way = way
        totals = core.totals
        self._backends = Backends(way.backends, core.clock)
        self._budget = Budget(
            limit_micros=core.job.limits.budget_micros,
            spent_micros=totals.spent_micros,
            billed_calls=totals.billed_calls,
            price_micros=self._backends.price_micros,
        )
        self._budget_gate = BudgetGate(self._budget, core.pending)
        self._watchdog = Supervisor(
            backends=self._backends,
            budget=self._budget,
            margin_s=core.job.limits.timeout_s,
            ending=core.ending,
            emit=core.emit,
            clock=core.clock,
        )
        spending = SpendingRecord(
            self._budget_gate,
            totals,
            backends=self._backends,
            hourly_block_micros=self._watchdog.block_micros,
        )
        self._settlement: Settlement = assemble_settlement(
            core, sink=sink, spending=spending, budget=self._budget, tps_limit=self._backends.limit_tps, since=since
        )
        self._preparing = Preparing(
            preparation=way.preparation, repeat=core.repeater(core.ending.pause), ending=core.ending
        )
        self._duplicates = self._duplicate_tracker()
        self._stage = ExamineStage(calls=self._calls(), duplicates=self._duplicates, limit=way.concurrency)
        self._since = since or core.checkpoint.opened.totals

    def pipeline(self) -> Pipeline:
        core, way, settlement = self._core, self._way, self._settlement
        return Pipeline(
            options=core.options,
            opened=core.checkpoint.opened.watermark,
            since=self._since,
            budget_micros=core.job.limits.budget_micros,
            lifecycle=settlement.lifecycle,
            summary=settlement.summary,
            admission=self._admission(),
            stage=self._stage,
            preparing=self._preparing,
            sequencer=settlement.sequencer,
            backends=self._backends,
            budget_gate=self._budget_gate,
            watchdog=self._watchdog,
            census=Census(source=way.source, check=way.check, repeat=core.repeater(core.ending.pause)),
            ending=core.ending,
        )

    def _duplicate_tracker(self) -> DuplicateTracker:
        core, settlement = self._core, self._settlement
        return DuplicateTracker(
            checkpoint=core.checkpoint,
            outcomes=core.outcomes,
            sequencer=settlement.sequencer,
            committer=settlement.committer,
            shelf=self._preparing.shelf,
            budget=self._budget,
            totals=core.totals,
            skips=core.job.source.skip_duplicates,
        )

    def _calls(self) -> PaidCalls:
        core = self._core
        return PaidCalls(
            backends=self._backends,
            outcomes=core.outcomes,
            budget_gate=self._budget_gate,
            committer=self._settlement.committer,
            shelf=self._preparing.shelf,
            repeat=core.repeater(core.ending.pause, PACED_CAP_S),
            totals=core.totals,
            ending=core.ending,
            emit=core.emit,
            clock=core.clock,
        )

    def _admission(self) -> Admission:
        core, settlement = self._core, self._settlement
        return Admission(
            job=core.job,
            options=core.options,
            producer=self._producer(),
            preparing=self._preparing,
            checkpoint=core.checkpoint,
            outcomes=core.outcomes,
            redecider=settlement.redecider,
            sequencer=settlement.sequencer,
            committer=settlement.committer,
            loop=settlement.loop,
            pending=core.pending,
            pool=self._stage.pool,
            budget_gate=self._budget_gate,
            backends=self._backends,
            duplicates=self._duplicates,
            totals=core.totals,
            ending=core.ending,
        )

    def _producer(self) -> Producer:
        core, opened = self._core, self._core.checkpoint.opened
        return Producer(
            source=self._way.source,
            checkpoint=core.checkpoint,
            bucket=core.job.source.bucket,
            check=self._way.check,
            repeat=core.repeater(core.ending.pause),
            skips_duplicates=core.job.source.skip_duplicates,
            retry_failed=core.options.retry_failed,
            next_seq=opened.watermark.seq + 1,
            next_id=opened.next_id,
        )
