"""A fleet on Ray: whether the job is worth sending, where Ray is, and the actors that a run over a checkpoint has."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import NamedTuple

import anyio
import anyio.to_thread
import msgspec

from asyncfilter.engine.examine.inputs import RunInputs
from asyncfilter.errors import AccessError, UsageError, WaitEndedError
from asyncfilter.events import FleetAwaited, KeptAtHome, after_start
from asyncfilter.fleet import ray_connection
from asyncfilter.fleet.auth_probe import needs_no_token
from asyncfilter.fleet.left_ray import LEFT_RAY, is_left, ray_note
from asyncfilter.fleet.note import note_path
from asyncfilter.fleet.own_ray import OwnRay
from asyncfilter.fleet.rays import PerWorker, RayHub
from asyncfilter.job.spec import Cluster, Job, Precheck
from asyncfilter.model import StoreKind, uri_of
from asyncfilter.wiring.examining import fingerprint, worker_spec
from asyncfilter.wiring.fleet import Fleet, FleetTerms, Parts, open_fleet
from asyncfilter.wiring.fleet_actor import ExaminerActor

REFERENCE_MS, HEADER_MS = 0.2, 0.3
"""Processor time of an image in this process, milliseconds: by reference, and with its header read (scale.md)."""

_FINGERPRINT_CHARS = 12
_UID_CHARS = 16
_NAMES = "asyncfilter-"
_LEAVE_S = 10.0
_JOIN_S = 90.0
_HOLD_S = 0.02
_NO_TOKENS = (
    "the Ray at {} has no token authentication: whoever reaches its ports runs code on all its machines; set "
    "RAY_AUTH_MODE=token"
)


_OF_OTHER_SETTINGS = (
    "ended: {} of a killed run over this checkpoint, with other settings of the job; answers that were kept there "
    "alone were paid for, and are paid for again"
)
_OF_OTHER_CHECKPOINT = (
    "ended: {} of a killed run over the checkpoint that was here before; answers that were kept there alone were paid "
    "for, and are paid for again"
)
_OF_OTHERS = (
    "; the cluster has {} of other checkpoints, whose cores are taken: those of a killed run leave ten minutes after "
    "it, or at once when its own command is run again"
)


class _Cluster(NamedTuple):
    """A Ray that this process is connected to; ``own`` where it was started for the run."""

    address: str
    own: OwnRay | None


@asynccontextmanager
async def open_ray_fleet(job: Job, cluster: Cluster, parts: Parts) -> AsyncIterator[Fleet]:
    """The fleet of a run; the run's own parts where workers would only make the job dearer.

    Raises:
        UsageError: Ray is not installed or does not fit, or the job needs what only this machine has.
        AccessError: The cluster cannot be reached or refuses the token; a worker cannot work.
        WaitEndedError: Too few workers came.
    """
    ray_connection.check_installed()
    if not cluster.sends_all and not is_worth_sending(job, parts):
        yield _kept_at_home(job, _with_left_told(job, parts))
        return
    async with AsyncExitStack() as stack:
        _say_awaited(parts, "ray", "finding a Ray")
        found = await _connected(job, cluster, stack, parts)
        if found.own is None:
            check_foreign(job, found.address)
            parts = _with_left_told(job, parts)
        if found.own is None and await _needs_no_token(found.address):
            parts = parts._replace(inputs=_with_caution(parts.inputs, _NO_TOKENS.format(found.address)))
        hub = _hub(job, cluster, parts, found)
        if found.own is not None:
            stack.callback(_keep_if_left, found.own, hub)
        parts = await _with_ended_told(hub, parts)
        terms = FleetTerms(
            fingerprint=fingerprint(job),
            least=cluster.least,
            most=await ray_connection.ask_ray(hub.wanted),
            wait_s=cluster.wait_s,
            note=note_path(job.checkpoint),
        )
        _say_awaited(parts, "workers", f"waiting for {cluster.least} worker{'' if cluster.least == 1 else 's'}")
        try:
            fleet = await stack.enter_async_context(open_fleet(job, hub, terms, parts))
        except WaitEndedError as error:
            raise await _explained(hub, error) from error
        yield fleet


def check_cluster(job: Job, cluster: Cluster) -> None:
    """Check what can be checked without network.

    Raises:
        UsageError: Ray is not installed, or the job needs what only this machine has.
    """
    ray_connection.check_installed()
    address = ray_connection.given_address() if cluster.address == "auto" else cluster.address
    if address:
        check_foreign(job, address)


def is_worth_sending(job: Job, parts: Parts) -> bool:
    """Whether an image takes more time here than to send it: its pixels, its bytes, or a model of one's own."""
    return job.convert or job.near_duplicates or job.detector.own is not None or not parts.inputs.by_reference


def _kept_at_home(job: Job, parts: Parts) -> Fleet:
    ms = REFERENCE_MS if job.precheck is Precheck.NONE else HEADER_MS
    message = (
        f"this job spends {ms:g} ms of processor time an image; workers would not make it faster, so it runs in this "
        "process (cluster.send: all sends it all the same)"
    )
    context = parts.context
    event = KeptAtHome(at_unix_s=context.clock.unix(), message=message, ms_an_image=ms)
    return Fleet(
        inputs=_with_caution(parts.inputs, f"kept_at_home: {message}"),
        checkpoint=parts.checkpoint,
        context=msgspec.structs.replace(context, emit=after_start(context.emit, [event])),
    )


def _with_caution(inputs: RunInputs, message: str) -> RunInputs:
    return msgspec.structs.replace(inputs, cautions=(*inputs.cautions, message))


def _with_left_told(job: Job, parts: Parts) -> Parts:
    """The parts of a run that does not use a Ray which a killed run over its checkpoint has left."""
    return parts._replace(inputs=_with_caution(parts.inputs, LEFT_RAY)) if is_left(job.checkpoint) else parts


async def _with_ended_told(hub: RayHub, parts: Parts) -> Parts:
    """The parts of a run that ends workers of a killed one, with what that costs."""
    found = await ray_connection.ask_ray(hub.outdated)
    for names, text in ((found.of_job, _OF_OTHER_SETTINGS), (found.of_checkpoint, _OF_OTHER_CHECKPOINT)):
        if names:
            parts = parts._replace(inputs=_with_caution(parts.inputs, text.format(_counted(names))))
    return parts


async def _explained(hub: RayHub, error: WaitEndedError) -> WaitEndedError:
    """Why too few workers came, with those of other checkpoints that are in their place."""
    with anyio.move_on_after(ray_connection.REACH_S):
        if not ray_connection.has_ended() and (others := (await ray_connection.ask_ray(hub.outdated)).of_others):
            return WaitEndedError(error.message + _OF_OTHERS.format(_counted(others)), hint=error.hint)
    return error


def _counted(names: Sequence[str]) -> str:
    return "1 worker" if len(names) == 1 else f"{len(names)} workers"


def _say_awaited(parts: Parts, what: str, message: str, address: str | None = None) -> None:
    now_s = parts.context.clock.unix()
    parts.context.emit(FleetAwaited(at_unix_s=now_s, what=what, message=message, address=address))


# -- Where Ray is ------------------------------------------------------------------------------------------------------


async def _connected(job: Job, cluster: Cluster, stack: AsyncExitStack, parts: Parts) -> _Cluster:
    """Connect to the Ray of the job until ``stack`` is closed; one of our own is stopped then."""
    address = cluster.address if cluster.address != "auto" else ray_connection.given_address()
    found = None if address is None else _Cluster(address, None)
    if found is None:
        found = await anyio.to_thread.run_sync(_found, job)
    if found is None:
        _say_awaited(parts, "ray", "starting a Ray here")
        # An interrupt ends the start, and is waited for: nothing of it stays.
        found = await anyio.to_thread.run_sync(_started, job, cluster)
    environment = {}
    if found.own is not None:
        stack.push_async_callback(_ended, found.own)
        environment = found.own.environment()
    _say_awaited(parts, "ray", "joining the Ray", found.address)
    await _joined(found.address, environment)
    stack.push_async_callback(_disconnected)
    return found


async def _needs_no_token(address: str) -> bool:
    """Whether whoever reaches a Ray may use it: this process may have a token that nobody asks for."""
    if not ray_connection.has_tokens():
        return True
    return await anyio.to_thread.run_sync(needs_no_token, address, abandon_on_cancel=True)


async def _joined(address: str, environment: dict[str, str]) -> None:
    """Connect to a Ray; neither an interrupt nor a port at which something else answers is waited for as Ray does it.

    Raises:
        AccessError: What listens there does not answer as a Ray does, or as ``ray_connection.connect``.
        UsageError: As ``ray_connection.connect``.
    """
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_hold_sigterm)
        with anyio.move_on_after(_JOIN_S) as waiting:
            try:
                await anyio.to_thread.run_sync(ray_connection.connect, address, environment, abandon_on_cancel=True)
            except anyio.get_cancelled_exc_class():
                ray_connection.forget()
                raise
            except Exception as error:  # noqa: BLE001  raised again below, outside of the group
                failure = error
        tasks.cancel_scope.cancel()
    ray_connection.take_sigterm_back()
    if failure is not None:
        raise failure
    if waiting.cancelled_caught:
        raise AccessError(
            f"what listens at {address} has not answered as a Ray does for {_JOIN_S:g} s",
            hint="Give the port of the cluster's GCS, usually 6379; 8265 is its dashboard, and 10001 Ray Client.",
        )


async def _hold_sigterm() -> None:
    """Take SIGTERM back over and over: Ray takes it some time before it is joined."""
    while True:
        ray_connection.take_sigterm_back()
        await anyio.sleep(_HOLD_S)


async def _ended(own: OwnRay) -> None:
    """Stop a Ray of our own, or leave it to the next command."""
    with anyio.CancelScope(shield=True):
        await anyio.to_thread.run_sync(partial(own.end, is_joined=ray_connection.has_ended()))


def _keep_if_left(own: OwnRay, hub: RayHub) -> None:
    """Keep a Ray that was found while workers of the head before may live; one that was started has none."""
    own.is_kept = own.is_kept and hub.is_left


async def _disconnected() -> None:
    """Leave Ray; one that has ended is not waited for."""
    with anyio.move_on_after(_LEAVE_S, shield=True) as scope:
        await anyio.to_thread.run_sync(ray_connection.disconnect, abandon_on_cancel=True)
    if scope.cancelled_caught:
        ray_connection.forget()


def _found(job: Job) -> _Cluster | None:
    """The Ray that a killed run has left, or one that runs here."""
    if (own := OwnRay.found(ray_note(job.checkpoint))) is not None:
        return _Cluster(own.address, own)
    address = ray_connection.running_address()
    return None if address is None else _Cluster(address, None)


def _started(job: Job, cluster: Cluster) -> _Cluster:
    own = OwnRay.start(ray_note(job.checkpoint), cpus=max(_cores(), int(cluster.least * cluster.cpus)))
    return _Cluster(own.address, own)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_foreign(job: Job, address: str) -> None:
    """Check that the job needs nothing of this machine.

    Raises:
        UsageError: It does: a profile, or a folder.
    """
    profiles = [("aws.profile", job.aws.profile), *((f"lane {one.name}", one.profile) for one in job.detector.lanes)]
    named = [key for key, profile in profiles if profile is not None]
    if named:
        raise UsageError(
            f"{named[0]}: the workers of the Ray at {address} have roles, not the profiles of this machine",
            hint="Take the profile out of the job, and give workers and this machine a role.",
        )
    if job.source.store is StoreKind.FOLDER:
        raise UsageError(
            f"source: the workers of the Ray at {address} cannot read the folders of this machine",
            hint="Put the images into S3, or let the command start a Ray of its own (unset RAY_ADDRESS).",
        )


# -- Workers -----------------------------------------------------------------------------------------------------------


def _uid(job: Job, parts: Parts) -> str:
    """Names the checkpoint in the cluster; that of a state in S3 is the same on every machine that takes it over."""
    if job.state is not None:
        place = f"{uri_of(job.state.bucket, job.state.prefix)}{job.name}"
        return hashlib.sha256(place.encode()).hexdigest()[:_UID_CHARS]
    return parts.checkpoint.opened.uid or "own"


def _hub(job: Job, cluster: Cluster, parts: Parts, found: _Cluster) -> RayHub:
    family = f"{_NAMES}{_uid(job, parts)}-"
    # A Ray of our own is beside its checkpoint: no other run has workers there.
    former = None if parts.context.replaced_uid is None else f"{_NAMES}{parts.context.replaced_uid}-"
    replaced = [_NAMES] if found.own is not None else [] if former is None else [former]
    primary = parts.inputs.primary
    spec = worker_spec(
        job,
        region=primary.region,
        bucket_region=parts.inputs.bucket_region,
        sends_files=found.own is None,
        cpus=cluster.cpus,
        gpus=cluster.gpus,
    )
    return RayHub(
        ExaminerActor,
        spec,
        name=f"{family}{fingerprint(job)[:_FINGERPRINT_CHARS]}",
        family=family,
        replaced=tuple(replaced),
        address=found.address,
        most=cluster.most,
        per_worker=PerWorker(cpus=cluster.cpus, gpus=cluster.gpus, memory_gb=cluster.memory_gb),
    )
