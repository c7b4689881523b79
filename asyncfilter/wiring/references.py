"""Reference images: what the rules of a job name by pictures."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from contextlib import AsyncExitStack

import msgspec

from asyncfilter.aws import open_references
from asyncfilter.checkpoint import open_lookup
from asyncfilter.engine.references import Errand, examine
from asyncfilter.engine.sampling import REFERENCE_STORE, store_job
from asyncfilter.engine.way import Way
from asyncfilter.events import Emit, LikeResolved, after_start
from asyncfilter.job.fingerprint import identity
from asyncfilter.job.spec import Job
from asyncfilter.model import Summary
from asyncfilter.policy.references import names_of, references_of, resolved
from asyncfilter.ports import Checkpoint, Reference
from asyncfilter.wiring.account import LEAST_IN_FLIGHT, Account
from asyncfilter.wiring.world import Overrides


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
    async with AsyncExitStack() as stack:
        references = overrides.references
        if references is None:
            clients = await Account(job, stack, connections=LEAST_IN_FLIGHT).clients()
            references = await open_references(uris, clients=clients, spec=job.detector)
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


async def _references_beside(job: Job) -> Sequence[Reference]:
    """What ``asyncfilter labels`` paid for beside the job, where it asked what the job asks."""
    store = store_job(job.checkpoint.parent / REFERENCE_STORE, job.aws)
    if not store.checkpoint.exists() or dataclasses.replace(job.detector, region=None) != store.detector:
        return ()
    async with open_lookup(store.checkpoint, identity(store)) as lookup:
        return await lookup.references()
