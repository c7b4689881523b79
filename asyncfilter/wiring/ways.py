"""The way of a run: source, detector, sink and what they may use, made for S3 and for folders."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from asyncfilter.aws import (
    describe_model,
    open_aws,
    open_detector,
    open_ports,
    quota_tps,
)
from asyncfilter.aws.rekognition import RekognitionDetector
from asyncfilter.aws.session import AwsSession
from asyncfilter.datasets.folder import FolderContents, FolderSink, FolderSource, check_folder
from asyncfilter.engine.way import Way
from asyncfilter.errors import AccessError
from asyncfilter.job.spec import DetectorKind, Job, Precheck
from asyncfilter.policy.acceptance import MAX_CONVERTED_BYTES, limits_of
from asyncfilter.policy.admission import MAX_OBJECT_BYTES, free_check
from asyncfilter.policy.globs import KeyFilter
from asyncfilter.policy.pricing import price_list
from asyncfilter.policy.quota import QuotaAnswer
from asyncfilter.ports import (
    Contents,
    Detector,
    Preparation,
    Sink,
    Source,
)
from asyncfilter.wiring.concurrency import concurrency, most_connections
from asyncfilter.wiring.world import Overrides, check_own_stores


@asynccontextmanager
async def open_way(job: Job, overrides: Overrides, *, pays: bool = True) -> AsyncIterator[tuple[Way, Sink]]:
    """The way of a run; with ``pays`` false, of one that only looks, for which a model need not be running."""
    check_own_stores(job, overrides, "source", "detector", "sink")
    if overrides.source is not None and overrides.detector is not None and overrides.sink is not None:
        yield own_way(job, overrides.source, overrides.detector, overrides.preparation), overrides.sink
        return
    if job.source.folder is not None:
        async with _folder_way(job, job.source.folder, overrides, pays=pays) as opened:
            yield opened
        return
    async with (
        open_aws(job.aws, timeout_s=job.limits.timeout_s, connections=most_connections()) as session,
        open_ports(job, session) as ports,
    ):
        preparation = overrides.preparation
        if preparation is None and overrides.detector is None:
            preparation = _preparation(
                job, ports.contents, ports.detector, by_reference=ports.region == ports.bucket_region
            )
        way = await aws_way(
            job,
            session,
            overrides.source or ports.source,
            overrides.detector or ports.detector,
            region=ports.region,
            preparation=preparation,
            pays=pays,
        )
        yield way, overrides.sink or ports.sink


@asynccontextmanager
async def _folder_way(job: Job, folder: Path, overrides: Overrides, *, pays: bool) -> AsyncIterator[tuple[Way, Sink]]:
    """Files are listed, copied and linked here, and sent by their bytes."""
    source, sink = overrides.source or FolderSource(folder), overrides.sink or FolderSink(folder)
    check_folder(folder)
    if overrides.detector is not None:
        yield own_way(job, source, overrides.detector, overrides.preparation), sink
        return
    async with (
        open_aws(job.aws, timeout_s=job.limits.timeout_s, connections=most_connections()) as session,
        open_detector(job, session) as (detector, region),
    ):
        preparation = overrides.preparation or _preparation(job, FolderContents(), detector, by_reference=False)
        way = await aws_way(job, session, source, detector, region=region, preparation=preparation, pays=pays)
        yield way, sink


@asynccontextmanager
async def open_sink(job: Job) -> AsyncIterator[Sink]:
    """The sink alone, for a run over stored labels."""
    if job.source.folder is not None:
        yield FolderSink(job.source.folder)
        return
    async with (
        open_aws(job.aws, timeout_s=job.limits.timeout_s, connections=most_connections()) as session,
        open_ports(job, session) as ports,
    ):
        yield ports.sink


def _preparation(
    job: Job, contents: Contents, detector: RekognitionDetector, *, by_reference: bool
) -> Preparation | None:
    """What looks at images before they are paid for; None when the job leaves that to the service."""
    if by_reference and job.precheck is Precheck.NONE and not (job.convert or job.near_duplicates):
        return None
    from asyncfilter.datasets.preparing import Preparer  # noqa: PLC0415  Pillow, which most runs do not need

    return Preparer(
        contents=contents,
        detector=detector,
        send=detector.detect_content,
        limits=limits_of(job.detector.kind),
        by_reference=by_reference,
        converts=job.convert,
        compares=job.near_duplicates,
    )


async def aws_way(
    job: Job,
    session: AwsSession,
    source: Source,
    detector: Detector,
    *,
    region: str,
    preparation: Preparation | None,
    pays: bool,
) -> Way:
    """The way whose detector is AWS's: rate from Service Quotas, prices of the region.

    Args:
        job: Whose limits and prices.
        session: Open.
        source: Lists what is examined.
        detector: Examines it.
        region: Where the detector is.
        preparation: Looks at images before they are paid for.
        pays: A Custom Labels model must be running.

    Raises:
        AccessError: The quota or the model cannot be asked about, or the model is not running.
    """
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
        concurrency=concurrency(job.limits, limit_tps),
        region=region,
        quota=quota,
        is_local=(await session.endpoint("rekognition", region)).is_loopback,
    )


def own_way(job: Job, source: Source, detector: Detector, preparation: Preparation | None) -> Way:
    """The way whose detector is the caller's: as fast as ``limits.tps``, at the prices of ``pricing.tiers``."""
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
        concurrency=concurrency(job.limits, limit_tps),
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
