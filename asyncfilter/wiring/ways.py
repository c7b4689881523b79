"""What a run is given beside its job: store, detector, and what looks at images before they are paid for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from asyncfilter.engine.core.backends import DetectorBackend
from asyncfilter.engine.way import Way
from asyncfilter.job.spec import Job, Precheck
from asyncfilter.model import ListedObject, Skip
from asyncfilter.policy.acceptance import MAX_CONVERTED_BYTES
from asyncfilter.policy.admission import free_check
from asyncfilter.policy.detectors import PROFILES
from asyncfilter.policy.globs import KeyFilter
from asyncfilter.ports import Preparation, Sink, Source
from asyncfilter.wiring.account import Account, concurrency
from asyncfilter.wiring.detectors import OPENERS, OpenDetector, own_backend
from asyncfilter.wiring.stores import Store, open_store
from asyncfilter.wiring.world import Overrides, check_own_stores


@asynccontextmanager
async def open_inputs(job: Job, overrides: Overrides, *, pays: bool = True) -> AsyncIterator[tuple[Way, Sink]]:
    """The inputs of a run, and its sink.

    Args:
        job: Says what to open.
        overrides: Ports of the caller's, which take the place of those.
        pays: False for a run that only looks, for which a model need not be running.

    Raises:
        UsageError: The job names a store of the caller's, and one of its ports is missing.
        AccessError: The job cannot work; the message says why, the hint what to do.
    """
    check_own_stores(job, overrides, "source", "detector", "sink")
    async with AsyncExitStack() as stack:
        account = Account(job, stack)
        store = await open_store(job, overrides, account)
        if overrides.detector is not None:
            backend, preparation = own_backend(job, overrides.detector), overrides.preparation
        else:
            opened = await OPENERS[job.detector.kind](job, account, store.region, pays=pays)
            backend, preparation = opened.backend, overrides.preparation or _preparation(job, store, opened)
        yield inputs_of(job, store.source, backend, preparation), store.sink


def inputs_of(job: Job, source: Source, backend: DetectorBackend, preparation: Preparation | None = None) -> Way:
    """The inputs of a run over ``source``.

    Args:
        job: Says which of the listed objects count.
        source: Lists what is examined.
        backend: Examines it, and says what that costs.
        preparation: Looks at images before they are paid for.
    """
    return Way(
        source=source,
        check=_check(job),
        backends=(backend,),
        concurrency=concurrency(job.limits, backend.limit_tps),
        preparation=preparation,
    )


def _check(job: Job) -> Callable[[ListedObject], Skip | None]:
    """Why a listed object is not examined; what is converted may be larger than what the service takes."""
    keys = KeyFilter(job.source.include, job.source.exclude)
    max_bytes = MAX_CONVERTED_BYTES if job.convert else PROFILES[job.detector.kind].image_limits.max_object_bytes
    return lambda listed: free_check(listed, keys, max_bytes)


def _preparation(job: Job, store: Store, opened: OpenDetector) -> Preparation | None:
    """What looks at images before they are paid for; None when the job leaves that to the service."""
    by_reference = store.region == opened.backend.region
    if by_reference and job.precheck is Precheck.NONE and not (job.convert or job.near_duplicates):
        return None
    if store.contents is None:
        return None
    from asyncfilter.datasets.preparing import Preparer  # noqa: PLC0415  Pillow, which most runs do not need

    return Preparer(
        contents=store.contents,
        detector=opened.backend.detector,
        send=opened.send,
        limits=PROFILES[job.detector.kind].image_limits,
        by_reference=by_reference,
        converts=job.convert,
        compares=job.near_duplicates,
    )
