"""From a job to a running engine: the only module that names concrete classes.

``run`` and ``refilter`` are the program's two verbs, for the command line and for other programs alike.
"""

from __future__ import annotations

import math
import resource
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec

from asyncfilter.aws import describe_model, open_aws, open_detector, open_ports, quota_tps
from asyncfilter.aws.rekognition import RekognitionDetector
from asyncfilter.aws.session import AwsSession
from asyncfilter.checkpoint import SqliteCheckpoint, open_checkpoint, set_aside
from asyncfilter.clock import Clock
from asyncfilter.datasets.folder import FolderContents, FolderSink, FolderSource, check_folder
from asyncfilter.datasets.preparing import Preparer
from asyncfilter.engine.ending import Interrupt
from asyncfilter.engine.pipeline import Pipeline
from asyncfilter.engine.shuffle import ShuffledSource
from asyncfilter.engine.way import Options, Way, no_way
from asyncfilter.errors import AccessError, CheckpointError
from asyncfilter.events import Emit, ignore
from asyncfilter.job.fingerprint import identity
from asyncfilter.job.spec import DetectorKind, Job, Limits, Order, Precheck
from asyncfilter.model import Progress, Summary
from asyncfilter.policy.acceptance import MAX_CONVERTED_BYTES, limits_of
from asyncfilter.policy.admission import MAX_OBJECT_BYTES, free_check
from asyncfilter.policy.globs import KeyFilter
from asyncfilter.policy.pricing import price_list
from asyncfilter.ports import Checkpoint, Contents, Detector, Preparation, Sink, Source

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
    checkpoint: Checkpoint | None = None
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
        pipeline = Pipeline(
            job,
            run_id=_new_run_id(),
            checkpoint=checkpoint,
            sink=sink,
            way=way,
            options=Options(dry_run=dry_run, retry_failed=retry_failed, counts_ahead=counts_ahead),
            interrupt=interrupt,
            emit=on_event,
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
async def _open_way(job: Job, world: World) -> AsyncIterator[tuple[Way, Sink]]:
    if world.source is not None and world.detector is not None and world.sink is not None:
        yield _own_way(job, world.source, world.detector, world.preparation), world.sink
        return
    if job.source.folder is not None:
        async with _folder_way(job, job.source.folder, world) as opened:
            yield opened
        return
    async with (
        open_aws(job.aws, timeout_s=job.limits.timeout_s, connections=_most_connections()) as session,
        open_ports(job, session) as ports,
    ):
        preparation = world.preparation or _preparation(
            job, ports.contents, ports.detector, by_reference=ports.region == ports.bucket_region
        )
        detector = world.detector or ports.detector
        if world.detector is not None:
            preparation = world.preparation
        way = await _aws_way(
            job, session, world.source or ports.source, detector, region=ports.region, preparation=preparation
        )
        yield way, world.sink or ports.sink


@asynccontextmanager
async def _folder_way(job: Job, folder: Path, world: World) -> AsyncIterator[tuple[Way, Sink]]:
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
        yield await _aws_way(job, session, source, detector, region=region, preparation=preparation), sink


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
) -> Way:
    prices = price_list(job, region)
    limit_tps, origin = await _limit(job, session, region)
    units = await _inference_units(job, session)
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
        concurrency=_concurrency(job.limits, limit_tps),
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
        concurrency=_concurrency(job.limits, limit_tps),
    )


async def _limit(job: Job, session: AwsSession, region: str) -> tuple[float, str]:
    limits = job.limits
    if limits.tps is not None:
        return limits.tps * limits.share, "limits.tps"
    answer = await quota_tps(session, job.detector.kind, region)
    return answer.tps * limits.share, f"quota, {answer.origin.value}"


async def _inference_units(job: Job, session: AwsSession) -> int:
    """Units that a Custom Labels model runs with at the most: what the run may cost an hour."""
    if job.detector.kind is not DetectorKind.CUSTOM_LABELS or job.detector.model is None:
        return 0
    if job.pricing.inference_units is not None:
        return job.pricing.inference_units
    state = await describe_model(session, job.detector.model)
    if state.status != "RUNNING":
        raise AccessError(
            f"the model {state.arn} is {state.status}, not RUNNING",
            hint="Start the model and run again once it is RUNNING.",
        )
    return state.max_inference_units


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
    """Sortable by time, unique among machines: ``20261122-141503-1f3a``."""
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(2)}"
