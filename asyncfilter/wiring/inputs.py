"""The inputs of a run beside its job: store, detector, and the preparation of images before they are paid for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import msgspec

from asyncfilter.engine.core.backends import DetectorBackend
from asyncfilter.engine.examine.inputs import RunInputs
from asyncfilter.errors import UsageError
from asyncfilter.job.spec import Job, Precheck
from asyncfilter.model import Detection, ListedObject, ObjectRef, Skip
from asyncfilter.policy.detectors import PROFILES
from asyncfilter.policy.globs import KeyFilter
from asyncfilter.policy.image_limits import MAX_CONVERTED_BYTES
from asyncfilter.policy.object_filter import skip_reason
from asyncfilter.ports.examine import Contents, Detector, Preparation, Sink, Source
from asyncfilter.wiring.account import Account, concurrency
from asyncfilter.wiring.detectors import OPENERS, OpenDetector, own_backend
from asyncfilter.wiring.lists import open_list
from asyncfilter.wiring.model_use import ModelUse
from asyncfilter.wiring.overrides import Overrides, check_own_stores
from asyncfilter.wiring.stores import Store, open_store

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
    if job.detector.lanes and overrides.detector is None:
        raise UsageError("detector.lanes cannot be opened yet", hint="Leave detector.lanes out.")
    async with AsyncExitStack() as stack:
        account = Account(job, stack)
        store = await open_store(job, overrides, account)
        if overrides.detector is not None:
            backend, preparation = own_backend(job, overrides.detector), overrides.preparation
            cautions = store.cautions
        else:
            opened = await OPENERS[job.detector.kind](job, account, store.region, use=use)
            if opened.close is not None:
                stack.callback(opened.close)
            if use is not None and opened.backend.held_model is not None:
                stack.push_async_callback(use.stop, opened.backend.held_model)
            backend, preparation = opened.backend, overrides.preparation or _preparation(job, store, opened, stack)
            cautions = (*store.cautions, *opened.cautions)
        inputs = inputs_of(job, store.source, backend, preparation, cautions=cautions)
        by_reference = store.region == backend.region
        inputs = msgspec.structs.replace(inputs, places=store.places, by_reference=by_reference)
        yield await _with_list(job, inputs, store, account), store.sink


async def _with_list(job: Job, inputs: RunInputs, store: Store, account: Account) -> RunInputs:
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


def _preparation(job: Job, store: Store, opened: OpenDetector, stack: AsyncExitStack) -> Preparation | None:
    """The preparation of images before they are paid for; None when the service reads them as they are."""
    by_reference = store.region == opened.backend.region
    if store.contents is None or not needs_preparation(job, by_reference=by_reference):
        return None
    detector = opened.backend.detector
    return preparation_of(job, store.contents, detector, opened.send, by_reference=by_reference, stack=stack)


def needs_preparation(job: Job, *, by_reference: bool) -> bool:
    """Whether images are looked at before they are paid for; else the service reads them as they are."""
    return not by_reference or job.precheck is not Precheck.NONE or job.convert or job.near_duplicates


def preparation_of(
    job: Job,
    contents: Contents,
    detector: Detector,
    send: Send,
    *,
    by_reference: bool,
    stack: AsyncExitStack,
    processes: int | None = None,
    wall_s: float | None = None,
) -> Preparation:
    """The preparation of images. The processes that decode images end with ``stack``.

    Args:
        job: Says what is prepared.
        contents: Reads images.
        detector: Examines them by reference.
        send: Examines bytes.
        by_reference: False when every image must be sent.
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
        detector=detector,
        send=send,
        limits=PROFILES[job.detector.kind].image_limits,
        by_reference=by_reference,
        converts=job.convert,
        compares=job.near_duplicates,
        decoders=stack.enter_context(decoders),
    )
