"""``refilter``: applies changed rules and actions to stored labels.

It consists of the settle loop, the take-over of people's answers and the redecider only. There is no source, detector,
limiter or budget, so a refilter cannot pay for a call.
"""

from __future__ import annotations

import anyio

from asyncfilter.engine.core.run_context import RunContext
from asyncfilter.engine.examine.inputs import Options
from asyncfilter.engine.settle.assembly import Settlement, assemble_settlement
from asyncfilter.engine.settle.run_core import RunCore
from asyncfilter.job.spec import Job
from asyncfilter.model import Progress, StopReason, Summary
from asyncfilter.policy.counts import counts
from asyncfilter.ports.checkpoint import Checkpoint
from asyncfilter.ports.examine import Sink


class Refilter:
    """One refilter of a checkpoint.

    Args:
        job: The present job; the references that its rules name are resolved.
        context: The run's id, listener, clock and interrupt.
        checkpoint: Open, and locked by this process.
        sink: Carries out actions.
        dry_run: Report what would change; write neither to the sink nor to the checkpoint's images.
    """

    def __init__(
        self,
        job: Job,
        *,
        context: RunContext,
        checkpoint: Checkpoint,
        sink: Sink,
        dry_run: bool = False,
    ) -> None:
        self._core = RunCore(job, context=context, checkpoint=checkpoint, options=Options(dry_run=dry_run))
        self._parts: Settlement = assemble_settlement(self._core, sink=sink)

    async def run(self) -> Summary:
        """Make every stored decision, and the action that follows from it, that of the present job.

        Returns:
            The summary; this run spent nothing.

        Raises:
            AbortedError: The user interrupted twice; what is durable stays.
            CheckpointError: The checkpoint cannot be read or written.
        """
        lifecycle = self._parts.lifecycle
        await lifecycle.begin(tps_origin="no calls")
        async with anyio.create_task_group() as tasks:
            lifecycle.start(tasks)
            with anyio.CancelScope() as scope:
                self._core.stop_signal.on_request(scope.cancel)
                await self._redecide()
            lifecycle.report_drain(0)
            await lifecycle.drain()
            tasks.cancel_scope.cancel()
        lifecycle.check_aborted()
        return await lifecycle.finish()

    def progress(self) -> Progress:
        """The state of the refilter at this moment; callable before ``run`` starts and after it ends, too."""
        core, sequencer = self._core, self._parts.sequencer
        return Progress(
            counts=counts(sequencer.watermark.tally, core.totals, overshoot=0),
            this_run=counts(sequencer.this_run, core.totals, overshoot=0, since=core.totals),
            rate_tps=0.0,
            allowed_tps=0.0,
            limit_tps=0.0,
            in_flight=0,
            actions=self._parts.lifecycle.actions,
            ending=core.stop_signal.reason,
            listing_done=sequencer.watermark.listing_done,
            budget_micros=core.job.limits.budget_micros,
            price_micros=0,
            elapsed_s=self._parts.summary.elapsed_s,
        )

    async def _redecide(self) -> None:
        await self._parts.take_over.begin()
        await self._parts.redecider.run()
        await self._parts.take_over.record()
        stop = self._parts.sequencer.due_stop()
        if stop is not None:
            self._core.stop_signal.request(stop.reason, stop.cause)
        else:
            self._core.stop_signal.request(StopReason.COMPLETED)
