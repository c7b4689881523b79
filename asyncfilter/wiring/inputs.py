"""The inputs of a run beside its job: store, detector, and the preparation of images before they are paid for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from asyncfilter.engine.core.backends import DetectorBackend
from asyncfilter.engine.examine.inputs import RunInputs
from asyncfilter.job.spec import Job, Precheck
from asyncfilter.model import Detection, ListedObject, ObjectRef, Skip
from asyncfilter.policy.detectors import PROFILES
from asyncfilter.policy.globs import KeyFilter
from asyncfilter.policy.image_limits import MAX_CONVERTED_BYTES
from asyncfilter.policy.object_filter import skip_reason
from asyncfilter.ports.examine import Contents, Detector, Preparation, Sink, Source
from asyncfilter.wiring.account import Account, concurrency
from asyncfilter.wiring.detectors import OPENERS, own_backend
from asyncfilter.wiring.lists import open_list
from asyncfilter.wiring.model_use import ModelUse
from asyncfilter.wiring.overrides import Overrides, check_own_stores
from asyncfilter.wiring.stores import JobStores, open_store

if TYPE_CHECKING:
    from asyncfilter.pictures.own_model import OwnModelDetector
    from asyncfilter.pictures.prepare import LanePorts
    from asyncfilter.wiring.lanes import OpenLane

Send = Callable[[ObjectRef, bytes], Awaitable[Detection]]
"""One paid attempt with an image's bytes; raises as ``Detector.detect``."""


@asynccontextmanager
async def open_inputs(
    job: Job, overrides: Overrides, *, use: ModelUse | None = None
) -> AsyncIterator[tuple[RunInputs, Sink]]:
    """The inputs of a run, and its sink.

    Args:
        job: Names the store and the detector to open.
        overrides: Ports of the caller, used in place of those.
        use: What needs a model to run; None for a run without paid calls. A model that is started for it is stopped
            when the context ends.

    Raises:
        UsageError: The job names a store of the caller's own, and one of its ports is missing.
        AccessError: The job cannot work; the message has the reason, the hint the remedy.
    """
    check_own_stores(job, overrides, "source", "detector", "sink")
    async with AsyncExitStack() as stack:
        account = Account(job, stack)
        store = await open_store(job, overrides, account)
        lanes: tuple[OpenLane, ...] = ()
        if overrides.detector is not None:
            backend, preparation = own_backend(job, overrides.detector), overrides.preparation
            cautions = store.cautions
        elif job.detector.lanes:
            lanes, of_lanes = await _open_lanes(job, account, store.region, stack)
            backend, cautions = lanes[0].backend, (*store.cautions, *of_lanes)
            preparation = overrides.preparation or _preparation(job, store, sending_of(lanes), stack)
        else:
            opened = await OPENERS[job.detector.kind](job, account, store.region, use=use)
            if opened.close is not None:
                stack.callback(opened.close)
            if use is not None and opened.backend.held_model is not None:
                stack.push_async_callback(use.stop, opened.backend.held_model)
            backend = opened.backend
            sending = Sending(backend.detector, opened.send, store.region == backend.region, own=opened.own)
            own = _preparation(job, store, sending, stack)
            preparation = overrides.preparation or own
            cautions = (*store.cautions, *opened.cautions)
        inputs = inputs_of(job, store.source, backend, preparation, cautions=cautions)
        if lanes:
            inputs = _with_lanes(job, inputs, lanes)
        by_reference = all(lane.by_reference for lane in lanes) if lanes else store.region == backend.region
        inputs = msgspec.structs.replace(
            inputs, places=store.places, by_reference=by_reference, bucket_region=store.region
        )
        yield await _with_list(job, inputs, store, account), store.sink


async def _with_list(job: Job, inputs: RunInputs, store: JobStores, account: Account) -> RunInputs:
    """The inputs with the job's list, if it has one, in place of the listing of its store."""
    if job.source.listed is None or store.heads is None:
        return inputs
    opened = await open_list(job.source.listed, account)
    return msgspec.structs.replace(
        inputs,
        source=opened.source(job.source),
        origin=opened.origin,
        heads=store.heads,
        places=None,  # a list says itself where the images are
        cautions=(*inputs.cautions, *opened.cautions()),
    )


def inputs_of(
    job: Job,
    source: Source,
    backend: DetectorBackend,
    preparation: Preparation | None = None,
    *,
    cautions: tuple[str, ...] = (),
) -> RunInputs:
    """The inputs of a run over ``source``.

    Args:
        job: Has the filters for listed objects.
        source: Lists the objects.
        backend: Examines images, with its rate and its prices.
        preparation: Checks or converts images before they are paid for.
        cautions: What is probably a mistake about the job's places.
    """
    return RunInputs(
        source=source,
        check=_check(job),
        backends=(backend,),
        concurrency=concurrency(job.limits, backend.limit_tps, most=backend.most_in_flight),
        preparation=preparation,
        cautions=cautions,
    )


def _check(job: Job) -> Callable[[ListedObject], Skip | None]:
    """The function that returns why a listed object is skipped; images to convert may exceed the service's limit."""
    keys = KeyFilter(job.source.include, job.source.exclude)
    max_bytes = MAX_CONVERTED_BYTES if job.convert else PROFILES[job.detector.kind].image_limits.max_object_bytes
    prefix = job.source.prefix if job.source.listed is not None else ""
    if not prefix:
        return lambda listed: skip_reason(listed, keys, max_bytes)
    return lambda listed: skip_reason(listed, keys, max_bytes) if listed.key.startswith(prefix) else Skip.OUTSIDE


async def _open_lanes(
    job: Job, account: Account, bucket_region: str | None, stack: AsyncExitStack
) -> tuple[tuple[OpenLane, ...], tuple[str, ...]]:
    from asyncfilter.wiring.lanes import open_lanes  # noqa: PLC0415  not needed by most runs

    return await open_lanes(job, account, bucket_region, stack)


def _with_lanes(job: Job, inputs: RunInputs, lanes: tuple[OpenLane, ...]) -> RunInputs:
    """The inputs with all lanes in place of the first one; calls in flight follow the sum of the rates."""
    limits = [lane.backend.limit_tps for lane in lanes]
    sum_tps = sum(limit for limit in limits if limit is not None) if None not in limits else None
    return msgspec.structs.replace(
        inputs, backends=tuple(lane.backend for lane in lanes), concurrency=concurrency(job.limits, sum_tps)
    )


class Sending(NamedTuple):
    """How images are examined: by reference where the detector, and that of every lane, can read the source."""

    detector: Detector
    send: Send
    by_reference: bool
    lanes: Mapping[str, LanePorts] | None = None
    own: OwnModelDetector | None = None


def sending_of(lanes: tuple[OpenLane, ...]) -> Sending:
    """How the lanes of a job examine images."""
    from asyncfilter.pictures.prepare import LanePorts  # noqa: PLC0415  as in `_preparation`

    ports = {lane.backend.name: LanePorts(lane.backend.detector, lane.send, lane.by_reference) for lane in lanes}
    first, by_reference = lanes[0], all(lane.by_reference for lane in lanes)
    return Sending(first.backend.detector, first.send, by_reference, ports)


def _preparation(job: Job, store: JobStores, sending: Sending, stack: AsyncExitStack) -> Preparation | None:
    """The preparation of images before they are paid for; None when the service reads them as they are."""
    if sending.own is not None and store.contents is not None:
        return sending.own.reading(store.contents)
    if store.contents is None or not needs_preparation(job, by_reference=sending.by_reference):
        return None
    return preparation_of(job, store.contents, sending, stack)


def needs_preparation(job: Job, *, by_reference: bool) -> bool:
    """Whether images are looked at before they are paid for; else the service reads them as they are."""
    return not by_reference or job.precheck is not Precheck.NONE or job.convert or job.near_duplicates


def preparation_of(
    job: Job,
    contents: Contents,
    sending: Sending,
    stack: AsyncExitStack,
    *,
    processes: int | None = None,
    wall_s: float | None = None,
) -> Preparation:
    """The preparation of images. The processes that decode images end with ``stack``.

    Args:
        job: Says what is prepared.
        contents: Reads images.
        sending: How they are examined.
        stack: See above.
        processes: Most of these processes; by default one for each core.
        wall_s: Time for one picture, seconds; by default that of ``DecoderPool``.
    """
    # Not needed by most runs.
    from asyncfilter.pictures.decoder_pool import DecoderPool  # noqa: PLC0415
    from asyncfilter.pictures.prepare import ImagePreparer  # noqa: PLC0415

    decoding_bytes = job.limits.decoding_mb * 1_000_000
    decoders = DecoderPool(decoding_bytes=decoding_bytes, processes=processes, wall_s=wall_s)
    return ImagePreparer(
        contents=contents,
        detector=sending.detector,
        send=sending.send,
        limits=PROFILES[job.detector.kind].image_limits,
        by_reference=sending.by_reference,
        converts=job.convert,
        compares=job.near_duplicates,
        decoders=stack.enter_context(decoders),
        lanes=sending.lanes,
    )
