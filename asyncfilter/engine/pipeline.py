"""The pipeline: the one task group of a run. It starts the parts, admits images in order, and brings all to an end.

The path of one image:

1. ``producer`` finds it in the listing; free checks are made, and the checkpoint is asked what it knows.
2. ``admission`` takes it in order. Known labels cost nothing. Otherwise it waits for a worker, for money, for its
   permit.
3. ``call`` examines it and settles the money.
4. ``settle/loop`` takes it from there: the committer makes the response durable, the sequencer counts it in order,
   applies the stop rules and releases it, the sink stage carries out what follows from its verdict, and the watermark
   moves behind it.

Draining is the same whatever the reason: admission ends, calls in flight finish and are kept, released actions finish
unless the run ends at once, the last figures become durable.
"""

from __future__ import annotations

import anyio

from asyncfilter.engine.admission import Admission
from asyncfilter.engine.census import Census
from asyncfilter.engine.core.backends import Backends
from asyncfilter.engine.ending import Ending
from asyncfilter.engine.examine.stage import ExamineStage
from asyncfilter.engine.monitor import Sequencer
from asyncfilter.engine.preparing import Preparing
from asyncfilter.engine.purse import BudgetGate
from asyncfilter.engine.settle.lifecycle import RunLifecycle
from asyncfilter.engine.settle.run_summary import RunSummary
from asyncfilter.engine.supervisor import Supervisor
from asyncfilter.engine.way import Options
from asyncfilter.model import Progress, Summary
from asyncfilter.policy.counts import counts
from asyncfilter.ports import Totals, Watermark


class Pipeline:
    """One run; made by ``assembly.assemble``.

    Args:
        options: What was asked of this run.
        opened: The position at which the run starts.
        since: The sums at its start.
        lifecycle: Begins, drains and finishes it.
        summary: Puts together what was counted.
        admission: Admits images in order.
        stage: Examines them.
        preparing: Looks at them before.
        sequencer: Counts them in order.
        backends: Where images are examined, and at what rate.
        budget_gate: Hands out money.
        watchdog: Looks after what only time brings.
        census: Counts the listing ahead.
        ending: Knows why the run ends.
    """

    def __init__(
        self,
        *,
        options: Options,
        opened: Watermark,
        since: Totals,
        budget_micros: int | None,
        lifecycle: RunLifecycle,
        summary: RunSummary,
        admission: Admission,
        stage: ExamineStage,
        preparing: Preparing,
        sequencer: Sequencer,
        backends: Backends,
        budget_gate: BudgetGate,
        watchdog: Supervisor,
        census: Census,
        ending: Ending,
    ) -> None:
        self._options = options
        self._opened = opened
        self._since = since
        self._budget_micros = budget_micros
        self._lifecycle = lifecycle
        self._summary = summary
        self._admission = admission
        self._stage = stage
        self._preparing = preparing
        self._sequencer = sequencer
        self._backends = backends
        self._budget_gate = budget_gate
        self._watchdog = watchdog
        self._census = census
        self._ending = ending
        self._examined_before = opened.tally.examined

    async def run(self) -> Summary:
        """Run to the end, whatever it is.

        Returns:
            The summary; ``exit_code`` says whether the run did what it should.

        Raises:
            AbortedError: Interrupted twice; what is durable stays.
            CheckpointError: The checkpoint cannot be written.
        """
        await self._lifecycle.begin(tps_origin=self._backends.tps_origin)
        async with anyio.create_task_group() as tasks:
            self._stage.pool.start(tasks)
            self._preparing.start(tasks)
            self._lifecycle.start(tasks)
            tasks.start_soon(self._watchdog.run)
            if self._options.counts_ahead and not self._opened.listing_done:
                tasks.start_soon(self._census.count, self._opened.cursor)
            with anyio.CancelScope() as scope:
                self._ending.on_request(scope.cancel)
                await self._admission.run(tasks)
            await self._drain()
            tasks.cancel_scope.cancel()
        self._lifecycle.check_aborted()
        self._watchdog.settle()
        return await self._lifecycle.finish()

    def progress(self) -> Progress:
        """How the run stands at this moment, also before ``run`` was entered and after it ended."""
        statistics = self._backends.statistics()
        sequencer, sums = self._sequencer, self._summary.sums()
        overshoot = sequencer.overshoot if self._ending.is_requested else 0
        return Progress(
            counts=counts(sequencer.watermark.tally, sums, overshoot=overshoot),
            this_run=counts(sequencer.this_run, sums, overshoot=overshoot, since=self._since),
            rate_tps=float(statistics.attempts_last_s),
            allowed_tps=statistics.rate_tps,
            limit_tps=statistics.limit_tps or statistics.rate_tps,
            in_flight=self._stage.pool.in_flight,
            actions=self._lifecycle.actions,
            ending=self._ending.reason,
            expected=None if self._census.images is None else self._examined_before + self._census.images,
            listing_done=sequencer.watermark.listing_done,
            budget_micros=self._budget_micros,
            price_micros=self._budget_gate.budget.next_price_micros,
            elapsed_s=self._summary.elapsed_s,
        )

    async def _drain(self) -> None:
        self._lifecycle.report_drain(self._stage.pool.in_flight)
        self._backends.close()
        self._budget_gate.close()
        await self._stage.pool.wait_done()
        await self._lifecycle.drain()
