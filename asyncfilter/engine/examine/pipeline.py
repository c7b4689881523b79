"""The pipeline: the one task group of a run. It starts the parts, admits images in order, and drains them.

The path of one image:

1. ``producer`` finds it in the listing, makes the free checks, and looks it up in the checkpoint.
2. ``admission`` admits it in order. Known labels cost nothing. Otherwise it waits for a worker, for money, and for its
   permit, in this order.
3. ``detect`` examines it and settles the money.
4. ``settle/loop`` does the rest: the committer makes the response durable; the sequencer counts it in order, applies
   the stop rules and releases it; the sink stage carries out the action of its verdict; the watermark moves past it.

A drain has the same steps for every stop reason: admission ends, calls in flight finish and are kept, released actions
finish unless the run ends at once, what people said meanwhile is taken over, the last figures become durable.
"""

from __future__ import annotations

from collections.abc import Sequence

import anyio
from anyio.abc import TaskGroup

from asyncfilter.engine.core.backends import Backends
from asyncfilter.engine.core.budget_gate import BudgetGate
from asyncfilter.engine.core.capacity import Capacity
from asyncfilter.engine.core.stopping import StopSignal
from asyncfilter.engine.core.watchdog import Watchdog
from asyncfilter.engine.examine.admission import Admission
from asyncfilter.engine.examine.inputs import Options
from asyncfilter.engine.examine.listing_count import ListingCounter
from asyncfilter.engine.examine.model_versions import ModelVersions
from asyncfilter.engine.examine.prefetch import PrefetchStage
from asyncfilter.engine.examine.ranged_listing import RangedListing
from asyncfilter.engine.examine.stage import ExamineStage
from asyncfilter.engine.settle.lifecycle import RunLifecycle
from asyncfilter.engine.settle.run_summary import RunSummary
from asyncfilter.engine.settle.sequencer import Sequencer
from asyncfilter.engine.settle.take_over import TakeOver
from asyncfilter.model import Progress, Summary
from asyncfilter.policy.counts import counts
from asyncfilter.records.progress import Totals, Watermark


class Pipeline:
    """One run; made by ``assembly.assemble``.

    Args:
        options: The options of this run.
        opened: The position at which the run starts.
        since: The sums at its start.
        budget_micros: The budget of the job; None without one.
        warnings: Cautions beside those about the job.
        lifecycle: Begins, drains and finishes the run.
        take_over: Takes over what people said while the run went on.
        summary: Makes the summary from the counts.
        admission: Admits images in order.
        stage: Examines them.
        prefetch: Prepares them ahead.
        sequencer: Counts them in order.
        backends: Where images are examined, and at what rate.
        model_versions: Compares the model versions of lanes.
        budget_gate: Reserves money.
        watchdog: Makes the checks that depend on time.
        listing_counter: Counts the listing ahead.
        ranged: The listing in ranges, which goes on beside its examination; None for page after page.
        stop_signal: Holds the reason why the run ends.
        capacity: How many attempts may be under way; None where that does not change.
    """

    def __init__(
        self,
        *,
        options: Options,
        opened: Watermark,
        since: Totals,
        budget_micros: int | None,
        warnings: Sequence[str],
        lifecycle: RunLifecycle,
        take_over: TakeOver,
        summary: RunSummary,
        admission: Admission,
        stage: ExamineStage,
        prefetch: PrefetchStage,
        sequencer: Sequencer,
        backends: Backends,
        model_versions: ModelVersions,
        budget_gate: BudgetGate,
        watchdog: Watchdog,
        listing_counter: ListingCounter,
        ranged: RangedListing | None,
        stop_signal: StopSignal,
        capacity: Capacity | None = None,
    ) -> None:
        self._options = options
        self._opened = opened
        self._since = since
        self._budget_micros = budget_micros
        self._warnings = warnings
        self._lifecycle = lifecycle
        self._take_over = take_over
        self._summary = summary
        self._admission = admission
        self._stage = stage
        self._prefetch = prefetch
        self._sequencer = sequencer
        self._backends = backends
        self._model_versions = model_versions
        self._budget_gate = budget_gate
        self._watchdog = watchdog
        self._listing_counter = listing_counter
        self._ranged = ranged
        self._stop_signal = stop_signal
        self._capacity = capacity
        self._examined_before = opened.tally.examined

    async def run(self) -> Summary:
        """Run until the listing is done or a stop reason is found, then drain.

        Returns:
            The summary, with the exit code of the run.

        Raises:
            AbortedError: The user interrupted twice; what is durable stays.
            CheckpointError: The checkpoint cannot be written.
        """
        await self._lifecycle.begin(
            tps_origin=self._backends.tps_origin, warnings=self._warnings, lanes=self._backends.described()
        )
        async with anyio.create_task_group() as tasks:
            self._stage.pool.start(tasks)
            self._prefetch.start(tasks)
            self._lifecycle.start(tasks)
            tasks.start_soon(self._watchdog.run)
            if self._capacity is not None:
                self._follow(self._capacity, tasks)
            tasks.start_soon(self._lifecycle.names.run)
            if self._ranged is not None:
                tasks.start_soon(self._ranged.run)
            if self._options.counts_ahead and not self._opened.listing_done:
                tasks.start_soon(self._listing_counter.count, self._opened.cursor)
            # Around admission alone: a stop cancels it, and calls in flight finish in `_drain`.
            with anyio.CancelScope() as scope:
                self._stop_signal.on_request(scope.cancel)
                if self._backends.are_lanes:
                    await self._model_versions.begin()
                await self._admission.run(tasks)
            await self._drain()
            await self._take_over.again()
            # What is left runs until cancelled: settle loop, watchdog, idle workers, the wait for an interrupt.
            tasks.cancel_scope.cancel()
        self._lifecycle.check_aborted()
        await self._stop_model()
        # Hourly prices up to now, before the last figures are written.
        self._watchdog.settle()
        return await self._lifecycle.finish()

    async def _stop_model(self) -> None:
        """Stop the model that the run has started: its time until then is in the last figures."""
        held = self._backends.held_model
        if held is not None and (problem := await held.stop()):
            self._lifecycle.caution(problem)

    def progress(self) -> Progress:
        """The state of the run at this moment; callable before ``run`` starts and after it ends, too."""
        statistics = self._backends.statistics()
        sequencer, sums = self._sequencer, self._summary.sums()
        overshoot = sequencer.overshoot if self._stop_signal.is_requested else 0
        return Progress(
            counts=counts(sequencer.watermark.tally, sums, overshoot=overshoot),
            this_run=counts(sequencer.this_run, sums, overshoot=overshoot, since=self._since),
            rate_tps=float(statistics.attempts_last_s),
            allowed_tps=statistics.rate_tps,
            limit_tps=statistics.limit_tps or statistics.rate_tps,
            in_flight=self._stage.pool.in_flight,
            actions=self._lifecycle.actions,
            ending=self._stop_signal.reason,
            expected=None
            if self._listing_counter.images is None
            else self._examined_before + self._listing_counter.images,
            listing_done=sequencer.watermark.listing_done,
            budget_micros=self._budget_micros,
            price_micros=self._budget_gate.budget.next_price_micros,
            elapsed_s=self._summary.elapsed_s,
            workers=self._summary.workers(),
        )

    def _follow(self, capacity: Capacity, tasks: TaskGroup) -> None:
        """Admit as many images as can be examined, and end the run when none can be any more."""
        pool = self._stage.pool
        most = pool.limit

        def resize() -> None:
            pool.resize(min(most, capacity.limit))

        async def watch() -> None:
            self._stop_signal.request(*await capacity.ended())

        capacity.on_change(resize)
        resize()
        tasks.start_soon(watch)

    async def _drain(self) -> None:
        self._lifecycle.report_drain(self._stage.pool.in_flight)
        # Repetitions that wait for a permit or for money end now; only attempts that were sent are waited for.
        self._backends.close()
        self._budget_gate.close()
        if self._capacity is not None:
            self._capacity.close()
        await self._stage.pool.wait_done()
        await self._lifecycle.drain()
