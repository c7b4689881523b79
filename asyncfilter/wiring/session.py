"""What the verbs open first: the checkpoint, the inputs, the context of the run, and label names for references."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from random import Random

import msgspec

from asyncfilter.checkpoint import SqliteCheckpoint, checkpoint_exists, open_checkpoint, open_lookup
from asyncfilter.clock import Clock, SystemClock
from asyncfilter.engine.core.backends import DetectorBackend
from asyncfilter.engine.core.run_context import RunContext
from asyncfilter.engine.core.stopping import Interrupt
from asyncfilter.engine.core.stored_names import stored_names
from asyncfilter.engine.examine.assembly import assemble
from asyncfilter.engine.examine.inputs import Options, RunInputs
from asyncfilter.engine.preview.survey import Known, checkpoint_totals, nothing_known
from asyncfilter.events import Emit, ThresholdsAssumed, after_start, ignore
from asyncfilter.fleet.left_ray import LEFT_RAY, is_left
from asyncfilter.job.fingerprint import identity
from asyncfilter.job.spec import Job, PriceTier, TargetCheck
from asyncfilter.model import AnswersState, Progress, Summary
from asyncfilter.policy.assumed import thresholds_in, with_stored_thresholds, with_thresholds
from asyncfilter.policy.billing_month import period_at, use_in
from asyncfilter.policy.cautions.at_start import AtStart, start_warnings, stop_at_start
from asyncfilter.policy.cautions.label_names import KnownNames, ignored_name_findings, name_findings
from asyncfilter.policy.detectors import PROFILES
from asyncfilter.policy.forecast import CheckpointTotals, PricingTerms
from asyncfilter.policy.job_warnings import job_warnings
from asyncfilter.policy.pricing import PriceList
from asyncfilter.policy.reference_labels import resolved
from asyncfilter.policy.units import GUESSED_UNIT_TPS, UnitTerms
from asyncfilter.ports.checkpoint import Checkpoint
from asyncfilter.ports.examine import Sink
from asyncfilter.ports.keeping import KeptState
from asyncfilter.records.answers import TakenOver
from asyncfilter.records.known_model import NOTHING_KNOWN, KnownModel
from asyncfilter.wiring.inputs import open_inputs
from asyncfilter.wiring.known_answers import known_answers
from asyncfilter.wiring.known_model import keep, known_model
from asyncfilter.wiring.lane_terms import lane_prices, sum_tps
from asyncfilter.wiring.lists import in_preview_order
from asyncfilter.wiring.located import with_bucket
from asyncfilter.wiring.model_memory import ModelMemory
from asyncfilter.wiring.model_use import ModelUse
from asyncfilter.wiring.overrides import Overrides, new_run_id
from asyncfilter.wiring.references import Ready, resolve

OnStart = Callable[[Callable[[], Progress]], None]
"""Called once, when there is progress, with a function that returns it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRun:
    """A run that can begin.

    Attributes:
        ready: The job with label names in place of references, and the checkpoint with these references; or the
            summary of a run that ended before it began.
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
            options: The options of the user.
            inputs: Inputs to use in place of the run's own.
            checkpoint: A view to use in place of the checkpoint.
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
    fresh: bool = False,
    replaced_uid: str | None = None,
) -> AsyncIterator[OpenRun]:
    """Open what a run needs, and pay for those references in its rules whose labels are not stored yet.

    Arguments are those of ``run``; ``fresh`` concerns a state in S3 alone. ``replaced_uid`` is that of ``RunContext``.

    Raises:
        CheckpointError: The checkpoint cannot be used.
        UsageError: A reference cannot be examined.
        AccessError: The job cannot work.
    """
    if job.cluster is not None and overrides.hub is None:
        from asyncfilter.wiring.ray_fleet import check_cluster  # noqa: PLC0415  not needed by most runs

        check_cluster(job, job.cluster)
    async with AsyncExitStack() as stack:
        context = new_context(overrides, interrupt=interrupt, on_event=on_event, on_start=on_start)
        context = msgspec.structs.replace(context, replaced_uid=replaced_uid)
        checkpoint = await existing_checkpoint(job, overrides, stack, context, fresh=fresh)
        stored = NOTHING_KNOWN if checkpoint is None else checkpoint.opened.model
        model = await known_model(job, stored, is_own=context.has_own_labels)
        job = with_thresholds(job, model.labels)
        memory = ModelMemory(model)
        use = _model_use(job, checkpoint, context, memory)
        inputs, sink = await stack.enter_async_context(open_inputs(job, overrides, use=use))
        checkpoint = checkpoint or await sqlite(job, stack, context)
        state = kept_state(checkpoint)
        await keep(checkpoint, model, stored)
        memory.keep_in(checkpoint)
        answers = await known_answers(job, checkpoint.opened.answers, overrides, stack)
        emit = _with_thresholds_told(job, context)
        context = msgspec.structs.replace(context, model=model, emit=emit, answers=answers, state=state)
        stored_checkpoint, home = checkpoint, inputs
        if use is not None and (overrides.hub is not None or job.cluster is not None):
            from asyncfilter.wiring.fleet import with_fleet  # noqa: PLC0415  not needed by most runs
            from asyncfilter.wiring.own_scores import with_decided_scores  # noqa: PLC0415  likewise

            sent = await with_decided_scores(job, inputs, memory)
            fleet = await stack.enter_async_context(with_fleet(sent, overrides, inputs, checkpoint, context))
            inputs, checkpoint, context = fleet.inputs, fleet.checkpoint, fleet.context
        elif use is not None and is_left(job.checkpoint):
            inputs = msgspec.structs.replace(inputs, cautions=(*inputs.cautions, LEFT_RAY))
        if state is not None:
            from asyncfilter.wiring.owned_ports import paid_while_owned  # noqa: PLC0415  not needed by most runs

            inputs, home = paid_while_owned(inputs, state), paid_while_owned(home, state)
        # Reference images are few, and may be of any place: they are examined here.
        ready = await resolve(job, checkpoint, home, overrides, context)
        if ignored := await _ignored_names(job, checkpoint, is_own=context.has_own_labels):
            inputs = msgspec.structs.replace(inputs, cautions=(*inputs.cautions, *ignored))
        yield OpenRun(ready=ready, stored=stored_checkpoint, inputs=inputs, sink=sink, context=context)


def _with_thresholds_told(job: Job, context: RunContext) -> Emit:
    thresholds = thresholds_in(job)
    if not thresholds:
        return context.emit
    told = ThresholdsAssumed(at_unix_s=context.clock.unix(), thresholds=dict(sorted(thresholds.items())))
    return after_start(context.emit, [told])


def _model_use(job: Job, checkpoint: Checkpoint | None, context: RunContext, memory: ModelMemory) -> ModelUse | None:
    """What needs the job's model to run; None when a stop rule still holds, so that nothing will be examined."""
    opened = None if checkpoint is None else checkpoint.opened
    if opened is not None and stop_at_start(job, opened.watermark.tally, opened.decided_by) is not None:
        return None
    spent_micros = 0 if opened is None else opened.totals.spent_micros
    return ModelUse(
        run_id=context.run_id, clock=context.clock, emit=context.emit, spent_micros=spent_micros, memory=memory
    )


async def _ignored_names(job: Job, checkpoint: Checkpoint, *, is_own: bool) -> tuple[str, ...]:
    """Cautions about the names that references must not use; the checkpoint is read only when one is in doubt."""
    if not ignored_name_findings(job, KnownNames(is_own=is_own)):
        return ()
    known = await stored_names(checkpoint, job, answers=0, is_own=is_own)
    return tuple(ignored_name_findings(job, known).values())


def new_context(
    overrides: Overrides,
    *,
    interrupt: Interrupt | None = None,
    on_event: Emit = ignore,
    on_start: OnStart | None = None,
) -> RunContext:
    """The context of a new run: a new id, and its clock, listener and interrupt."""
    return RunContext(
        run_id=new_run_id(),
        emit=on_event,
        clock=overrides.clock or SystemClock(),
        rng=overrides.rng or Random(),
        interrupt=interrupt,
        on_start=on_start,
        has_own_labels=overrides.detector is not None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """A job opened for a preview, before its run.

    Attributes:
        inputs: Source and detector; a model need not be running.
        checkpoint_totals: Totals of the checkpoint.
        known: Returns the stored images of keys.
        terms: Prices and rate.
        cautions: What is probably a mistake in the job, one sentence each.
        name_cautions: Likewise, about the names in its rules; answers may refute these.
        model: What is known about the detector's model.
        thresholds_pct: What ``confidence: assumed`` stands for in the rules, by label.
        answers: The answers file, and how far the checkpoint follows it; None where there is no file.
    """

    inputs: RunInputs
    checkpoint_totals: CheckpointTotals
    known: Known
    terms: PricingTerms
    cautions: tuple[str, ...]
    name_cautions: tuple[str, ...]
    model: KnownModel
    thresholds_pct: Mapping[str, float]
    answers: AnswersState | None


@asynccontextmanager
async def open_preview(job: Job, overrides: Overrides) -> AsyncIterator[Preview]:
    """Open what a preview of a job needs; the checkpoint is neither locked nor changed.

    Raises:
        CheckpointError: The existing checkpoint cannot be used by this job.
        AccessError: The job cannot work.
    """
    job = await with_bucket(job, has_own_detector=overrides.detector is not None)
    async with AsyncExitStack() as stack:
        model = await known_model(job, await _stored_model(job, overrides), is_own=overrides.detector is not None)
        job = with_thresholds(job, model.labels)
        checkpoint_totals, known, names, taken = await _checkpoint_totals(job, overrides, stack)
        answers = await known_answers(job, taken, overrides, stack)
        names = msgspec.structs.replace(names, model=model)
        inputs, _ = await stack.enter_async_context(open_inputs(job, overrides))
        inputs = await in_preview_order(job.source, inputs, stack) if inputs.origin else inputs
        terms = _terms(job, inputs.backends, checkpoint_totals, model, overrides.clock or SystemClock())
        yield Preview(
            inputs=inputs,
            checkpoint_totals=checkpoint_totals,
            known=known,
            terms=terms,
            cautions=_cautions(job, inputs, checkpoint_totals, terms),
            name_cautions=tuple(name_findings(job, names).values()),
            model=model,
            thresholds_pct=thresholds_in(job),
            answers=await answers.state(),
        )


async def _stored_model(job: Job, overrides: Overrides) -> KnownModel:
    if overrides.checkpoint is not None:
        return overrides.checkpoint.opened.model
    if not PROFILES[job.detector.kind].needs_model or not checkpoint_exists(job.checkpoint):
        return NOTHING_KNOWN
    async with open_lookup(job.checkpoint, identity(job)) as lookup:
        return lookup.status.model


async def _checkpoint_totals(
    job: Job, overrides: Overrides, stack: AsyncExitStack
) -> tuple[CheckpointTotals, Known, KnownNames, TakenOver | None]:
    is_own = overrides.detector is not None
    if overrides.checkpoint is not None:
        store, opened = overrides.checkpoint, overrides.checkpoint.opened
        tally = opened.watermark.tally
        stop = stop_at_start(job, tally, opened.decided_by)
        names = await stored_names(store, job, answers=tally.judged, is_own=is_own)
        found = checkpoint_totals(opened.totals, tally, stop, images=opened.next_id - 1)
        return found, store.by_keys, names, opened.answers
    if not checkpoint_exists(job.checkpoint):
        return CheckpointTotals(), nothing_known, KnownNames(is_own=is_own), None
    lookup = await stack.enter_async_context(open_lookup(job.checkpoint, identity(job)))
    totals, tally = lookup.status.totals, lookup.status.watermark.tally
    stop = stop_at_start(job, tally, lookup.status.decided_by)
    names = await stored_names(lookup, job, answers=lookup.status.answers, is_own=is_own)
    images = lookup.status.positioned + lookup.status.cached
    found = checkpoint_totals(totals, tally, stop, images=images)
    return found, lookup.by_keys, names, lookup.status.taken_over


def _terms(
    job: Job,
    backends: Sequence[DetectorBackend],
    checkpoint_totals: CheckpointTotals,
    model: KnownModel,
    clock: Clock,
) -> PricingTerms:
    backend = backends[0]
    now_s = clock.unix()
    period = period_at(now_s)
    use = use_in(period.month, checkpoint_totals.month_use, job.pricing.used_this_month)
    free = PriceList(tiers=(PriceTier(up_to=None, micros=0),), source="a detector of your own")
    unit = _unit_terms(job, backend, model)
    limit_tps, tps_origin = backend.limit_tps, backend.tps_origin
    if unit is not None and unit.present_tps is not None and unit.present_tps != limit_tps:
        limit_tps, tps_origin = unit.present_tps, unit.described
    lanes = lane_prices(backends, checkpoint_totals.lanes, period, free)
    if lanes:
        dearest = max(lanes, key=lambda lane: lane.next_micros)
        return PricingTerms(
            prices=dearest.prices,
            used=dearest.used,
            month_left_s=period.month_ends_s - now_s,
            old_used=tuple(lane.name for lane in lanes if lane.is_used_old),
            hourly_micros=0,
            limit_tps=sum_tps(lanes),
            tps_origin="; ".join(dict.fromkeys(lane.origin for lane in lanes)),
            lanes=lanes,
        )
    return PricingTerms(
        prices=backend.prices or free,
        # The last minutes of a month cost what the first images of the next one cost.
        used=0 if period.is_ending else use.billed,
        month_left_s=period.month_ends_s - now_s,
        old_used=("",) if use.has_old_used else (),
        hourly_micros=backend.hourly_micros,
        limit_tps=limit_tps,
        tps_origin=tps_origin,
        unit=unit,
    )


def _unit_terms(job: Job, backend: DetectorBackend, model: KnownModel) -> UnitTerms | None:
    """What the units of the job's model do; None for detectors without one."""
    if not PROFILES[job.detector.kind].needs_model or backend.prices is None or not backend.region:
        return None
    return UnitTerms(
        unit_tps=model.unit_tps or GUESSED_UNIT_TPS,
        is_measured=model.unit_tps is not None,
        hour_micros=backend.prices.unit_hour_micros,
        units=backend.units or None,
        limit_tps=backend.limit_tps,
        wanted_tps=None if job.limits.tps is None else backend.limit_tps,
    )


def _cautions(job: Job, inputs: RunInputs, checkpoint_totals: CheckpointTotals, terms: PricingTerms) -> tuple[str, ...]:
    """What a run would say about the job when it begins."""
    start = AtStart(
        price_micros=terms.prices.price_micros(terms.used + 1),
        spent_micros=checkpoint_totals.spent_micros,
        limit_tps=terms.limit_tps,
        is_service=bool(inputs.primary.region),
        stop=checkpoint_totals.stop,
        old_used=terms.old_used,
        of_places=inputs.cautions,
    )
    return (*job_warnings(job), *start_warnings(job, start))


def without_writes(job: Job, *, dry_run: bool) -> Job:
    """The job for a run that may write nothing: its targets are not written to for their check."""
    if dry_run and job.check_targets is TargetCheck.WRITE:
        return dataclasses.replace(job, check_targets=TargetCheck.POLICY)
    return job


# -- The checkpoint ----------------------------------------------------------------------------------------------------


async def existing_checkpoint(
    job: Job, overrides: Overrides, stack: AsyncExitStack, context: RunContext, *, fresh: bool = False
) -> Checkpoint | None:
    """The checkpoint, opened, or None when there is none yet: a new one is made only once the job is known to work.

    Args:
        job: Its state in S3, if it has one, is owned until ``stack`` is closed.
        overrides: Its checkpoint, if it has one, is the result.
        stack: Closes it.
        context: Of the command.
        fresh: Begin a new state, and a new file, in place of those that are there.
    """
    if overrides.checkpoint is not None:
        return overrides.checkpoint
    # A model costs money from its start on: a state that cannot be owned is refused before.
    is_needed = job.state is not None and PROFILES[job.detector.kind].needs_model
    return await sqlite(job, stack, context, fresh=fresh) if is_needed or await has_checkpoint(job) else None


async def has_checkpoint(job: Job) -> bool:
    """Whether there is a checkpoint to go on with: a file on this machine, or a state in S3."""
    if job.state is None or checkpoint_exists(job.checkpoint):
        return checkpoint_exists(job.checkpoint)
    from asyncfilter.wiring.owned_state import has_state  # noqa: PLC0415  not needed by most runs

    return await has_state(job)


async def sqlite(
    job: Job, stack: AsyncExitStack, context: RunContext | None = None, *, fresh: bool = False
) -> SqliteCheckpoint:
    """The job's checkpoint file, created where there is none, and open until ``stack`` is closed.

    With the ``context`` of a command, the job's state in S3 is owned, if it has one; ``fresh`` begins a new one.

    Raises:
        CheckpointError: The file cannot be used.
    """
    if context is not None and job.state is not None:
        from asyncfilter.wiring.owned_state import open_owned  # noqa: PLC0415  not needed by most runs

        return await open_owned(job, context, stack, is_fresh=fresh)
    checkpoint = await open_checkpoint(job.checkpoint, identity=identity(job), name=job.name)
    return await stack.enter_async_context(checkpoint)


def kept_state(checkpoint: Checkpoint) -> KeptState | None:
    """The state in S3 that a checkpoint is shipped to; None without one."""
    return checkpoint.kept if isinstance(checkpoint, SqliteCheckpoint) else None


async def with_known_references(job: Job, checkpoint: Checkpoint) -> Job:
    """The job with the thresholds of its model and label names in place of its references, as stored in the checkpoint.

    No service is called.
    """
    job = with_stored_thresholds(job, checkpoint.opened.model)
    return resolved(job, {known.uri: known.detection for known in await checkpoint.references()})
