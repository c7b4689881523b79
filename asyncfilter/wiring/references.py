"""Reference images: what the rules of a job name by pictures, and ``asyncfilter labels``."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec

from asyncfilter.aws import open_aws, open_references
from asyncfilter.checkpoint import open_lookup
from asyncfilter.clock import SystemClock
from asyncfilter.engine.ending import Interrupt
from asyncfilter.engine.references import Errand, examine
from asyncfilter.engine.sampling import REFERENCE_STORE, ChosenSource, store_job
from asyncfilter.engine.way import Way
from asyncfilter.errors import AsyncFilterError
from asyncfilter.events import Emit, LikeResolved, after_start, ignore
from asyncfilter.job.fingerprint import identity
from asyncfilter.job.spec import Aws, Job
from asyncfilter.model import Summary
from asyncfilter.policy.references import Labelled, names_of, references_of, resolved
from asyncfilter.ports import Checkpoint, Reference, References
from asyncfilter.wiring.checkpoints import sqlite
from asyncfilter.wiring.concurrency import LEAST_IN_FLIGHT
from asyncfilter.wiring.ways import aws_way, own_way
from asyncfilter.wiring.world import Overrides, new_run_id


async def label_references(
    uris: Sequence[str],
    *,
    store: Path | None = None,
    aws: Aws | None = None,
    overrides: Overrides | None = None,
    interrupt: Interrupt | None = None,
) -> Labelled:
    """Have Rekognition look at reference images; what was paid for is kept, and never paid for again.

    Args:
        uris: ``s3://bucket/key``, or paths of files, which are sent.
        store: The SQLite file they are kept in: ``references.db`` beside a job's checkpoint serves the job too. By
            default the one in ``.asyncfilter`` of the working folder.
        aws: How AWS is reached.
        overrides: References, checkpoint or clock of your own.
        interrupt: ``request`` it to leave.

    Raises:
        UsageError: An image cannot be examined, or no region is known to send files to.
        CheckpointError: The store cannot be used.
        AccessError: AWS cannot be reached, or refuses.
    """
    overrides, uris = overrides or Overrides(), list(dict.fromkeys(uris))
    job = store_job(store or Path(".asyncfilter") / REFERENCE_STORE, aws or Aws())
    errand = Errand(run_id=new_run_id(), emit=ignore, clock=overrides.clock or SystemClock(), interrupt=interrupt)
    async with AsyncExitStack() as stack:
        references, way = await stack.enter_async_context(_open_references(job, uris, overrides))
        checkpoint = overrides.checkpoint or await sqlite(job, stack)
        found = await examine(
            job, uris, references=references, checkpoint=checkpoint, elsewhere=(), way=way, errand=errand
        )
        if found.ended is not None:
            raise AsyncFilterError(found.ended.error or "interrupted", hint=found.ended.hint)
        return Labelled(labels=dict(found.labels), calls=found.calls, spent_micros=found.spent_micros)


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """A job whose rules name labels only, with the checkpoint and the listener of its run; or how it ended before."""

    job: Job
    checkpoint: Checkpoint
    emit: Emit
    ended: Summary | None = None


async def resolve(job: Job, checkpoint: Checkpoint, way: Way, overrides: Overrides, errand: Errand) -> Ready:
    """Names in the place of the references in the job's rules; what is not known of them is paid for."""
    uris = references_of(job)
    if not uris:
        return Ready(job=job, checkpoint=checkpoint, emit=errand.emit)
    async with _open_references(job, uris, overrides) as (references, _):
        beside = await _references_beside(job) if overrides.references is None else ()
        found = await examine(
            job, uris, references=references, checkpoint=checkpoint, elsewhere=beside, way=way, errand=errand
        )
    if found.ended is not None:
        return Ready(job=job, checkpoint=found.checkpoint, emit=errand.emit, ended=found.ended)
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
    return Ready(job=resolved(job, found.labels), checkpoint=found.checkpoint, emit=after_start(errand.emit, told))


@asynccontextmanager
async def _open_references(
    job: Job, uris: Sequence[str], overrides: Overrides
) -> AsyncIterator[tuple[References, Way]]:
    """What examines references, and at what rate and price where they are all there is."""
    if overrides.references is not None:
        yield overrides.references, own_way(job, ChosenSource(()), overrides.references, None)
        return
    async with (
        open_aws(job.aws, timeout_s=job.limits.timeout_s, connections=LEAST_IN_FLIGHT) as session,
        open_references(uris, session=session, aws=job.aws, spec=job.detector) as references,
    ):
        region = references.region
        yield (
            references,
            await aws_way(job, session, ChosenSource(()), references, region=region, preparation=None, pays=False),
        )


async def _references_beside(job: Job) -> Sequence[Reference]:
    """What ``asyncfilter labels`` paid for beside the job, where it asked what the job asks."""
    store = store_job(job.checkpoint.parent / REFERENCE_STORE, job.aws)
    if not store.checkpoint.exists() or dataclasses.replace(job.detector, region=None) != store.detector:
        return ()
    async with open_lookup(store.checkpoint, identity(store)) as lookup:
        return await lookup.references()
