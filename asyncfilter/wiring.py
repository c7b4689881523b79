"""From a job to a running engine: the only module that names concrete classes.

``run`` and ``refilter`` are the program's two verbs, for the command line and for other programs alike.
"""

from __future__ import annotations

import dataclasses
import math
import resource
import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec

from asyncfilter.aws import (
    describe_model,
    open_aws,
    open_detector,
    open_ports,
    open_references,
    open_remover,
    quota_tps,
)
from asyncfilter.aws.rekognition import RekognitionDetector
from asyncfilter.aws.session import AwsSession
from asyncfilter.checkpoint import SqliteCheckpoint, open_checkpoint, open_lookup, set_aside
from asyncfilter.clock import Clock, SystemClock
from asyncfilter.datasets.folder import FolderContents, FolderRemover, FolderSink, FolderSource, check_folder
from asyncfilter.datasets.preparing import Preparer
from asyncfilter.engine.applying import Apply
from asyncfilter.engine.ending import Interrupt
from asyncfilter.engine.gauge import Gauge
from asyncfilter.engine.pipeline import Pipeline
from asyncfilter.engine.references import Errand, examine
from asyncfilter.engine.removal import AT_ONCE
from asyncfilter.engine.removing import RemovalErrand, carry_out
from asyncfilter.engine.sampling import REFERENCE_STORE, ChosenSource, sampling_job, store_job, trial_job
from asyncfilter.engine.shuffle import ShuffledSource
from asyncfilter.engine.supervisor import HOURLY_BLOCK_S
from asyncfilter.engine.survey import Known, Surveyor, nothing_known, what_is_held
from asyncfilter.engine.timing import run_for
from asyncfilter.engine.undoing import Undo
from asyncfilter.engine.views import SampleView
from asyncfilter.engine.way import Options, Way, no_way
from asyncfilter.errors import AccessError, AsyncFilterError, CheckpointError, UsageError
from asyncfilter.events import Emit, LikeResolved, after_start, ignore
from asyncfilter.job.fingerprint import identity
from asyncfilter.job.spec import Aws, DetectorKind, Job, Limits, Order, Precheck, PriceTier
from asyncfilter.model import ListedObject, Progress, StopReason, Summary
from asyncfilter.policy.acceptance import MAX_CONVERTED_BYTES, limits_of
from asyncfilter.policy.admission import MAX_OBJECT_BYTES, free_check
from asyncfilter.policy.capacity import (
    BEYOND,
    TRIAL_S,
    Measurement,
    Trial,
    allowance_micros,
    capacity,
    price_micros,
    rounded_up,
)
from asyncfilter.policy.drawing import Draw, Ranking
from asyncfilter.policy.estimate import Held, Outlook, Prospect, Terms, outlook
from asyncfilter.policy.globs import KeyFilter
from asyncfilter.policy.pricing import PriceList, price_list
from asyncfilter.policy.quota import QuotaAnswer
from asyncfilter.policy.references import Labelled, names_of, references_of, resolved
from asyncfilter.policy.removal import Consent, RemovalPlan, RemovalSummary
from asyncfilter.ports import (
    Checkpoint,
    Contents,
    Detector,
    Preparation,
    Reference,
    References,
    Remover,
    Sink,
    Source,
)

MOST_IN_FLIGHT = 4096
"""Calls in flight at the most when ``limits.concurrency`` is auto."""

LEAST_IN_FLIGHT = 32

SPARE_FILES = 128
"""File descriptors left for everything but connections to the detector."""


class World(msgspec.Struct, frozen=True, kw_only=True):
    """Ports that take the place of AWS and the checkpoint file; None means the real one.

    A detector of your own costs what ``pricing.tiers`` of the job says, or nothing, and may be called as fast as
    ``limits.tps`` allows, or without limit. A clock of your own is for tests.
    """

    source: Source | None = None
    detector: Detector | None = None
    sink: Sink | None = None
    remover: Remover | None = None
    checkpoint: Checkpoint | None = None
    references: References | None = None
    preparation: Preparation | None = None
    clock: Clock | None = None


async def run(
    job: Job,
    *,
    fresh: bool = False,
    dry_run: bool = False,
    retry_failed: bool = False,
    counts_ahead: bool = False,
    world: World | None = None,
    interrupt: Interrupt | None = None,
    on_event: Emit = ignore,
    on_start: Callable[[Callable[[], Progress]], None] | None = None,
) -> Summary:
    """Run a job, or resume it when its checkpoint exists.

    Args:
        job: From ``load_job`` or ``parse_job``.
        fresh: Move an existing checkpoint aside (it is never deleted) and start anew.
        dry_run: Pay for labels and keep them, but write nothing to S3.
        retry_failed: Try failed images again first.
        counts_ahead: Count the listing while the run goes on, so that its progress tells how much is left.
        world: Your own source, detector, sink or checkpoint.
        interrupt: ``request`` it once to drain, twice to abort.
        on_event: Told of everything that happens, in the event loop: return quickly.
        on_start: Given a function that tells the progress, once there is any.

    Returns:
        The summary. A run that ended for a reason of its own (limits, stop rules, breaker, denied access in the
        middle) says so in ``stop_reason``, ``error`` and ``exit_code`` instead of raising.

    Raises:
        CheckpointError: The checkpoint cannot be used.
        AccessError: The job cannot start: credentials, permission, bucket or region.
        AbortedError: ``interrupt`` was requested twice.
    """
    world = world or World()
    if fresh and job.checkpoint.exists():
        set_aside(job.checkpoint)
    async with AsyncExitStack() as stack:
        checkpoint = await _existing_checkpoint(job, world, stack)
        way, sink = await stack.enter_async_context(_open_way(job, world))
        checkpoint = checkpoint or await _sqlite(job, stack)
        if job.source.order is Order.RANDOM:
            shuffled = ShuffledSource(way.source, checkpoint, job.source.seed)
            way = msgspec.structs.replace(way, source=shuffled)
        run_id = _new_run_id()
        errand = Errand(
            run_id=run_id,
            emit=on_event,
            clock=world.clock or SystemClock(),
            interrupt=interrupt,
            on_start=on_start,
        )
        ready = await _resolve(job, checkpoint, way, world, errand)
        if ready.ended is not None:
            return ready.ended
        pipeline = Pipeline(
            ready.job,
            run_id=run_id,
            checkpoint=ready.checkpoint,
            since=checkpoint.opened.totals,
            sink=sink,
            way=way,
            options=Options(dry_run=dry_run, retry_failed=retry_failed, counts_ahead=counts_ahead),
            interrupt=interrupt,
            emit=ready.emit,
            clock=world.clock,
        )
        if on_start is not None:
            on_start(pipeline.progress)
        return await pipeline.run()


async def refilter(
    job: Job,
    *,
    dry_run: bool = False,
    world: World | None = None,
    interrupt: Interrupt | None = None,
    on_event: Emit = ignore,
    on_start: Callable[[Callable[[], Progress]], None] | None = None,
) -> Summary:
    """Apply the job's rules and actions to the stored labels; the detector cannot be called.

    Arguments, result and errors are those of ``run``; a dry run changes neither S3 nor the checkpoint.

    Raises:
        CheckpointError: There is none yet, or it cannot be used.
    """
    world = world or World()
    if world.checkpoint is None and not job.checkpoint.exists():
        raise CheckpointError(
            f"{job.checkpoint}: there is no checkpoint to take labels from",
            hint=f"Run the job first: asyncfilter run {job.path or 'JOB'}",
        )
    async with AsyncExitStack() as stack:
        checkpoint = world.checkpoint or await _sqlite(job, stack)
        job = resolved(job, {known.uri: known.detection for known in await checkpoint.references()})
        sink = world.sink if world.sink is not None else await stack.enter_async_context(_sink(job))
        pipeline = Pipeline(
            job,
            run_id=_new_run_id(),
            checkpoint=checkpoint,
            sink=sink,
            way=no_way(),
            options=Options(dry_run=dry_run, stored_only=True),
            interrupt=interrupt,
            emit=on_event,
            clock=world.clock,
        )
        if on_start is not None:
            on_start(pipeline.progress)
        return await pipeline.run()


# -- Planning ----------------------------------------------------------------------------------------------------------


async def plan(
    job: Job,
    *,
    sample: int = 0,
    world: World | None = None,
    interrupt: Interrupt | None = None,
    on_event: Emit = ignore,
) -> Outlook:
    """What a job would come to: what is listed and skipped, and a forecast of cost and time.

    Without a sample nothing is paid and nothing is written. ``sample`` images drawn at random are paid for within the
    budget and kept in the checkpoint, so that the job's own run has them for nothing.

    Arguments and errors are those of ``run``.
    """
    prospect = await survey(job, sample=sample, world=world)
    if not prospect.survey.drawn:
        return outlook(job, prospect)
    drawn = prospect.survey.drawn
    return outlook(job, prospect, await examine_sample(job, drawn, world=world, interrupt=interrupt, on_event=on_event))


async def survey(
    job: Job, *, sample: int = 0, world: World | None = None, on_listed: Callable[[int], None] | None = None
) -> Prospect:
    """The free half of ``plan``: the whole listing, and ``sample`` images drawn from it by ``source.seed``.

    Args:
        job: From ``load_job`` or ``parse_job``.
        sample: Images to draw.
        world: Your own source or checkpoint.
        on_listed: Told after every page how many objects were listed.

    Raises:
        CheckpointError: There is a checkpoint that this job cannot use.
        AccessError: The source cannot be listed.
    """
    world = world or World()
    async with AsyncExitStack() as stack:
        held, known = await _held(job, world, stack)
        way, _ = await stack.enter_async_context(_open_way(job, world, pays=False))
        surveyor = Surveyor(
            source=way.source,
            check=way.check,
            known=known,
            max_attempts=job.limits.max_attempts,
            clock=world.clock or SystemClock(),
            draw=Draw(sample, Ranking(job.source.seed)),
            tell=on_listed,
        )
        return Prospect(survey=await surveyor.run(), held=held, terms=_terms(job, way, held))


async def examine_sample(
    job: Job,
    drawn: Sequence[ListedObject],
    *,
    world: World | None = None,
    interrupt: Interrupt | None = None,
    on_event: Emit = ignore,
    on_start: Callable[[Callable[[], Progress]], None] | None = None,
) -> Summary:
    """The paid half of ``plan``: examine ``drawn`` in its order and keep the labels.

    Returns:
        The summary; ``this_run`` counts the sample alone, images whose labels were known among it.

    Raises:
        As ``run``.
    """
    return await _examine_ahead(
        sampling_job(job),
        lambda way: msgspec.structs.replace(way, source=ChosenSource(drawn)),
        world=world or World(),
        interrupt=interrupt,
        on_event=on_event,
        on_start=on_start,
    )


async def _examine_ahead(
    job: Job,
    by: Callable[[Way], Way],
    *,
    goes_on: bool = False,
    world: World,
    interrupt: Interrupt | None,
    on_event: Emit,
    on_start: Callable[[Callable[[], Progress]], None] | None,
) -> Summary:
    """A dry run ahead of the job's own, by another way; its labels are kept, and nothing else of it stays.

    The job is given as it is examined, and ``by`` makes the way to take of the job's own. With ``goes_on`` the listing
    begins where the job's has come to. Other arguments and errors are those of ``run``.
    """
    async with AsyncExitStack() as stack:
        checkpoint = await _existing_checkpoint(job, world, stack)
        way, sink = await stack.enter_async_context(_open_way(job, world))
        checkpoint = checkpoint or await _sqlite(job, stack)
        run_id = _new_run_id()
        errand = Errand(
            run_id=run_id,
            emit=on_event,
            clock=world.clock or SystemClock(),
            interrupt=interrupt,
            on_start=on_start,
        )
        ready = await _resolve(job, checkpoint, way, world, errand)
        if ready.ended is not None:
            return ready.ended
        pipeline = Pipeline(
            ready.job,
            run_id=run_id,
            checkpoint=SampleView(ready.checkpoint, ready.job, goes_on=goes_on).as_checkpoint(),
            since=checkpoint.opened.totals,
            sink=sink,
            way=by(way),
            options=Options(dry_run=True),
            interrupt=interrupt,
            emit=ready.emit,
            clock=world.clock,
        )
        if on_start is not None:
            on_start(pipeline.progress)
        return await pipeline.run()


async def _held(job: Job, world: World, stack: AsyncExitStack) -> tuple[Held, Known]:
    """What the checkpoint holds, and how to ask it about keys; it is neither held nor changed."""
    if world.checkpoint is not None:
        opened = world.checkpoint.opened
        return what_is_held(opened.totals, opened.watermark.tally), world.checkpoint.by_keys
    if not job.checkpoint.exists():
        return Held(), nothing_known
    lookup = await stack.enter_async_context(open_lookup(job.checkpoint, identity(job)))
    return what_is_held(lookup.status.totals, lookup.status.watermark.tally), lookup.by_keys


def _terms(job: Job, way: Way, held: Held) -> Terms:
    free = PriceList(tiers=(PriceTier(up_to=None, micros=0),), source="a detector of your own")
    return Terms(
        prices=way.prices or free,
        used=job.pricing.used_this_month + held.billed_calls,
        hourly_micros=way.hourly_micros,
        limit_tps=way.limit_tps,
        tps_origin=way.tps_origin,
    )


# -- References --------------------------------------------------------------------------------------------------------


async def label_references(
    uris: Sequence[str],
    *,
    store: Path | None = None,
    aws: Aws | None = None,
    world: World | None = None,
    interrupt: Interrupt | None = None,
) -> Labelled:
    """Have Rekognition look at reference images; what was paid for is kept, and never paid for again.

    Args:
        uris: ``s3://bucket/key``, or paths of files, which are sent.
        store: The SQLite file they are kept in: ``references.db`` beside a job's checkpoint serves the job too. By
            default the one in ``.asyncfilter`` of the working folder.
        aws: How AWS is reached.
        world: References, checkpoint or clock of your own.
        interrupt: ``request`` it to leave.

    Raises:
        UsageError: An image cannot be examined, or no region is known to send files to.
        CheckpointError: The store cannot be used.
        AccessError: AWS cannot be reached, or refuses.
    """
    world, uris = world or World(), list(dict.fromkeys(uris))
    job = store_job(store or Path(".asyncfilter") / REFERENCE_STORE, aws or Aws())
    errand = Errand(run_id=_new_run_id(), emit=ignore, clock=world.clock or SystemClock(), interrupt=interrupt)
    async with AsyncExitStack() as stack:
        references, way = await stack.enter_async_context(_open_references(job, uris, world))
        checkpoint = world.checkpoint or await _sqlite(job, stack)
        found = await examine(
            job, uris, references=references, checkpoint=checkpoint, elsewhere=(), way=way, errand=errand
        )
        if found.ended is not None:
            raise AsyncFilterError(found.ended.error or "interrupted", hint=found.ended.hint)
        return Labelled(labels=dict(found.labels), calls=found.calls, spent_micros=found.spent_micros)


class _Ready(msgspec.Struct, frozen=True, kw_only=True):
    """A job whose rules name labels only, with the checkpoint and the listener of its run; or how it ended before."""

    job: Job
    checkpoint: Checkpoint
    emit: Emit
    ended: Summary | None = None


async def _resolve(job: Job, checkpoint: Checkpoint, way: Way, world: World, errand: Errand) -> _Ready:
    """Names in the place of the references in the job's rules; what is not known of them is paid for."""
    uris = references_of(job)
    if not uris:
        return _Ready(job=job, checkpoint=checkpoint, emit=errand.emit)
    async with _open_references(job, uris, world) as (references, _):
        beside = await _references_beside(job) if world.references is None else ()
        found = await examine(
            job, uris, references=references, checkpoint=checkpoint, elsewhere=beside, way=way, errand=errand
        )
    if found.ended is not None:
        return _Ready(job=job, checkpoint=found.checkpoint, emit=errand.emit, ended=found.ended)
    told = [
        LikeResolved(
            at_unix_s=errand.clock.unix(),
            rule=index,
            verdict=rule.verdict.value,
            names=names,
            references=those,
            calls=found.calls,
        )
        for index, rule, names, those in names_of(job, found.labels)
    ]
    return _Ready(job=resolved(job, found.labels), checkpoint=found.checkpoint, emit=after_start(errand.emit, told))


@asynccontextmanager
async def _open_references(job: Job, uris: Sequence[str], world: World) -> AsyncIterator[tuple[References, Way]]:
    """What examines references, and at what rate and price where they are all there is."""
    if world.references is not None:
        yield world.references, _own_way(job, ChosenSource(()), world.references, None)
        return
    async with (
        open_aws(job.aws, timeout_s=job.limits.timeout_s, connections=LEAST_IN_FLIGHT) as session,
        open_references(uris, session=session, aws=job.aws, spec=job.detector) as references,
    ):
        region = references.region
        yield (
            references,
            await _aws_way(job, session, ChosenSource(()), references, region=region, preparation=None, pays=False),
        )


async def _references_beside(job: Job) -> Sequence[Reference]:
    """What ``asyncfilter labels`` paid for beside the job, where it asked what the job asks."""
    store = store_job(job.checkpoint.parent / REFERENCE_STORE, job.aws)
    if not store.checkpoint.exists() or dataclasses.replace(job.detector, region=None) != store.detector:
        return ()
    async with open_lookup(store.checkpoint, identity(store)) as lookup:
        return await lookup.references()


# -- Out of the source, and back ---------------------------------------------------------------------------------------


async def plan_apply(job: Job, *, again: bool = False, world: World | None = None) -> RemovalPlan:
    """What ``apply`` would take out of the source; nothing is changed.

    Args:
        job: Whose decisions.
        again: Propose also images that were brought back under these same decisions.
        world: Your own remover or checkpoint.

    Raises:
        UsageError: The stored decisions are of other rules or actions.
        CheckpointError: There is none, or it cannot be used.
        AccessError: The source cannot be reached.
    """
    async with _open_removal(job, world) as (resolved_job, checkpoint, remover):
        return await Apply(resolved_job, checkpoint, await remover.state(), again=again).plan()


async def apply(
    job: Job,
    consent: Consent,
    *,
    again: bool = False,
    world: World | None = None,
    interrupt: Interrupt | None = None,
    on_event: Emit = ignore,
) -> RemovalSummary:
    """Move and delete what is pending, if that is what was agreed to; goes on where an interrupted one left off.

    Arguments and errors are those of ``plan_apply``; ``interrupt`` and ``on_event`` those of ``run``.

    Raises:
        UsageError: The plan is another one, or too large a share: nothing was done.
        AbortedError: ``interrupt`` was requested twice.
    """
    async with _open_removal(job, world) as (resolved_job, checkpoint, remover):
        verb = Apply(resolved_job, checkpoint, await remover.state(), again=again)
        errand = _removal_errand("apply", world, interrupt, on_event)
        return await carry_out(resolved_job, verb, consent, checkpoint=checkpoint, remover=remover, errand=errand)


async def plan_undo(job: Job, *, world: World | None = None) -> RemovalPlan:
    """What ``undo`` could bring back, and what not; nothing is changed. Raises as ``plan_apply`` does."""
    async with _open_removal(job, world) as (resolved_job, checkpoint, remover):
        return await Undo(resolved_job, checkpoint, await remover.state()).plan()


async def undo(
    job: Job,
    consent: Consent,
    *,
    world: World | None = None,
    interrupt: Interrupt | None = None,
    on_event: Emit = ignore,
) -> RemovalSummary:
    """Bring back what ``apply`` took out of the source, as far as the store can. Otherwise as ``apply``."""
    async with _open_removal(job, world) as (resolved_job, checkpoint, remover):
        verb = Undo(resolved_job, checkpoint, await remover.state())
        errand = _removal_errand("undo", world, interrupt, on_event)
        return await carry_out(resolved_job, verb, consent, checkpoint=checkpoint, remover=remover, errand=errand)


def _removal_errand(name: str, world: World | None, interrupt: Interrupt | None, emit: Emit) -> RemovalErrand:
    clock = world.clock if world is not None and world.clock is not None else SystemClock()
    return RemovalErrand(run_id=f"{name}-{_new_run_id()}", interrupt=interrupt or Interrupt(), emit=emit, clock=clock)


@asynccontextmanager
async def _open_removal(job: Job, world: World | None) -> AsyncIterator[tuple[Job, Checkpoint, Remover]]:
    """The job with its rules in names, and what it works on; the checkpoint is held first."""
    world = world or World()
    async with AsyncExitStack() as stack:
        checkpoint = await _existing_checkpoint(job, world, stack)
        if checkpoint is None:
            raise CheckpointError(
                f"{job.checkpoint}: there is no checkpoint, so nothing is decided",
                hint=f"Run the job first: asyncfilter run {job.path or 'JOB'}",
            )
        job = resolved(job, {known.uri: known.detection for known in await checkpoint.references()})
        yield job, checkpoint, world.remover or await _remover(job, stack)


async def _remover(job: Job, stack: AsyncExitStack) -> Remover:
    if job.source.folder is not None:
        check_folder(job.source.folder)
        return FolderRemover(job.source.folder)
    connections = LEAST_IN_FLIGHT + AT_ONCE
    session = await stack.enter_async_context(
        open_aws(job.aws, timeout_s=job.limits.timeout_s, connections=connections)
    )
    return await stack.enter_async_context(open_remover(job, session))


# -- The checkpoint ----------------------------------------------------------------------------------------------------


async def _existing_checkpoint(job: Job, world: World, stack: AsyncExitStack) -> Checkpoint | None:
    """An existing checkpoint is opened before anything else, a new one only once the job is known to work."""
    if world.checkpoint is not None:
        return world.checkpoint
    return await _sqlite(job, stack) if job.checkpoint.exists() else None


async def _sqlite(job: Job, stack: AsyncExitStack) -> SqliteCheckpoint:
    checkpoint = await open_checkpoint(job.checkpoint, identity=identity(job), name=job.name)
    return await stack.enter_async_context(checkpoint)


# -- The way in --------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def _open_way(job: Job, world: World, *, pays: bool = True) -> AsyncIterator[tuple[Way, Sink]]:
    """The way of a run; with ``pays`` false, of one that only looks, for which a model need not be running."""
    if world.source is not None and world.detector is not None and world.sink is not None:
        yield _own_way(job, world.source, world.detector, world.preparation), world.sink
        return
    if job.source.folder is not None:
        async with _folder_way(job, job.source.folder, world, pays=pays) as opened:
            yield opened
        return
    async with (
        open_aws(job.aws, timeout_s=job.limits.timeout_s, connections=_most_connections()) as session,
        open_ports(job, session) as ports,
    ):
        preparation = world.preparation
        if preparation is None and world.detector is None:
            preparation = _preparation(
                job, ports.contents, ports.detector, by_reference=ports.region == ports.bucket_region
            )
        way = await _aws_way(
            job,
            session,
            world.source or ports.source,
            world.detector or ports.detector,
            region=ports.region,
            preparation=preparation,
            pays=pays,
        )
        yield way, world.sink or ports.sink


@asynccontextmanager
async def _folder_way(job: Job, folder: Path, world: World, *, pays: bool) -> AsyncIterator[tuple[Way, Sink]]:
    """Files are listed, copied and linked here, and sent by their bytes."""
    source, sink = world.source or FolderSource(folder), world.sink or FolderSink(folder)
    check_folder(folder)
    if world.detector is not None:
        yield _own_way(job, source, world.detector, world.preparation), sink
        return
    async with (
        open_aws(job.aws, timeout_s=job.limits.timeout_s, connections=_most_connections()) as session,
        open_detector(job, session) as (detector, region),
    ):
        preparation = world.preparation or _preparation(job, FolderContents(), detector, by_reference=False)
        way = await _aws_way(job, session, source, detector, region=region, preparation=preparation, pays=pays)
        yield way, sink


@asynccontextmanager
async def _sink(job: Job) -> AsyncIterator[Sink]:
    if job.source.folder is not None:
        yield FolderSink(job.source.folder)
        return
    async with (
        open_aws(job.aws, timeout_s=job.limits.timeout_s, connections=_most_connections()) as session,
        open_ports(job, session) as ports,
    ):
        yield ports.sink


def _preparation(
    job: Job, contents: Contents, detector: RekognitionDetector, *, by_reference: bool
) -> Preparation | None:
    """What looks at images before they are paid for; None when the job leaves that to the service."""
    if by_reference and job.precheck is Precheck.NONE and not (job.convert or job.near_duplicates):
        return None
    return Preparer(
        contents=contents,
        detector=detector,
        send=detector.detect_content,
        limits=limits_of(job.detector.kind),
        by_reference=by_reference,
        converts=job.convert,
        compares=job.near_duplicates,
    )


async def _aws_way(
    job: Job,
    session: AwsSession,
    source: Source,
    detector: Detector,
    *,
    region: str,
    preparation: Preparation | None,
    pays: bool,
) -> Way:
    prices = price_list(job, region)
    limit_tps, origin, quota = await _limit(job, session, region)
    units = await _inference_units(job, session, must_run=pays)
    keys = KeyFilter(job.source.include, job.source.exclude)
    max_bytes = MAX_CONVERTED_BYTES if job.convert else MAX_OBJECT_BYTES
    return Way(
        source=source,
        detector=detector,
        preparation=preparation,
        check=lambda listed: free_check(listed, keys, max_bytes),
        limit_tps=limit_tps,
        tps_origin=origin,
        price_micros=lambda nth: prices.price_micros(job.pricing.used_this_month + nth),
        hourly_micros=prices.unit_hour_micros * units,
        prices=prices,
        concurrency=_concurrency(job.limits, limit_tps),
        region=region,
        quota=quota,
        is_local=(await session.endpoint("rekognition", region)).is_loopback,
    )


def _own_way(job: Job, source: Source, detector: Detector, preparation: Preparation | None) -> Way:
    keys = KeyFilter(job.source.include, job.source.exclude)
    max_bytes = MAX_CONVERTED_BYTES if job.convert else MAX_OBJECT_BYTES
    prices = price_list(job, "") if job.pricing.tiers is not None else None
    limit_tps = job.limits.tps * job.limits.share if job.limits.tps is not None else None
    return Way(
        source=source,
        detector=detector,
        preparation=preparation,
        check=lambda listed: free_check(listed, keys, max_bytes),
        limit_tps=limit_tps,
        tps_origin="limits.tps",
        price_micros=lambda nth: prices.price_micros(job.pricing.used_this_month + nth) if prices else 0,
        prices=prices,
        concurrency=_concurrency(job.limits, limit_tps),
    )


async def _limit(job: Job, session: AwsSession, region: str) -> tuple[float, str, QuotaAnswer | None]:
    limits = job.limits
    if limits.tps is not None:
        return limits.tps * limits.share, "limits.tps", None
    answer = await quota_tps(session, job.detector.kind, region)
    return answer.tps * limits.share, f"quota, {answer.origin.value}", answer


async def _inference_units(job: Job, session: AwsSession, *, must_run: bool) -> int:
    """Units that a Custom Labels model runs with at the most, one at least: what the run may cost an hour."""
    if job.detector.kind is not DetectorKind.CUSTOM_LABELS or job.detector.model is None:
        return 0
    if job.pricing.inference_units is not None:
        return job.pricing.inference_units
    state = await describe_model(session, job.detector.model)
    if must_run and state.status != "RUNNING":
        raise AccessError(
            f"the model {state.arn} is {state.status}, not RUNNING",
            hint="Start the model and run again once it is RUNNING.",
        )
    return max(1, state.max_inference_units)


# -- How much at once --------------------------------------------------------------------------------------------------


def _concurrency(limits: Limits, limit_tps: float | None) -> int:
    """Calls in flight at the most: what was asked for, or enough for answers that take half the time-out."""
    if limits.concurrency is not None:
        return limits.concurrency
    wanted = MOST_IN_FLIGHT if limit_tps is None else math.ceil(limit_tps * limits.timeout_s / 2)
    return max(LEAST_IN_FLIGHT, min(wanted, MOST_IN_FLIGHT, _most_connections()))


def _most_connections() -> int:
    """Connections this process may hold; raises the soft limit of open files to the hard one first."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_IN_FLIGHT + SPARE_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_IN_FLIGHT + SPARE_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    available = MOST_IN_FLIGHT if soft == resource.RLIM_INFINITY else soft - SPARE_FILES
    return max(LEAST_IN_FLIGHT, min(available, MOST_IN_FLIGHT))


def _new_run_id() -> str:
    """Sortable by time, unique among machines: ``20261122-141503-1f3a9c02``."""
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(4)}"


# -- Bench -------------------------------------------------------------------------------------------------------------


async def bench(
    job: Job,
    *,
    seconds_s: float = TRIAL_S,
    budget_micros: int | None = None,
    tps: float | None = None,
    world: World | None = None,
    interrupt: Interrupt | None = None,
    on_event: Emit = ignore,
) -> Measurement:
    """Measure how many calls a second are really accepted, and with what latency, on images of the job.

    It is a dry run of the job's next images ahead of its own: their labels are paid for once, kept, and free for the
    run. Stop rules do not end it.

    Args:
        job: From ``load_job`` or ``parse_job``; ``limits.tps`` and ``limits.share`` do not bind it.
        seconds_s: Ends it that long after the first call.
        budget_micros: What it may spend, within the job's budget; by default what ``seconds_s`` cost at ``tps``.
        tps: The rate to try at the most; by default ``BEYOND`` times what Service Quotas says.
        world: As for ``run``, and so the others.
        interrupt: ``request`` it once to end the measurement, twice to abort.
        on_event: Told of everything that happens.

    Raises:
        UsageError: Nothing is known of the rate of a detector of your own, and ``tps`` is not given.
        AsyncFilterError: As ``run``.
    """
    trial = await propose_bench(job, seconds_s=seconds_s, budget_micros=budget_micros, tps=tps, world=world)
    return await measure(job, trial, world=world, interrupt=interrupt, on_event=on_event)


async def propose_bench(
    job: Job,
    *,
    seconds_s: float = TRIAL_S,
    budget_micros: int | None = None,
    tps: float | None = None,
    counts: bool = False,
    world: World | None = None,
    on_listed: Callable[[int], None] | None = None,
) -> Trial:
    """The free half of ``bench``: what is told of the quota, and what measuring would cost at the most.

    ``counts`` has the whole listing counted, of which ``on_listed`` is told; other arguments and errors are those of
    ``bench``.
    """
    prospect = await survey(job, world=world, on_listed=on_listed) if counts else None
    limits, world = job.limits, world or World()
    async with AsyncExitStack() as stack:
        held, _ = await _held(job, world, stack)
        told = dataclasses.replace(job, limits=dataclasses.replace(limits, tps=None, share=1.0))
        way, _ = await stack.enter_async_context(_open_way(told, world, pays=False))
        terms = _terms(job, way, held)
    told_tps = way.limit_tps or limits.tps
    ceiling_tps = tps or (way.limit_tps or 0) * BEYOND or limits.tps
    if ceiling_tps is None:
        raise UsageError("nothing is known of the rate to try", hint="Give tps, or limits.tps in the job.")
    open_s = seconds_s + limits.timeout_s + HOURLY_BLOCK_S  # from the start of the run until its last call is answered
    whole_micros = rounded_up(price_micros(terms, math.ceil(ceiling_tps * seconds_s), open_s))
    allowance = allowance_micros(job, whole_micros if budget_micros is None else budget_micros, held.spent_micros)
    likely_tps = min(ceiling_tps, told_tps or ceiling_tps)
    return Trial(
        seconds_s=seconds_s,
        ceiling_tps=ceiling_tps,
        quota=way.quota,
        region=way.region,
        is_local=way.is_local,
        allowance_micros=allowance,
        limit_micros=held.spent_micros + allowance,
        told_micros=min(allowance, price_micros(terms, math.ceil(likely_tps * seconds_s), seconds_s)),
        images=None if prospect is None else prospect.survey.calls,
    )


async def measure(
    job: Job,
    trial: Trial,
    *,
    world: World | None = None,
    interrupt: Interrupt | None = None,
    on_event: Emit = ignore,
    on_start: Callable[[Callable[[], Progress]], None] | None = None,
) -> Measurement:
    """The paid half of ``bench``. Arguments and errors are those of ``bench`` and ``run``."""
    world = world or World()
    clock = world.clock or SystemClock()
    gauge = Gauge(clock)

    async def examine(until: Interrupt) -> Summary:
        return await _examine_ahead(
            trial_job(job, trial),
            lambda way: gauge.over(msgspec.structs.replace(way, tps_origin="what is tried")),
            goes_on=job.source.order is Order.LISTING,
            world=world,
            interrupt=until,
            on_event=on_event,
            on_start=on_start,
        )

    summary, is_over = await run_for(
        trial.seconds_s, examine, begun=gauge.begun, clock=clock, interrupt=interrupt or Interrupt()
    )
    return Measurement(
        trial=trial,
        summary=summary,
        reading=gauge.reading,
        capacity=capacity(gauge.reading, trial.ceiling_tps),
        is_time_up=is_over and summary.stop_reason is StopReason.COMPLETED,
    )
