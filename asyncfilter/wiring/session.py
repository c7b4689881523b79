"""What the verbs begin with: the checkpoint, the inputs, an id for the run, and names in the place of references."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import msgspec

from asyncfilter.checkpoint import SqliteCheckpoint, open_checkpoint, open_lookup
from asyncfilter.clock import SystemClock
from asyncfilter.engine.core.backends import DetectorBackend
from asyncfilter.engine.core.run_context import RunContext
from asyncfilter.engine.core.stopping import Interrupt
from asyncfilter.engine.examine.assembly import assemble
from asyncfilter.engine.examine.inputs import Options, RunInputs
from asyncfilter.engine.preview.survey import Known, checkpoint_totals, nothing_known
from asyncfilter.events import Emit, ignore
from asyncfilter.job.fingerprint import identity
from asyncfilter.job.spec import Job, PriceTier
from asyncfilter.model import Progress, Summary
from asyncfilter.policy.forecast import CheckpointTotals, PricingTerms
from asyncfilter.policy.pricing import PriceList
from asyncfilter.policy.reference_labels import resolved
from asyncfilter.ports.checkpoint import Checkpoint
from asyncfilter.ports.examine import Sink
from asyncfilter.wiring.inputs import open_inputs
from asyncfilter.wiring.overrides import Overrides, new_run_id
from asyncfilter.wiring.references import Ready, resolve

OnStart = Callable[[Callable[[], Progress]], None]
"""Given a function that tells the progress, once there is any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRun:
    """A run that can begin.

    Attributes:
        ready: The job with its rules in names, and the checkpoint that knows its references; or how the run ended
            before it began.
        stored: The checkpoint as it was opened.
        inputs: Source and detector.
        sink: Carries out actions.
        context: Id, clock and interrupt of the run.
    """

    ready: Ready
    stored: Checkpoint
    inputs: RunInputs
    sink: Sink
    context: RunContext

    async def examine(
        self, options: Options, *, inputs: RunInputs | None = None, checkpoint: Checkpoint | None = None
    ) -> Summary:
        """Run to the end, unless the run has ended already.

        Args:
            options: What the user asks.
            inputs: Others than the run's own.
            checkpoint: A view to work on in place of the checkpoint.
        """
        if self.ready.ended is not None:
            return self.ready.ended
        pipeline = assemble(
            self.ready.job,
            context=msgspec.structs.replace(self.context, emit=self.ready.emit),
            checkpoint=checkpoint or self.ready.checkpoint,
            since=self.stored.opened.totals,
            sink=self.sink,
            inputs=inputs or self.inputs,
            options=options,
        )
        if self.context.on_start is not None:
            self.context.on_start(pipeline.progress)
        return await pipeline.run()


@asynccontextmanager
async def open_run(
    job: Job,
    overrides: Overrides,
    *,
    interrupt: Interrupt | None = None,
    on_event: Emit = ignore,
    on_start: OnStart | None = None,
) -> AsyncIterator[OpenRun]:
    """Open what a run needs, and pay for those references in its rules that are not known yet.

    Arguments are those of ``run``.

    Raises:
        CheckpointError: The checkpoint cannot be used.
        UsageError: A reference cannot be examined.
        AccessError: The job cannot work.
    """
    async with AsyncExitStack() as stack:
        checkpoint = await existing_checkpoint(job, overrides, stack)
        inputs, sink = await stack.enter_async_context(open_inputs(job, overrides))
        checkpoint = checkpoint or await sqlite(job, stack)
        context = new_context(overrides, interrupt=interrupt, on_event=on_event, on_start=on_start)
        ready = await resolve(job, checkpoint, inputs, overrides, context)
        yield OpenRun(ready=ready, stored=checkpoint, inputs=inputs, sink=sink, context=context)


def new_context(
    overrides: Overrides,
    *,
    interrupt: Interrupt | None = None,
    on_event: Emit = ignore,
    on_start: OnStart | None = None,
) -> RunContext:
    """An id of its own for a run, with its clock, its listener and the user's wish to leave."""
    return RunContext(
        run_id=new_run_id(),
        emit=on_event,
        clock=overrides.clock or SystemClock(),
        interrupt=interrupt,
        on_start=on_start,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """A job that is looked at before it is run.

    Attributes:
        inputs: Source and detector; a model need not be running.
        checkpoint_totals: What the checkpoint holds.
        known: Asks the checkpoint about keys.
        terms: Prices and rate.
    """

    inputs: RunInputs
    checkpoint_totals: CheckpointTotals
    known: Known
    terms: PricingTerms


@asynccontextmanager
async def open_preview(job: Job, overrides: Overrides) -> AsyncIterator[Preview]:
    """Open what tells of a job without a run; the checkpoint is neither held nor changed.

    Raises:
        CheckpointError: There is a checkpoint that this job cannot use.
        AccessError: The job cannot work.
    """
    async with AsyncExitStack() as stack:
        checkpoint_totals, known = await _checkpoint_totals(job, overrides, stack)
        inputs, _ = await stack.enter_async_context(open_inputs(job, overrides, pays=False))
        yield Preview(
            inputs=inputs,
            checkpoint_totals=checkpoint_totals,
            known=known,
            terms=_terms(job, inputs.primary, checkpoint_totals),
        )


async def _checkpoint_totals(job: Job, overrides: Overrides, stack: AsyncExitStack) -> tuple[CheckpointTotals, Known]:
    if overrides.checkpoint is not None:
        opened = overrides.checkpoint.opened
        return checkpoint_totals(opened.totals, opened.watermark.tally), overrides.checkpoint.by_keys
    if not job.checkpoint.exists():
        return CheckpointTotals(), nothing_known
    lookup = await stack.enter_async_context(open_lookup(job.checkpoint, identity(job)))
    return checkpoint_totals(lookup.status.totals, lookup.status.watermark.tally), lookup.by_keys


def _terms(job: Job, backend: DetectorBackend, checkpoint_totals: CheckpointTotals) -> PricingTerms:
    free = PriceList(tiers=(PriceTier(up_to=None, micros=0),), source="a detector of your own")
    return PricingTerms(
        prices=backend.prices or free,
        used=job.pricing.used_this_month + checkpoint_totals.billed_calls,
        hourly_micros=backend.hourly_micros,
        limit_tps=backend.limit_tps,
        tps_origin=backend.tps_origin,
    )


# -- The checkpoint ----------------------------------------------------------------------------------------------------


async def existing_checkpoint(job: Job, overrides: Overrides, stack: AsyncExitStack) -> Checkpoint | None:
    """An existing checkpoint is opened before anything else, a new one only once the job is known to work."""
    if overrides.checkpoint is not None:
        return overrides.checkpoint
    return await sqlite(job, stack) if job.checkpoint.exists() else None


async def sqlite(job: Job, stack: AsyncExitStack) -> SqliteCheckpoint:
    """The job's checkpoint file, made where there is none, held until ``stack`` ends.

    Raises:
        CheckpointError: It cannot be used.
    """
    checkpoint = await open_checkpoint(job.checkpoint, identity=identity(job), name=job.name)
    return await stack.enter_async_context(checkpoint)


async def with_known_references(job: Job, checkpoint: Checkpoint) -> Job:
    """The job with names in the place of its references, as the checkpoint knows them; nothing is paid for."""
    return resolved(job, {known.uri: known.detection for known in await checkpoint.references()})
