"""Reference images: label names in place of the images that the rules of a job name."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial
from random import Random

import msgspec

from asyncfilter.aws import AwsReferences, open_references
from asyncfilter.checkpoint import checkpoint_exists, open_lookup
from asyncfilter.clock import Clock
from asyncfilter.engine.core.retry import Repeater, full_pause
from asyncfilter.engine.core.run_context import RunContext
from asyncfilter.engine.examine.inputs import RunInputs
from asyncfilter.engine.preview.jobs import REFERENCE_STORE, store_job
from asyncfilter.engine.preview.references import examine
from asyncfilter.errors import ImageError, TransientError
from asyncfilter.events import Emit, LikeResolved, after_start
from asyncfilter.job.fingerprint import identity
from asyncfilter.job.spec import DetectorSpec, Job
from asyncfilter.model import S3, Summary
from asyncfilter.policy.reference_labels import names_of, references_of, resolved
from asyncfilter.ports.checkpoint import Checkpoint
from asyncfilter.ports.examine import References
from asyncfilter.records.images import StoredReference
from asyncfilter.wiring.account import LEAST_IN_FLIGHT, Account
from asyncfilter.wiring.detectors import aws_backend
from asyncfilter.wiring.overrides import Overrides


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """A job whose rules name labels only, with the checkpoint and the listener of its run.

    ``ended`` is the summary of a run that ended while its references were examined; None when the run can begin.
    """

    job: Job
    checkpoint: Checkpoint
    emit: Emit
    ended: Summary | None = None


async def resolve(
    job: Job, checkpoint: Checkpoint, inputs: RunInputs, overrides: Overrides, context: RunContext
) -> Ready:
    """Replace the references in the job's rules by label names; references without stored labels are paid for."""
    uris = references_of(job)
    if not uris:
        return Ready(job=job, checkpoint=checkpoint, emit=context.emit)
    async with AsyncExitStack() as stack:
        references = await _opened(job, uris, overrides, stack, inputs)
        inputs = await _at_their_backend(job, inputs, references)
        if context.state is not None:
            from asyncfilter.wiring.owned_ports import OwnedReferences  # noqa: PLC0415  not needed by most runs

            references = OwnedReferences(references, context.state)
        beside = await _references_beside(job) if overrides.references is None else ()
        found = await examine(
            job, uris, references=references, checkpoint=checkpoint, elsewhere=beside, inputs=inputs, context=context
        )
    if found.ended is not None:
        return Ready(job=job, checkpoint=found.checkpoint, emit=context.emit, ended=found.ended)
    resolved_events = [
        LikeResolved(
            at_unix_s=context.clock.unix(),
            rule=index,
            verdict=rule.verdict.value,
            names=names,
            references=those,
            calls=found.calls,
        )
        for index, rule, names, those in names_of(job, found.labels)
    ]
    return Ready(
        job=resolved(job, found.labels), checkpoint=found.checkpoint, emit=after_start(context.emit, resolved_events)
    )


async def unusable_references(job: Job, overrides: Overrides, clock: Clock) -> list[str]:
    """References of the job's rules that are not there or cannot be read, one sentence each; nothing is paid for.

    Raises:
        UsageError: An address is not valid.
        AccessError: The references cannot be read at all.
    """
    uris = references_of(job)
    if not uris:
        return []
    repeat = Repeater(max_attempts=job.limits.max_attempts, pause=full_pause(clock), rng=Random())
    found = []
    async with AsyncExitStack() as stack:
        references = await _opened(job, uris, overrides, stack)
        for uri in uris:
            try:
                await repeat(partial(references.head, uri))
            except (ImageError, TransientError) as error:
                found.append(
                    f"like: the reference {uri} cannot be examined, so that a run does not begin: {error.message}"
                )
    return found


async def _opened(
    job: Job, uris: Sequence[str], overrides: Overrides, stack: AsyncExitStack, inputs: RunInputs | None = None
) -> References:
    """The port that reads references, and examines them where there are ``inputs``."""
    if overrides.references is not None:
        return overrides.references
    if job.detector.own is not None:
        from asyncfilter.wiring.own_references import open_own_references  # noqa: PLC0415  not needed by most jobs

        return open_own_references(job, stack, None if inputs is None else inputs.primary.detector)
    clients = await Account(job, stack, connections=LEAST_IN_FLIGHT).clients()
    return await open_references(uris, clients=clients, spec=_with_region(job, uris))


def _with_region(job: Job, uris: Sequence[str]) -> DetectorSpec:
    """The detector; where all references are files and the job has lanes, in the region of one of its own."""
    detector = job.detector
    if any(uri.startswith(S3) for uri in uris):
        return detector
    own = next((lane.region for lane in detector.lanes if lane.is_own), None)
    return detector if own is None else dataclasses.replace(detector, region=own)


async def _at_their_backend(job: Job, inputs: RunInputs, references: References) -> RunInputs:
    """The inputs with the backend at which references are examined: with its quota, and its place in the price tiers.

    They are examined with the credentials of the job. With lanes that is the lane of these in the region of the
    references; where there is none, the calls belong to no lane.
    """
    lanes = job.detector.lanes
    if not lanes or not isinstance(references, AwsReferences):
        return inputs
    own = {lane.name for lane in lanes if lane.is_own and lane.region == references.region}
    backend = next((one for one in inputs.backends if one.name in own), None)
    if backend is None:
        backend = await aws_backend(job, references.session, references, references.region)
    return msgspec.structs.replace(inputs, backends=(backend,))


def _request(job: Job) -> DetectorSpec:
    """The request to the service alone: references have no region of their own, and no lanes."""
    return dataclasses.replace(job.detector, region=None, lanes=(), lanes_must_agree=False)


async def _references_beside(job: Job) -> Sequence[StoredReference]:
    """References that ``asyncfilter labels`` stored beside the job, if its detector settings are those of the job."""
    store = store_job(job.checkpoint.parent / REFERENCE_STORE, job.aws)
    if not checkpoint_exists(store.checkpoint) or _request(job) != store.detector:
        return ()
    async with open_lookup(store.checkpoint, identity(store)) as lookup:
        return await lookup.references()
