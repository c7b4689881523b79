"""What ``doctor`` looks at of the lanes of a job."""

from __future__ import annotations

from contextlib import AsyncExitStack

from asyncfilter.engine.core.backends import DetectorBackend
from asyncfilter.errors import AsyncFilterError
from asyncfilter.job.spec import Job
from asyncfilter.model import StoreKind
from asyncfilter.policy.findings import Finding, Health
from asyncfilter.policy.quota import QuotaOrigin
from asyncfilter.report import formatting
from asyncfilter.wiring.account import LEAST_IN_FLIGHT, Account


async def of_lanes(job: Job | None) -> list[Finding]:
    """Each lane as a run opens it; nothing for a job without lanes. Nothing is called that is paid for."""
    if job is None or not job.detector.lanes:
        return []
    from asyncfilter.wiring.lanes import open_lanes  # noqa: PLC0415  not needed by most jobs

    try:
        async with AsyncExitStack() as stack:
            account = Account(job, stack, connections=LEAST_IN_FLIGHT)
            session = (await account.clients()).session
            is_s3 = job.source.store is StoreKind.S3
            bucket_region = await session.bucket_region(job.source.bucket) if is_s3 else None
            opened = await open_lanes(job, account, bucket_region, stack)
    except AsyncFilterError as error:
        return [Finding.failed("lanes", error)]
    cautions = [Finding(name="lanes", health=Health.WARNING, text=caution) for caution in opened.cautions]
    return [*(_found(lane.backend) for lane in opened.lanes), *cautions]


def _found(lane: DetectorBackend) -> Finding:
    rate = "" if lane.limit_tps is None else f", {formatting.tps(lane.limit_tps)} calls a second ({lane.tps_origin})"
    text = f"{lane.name}: account {lane.account or 'unknown'} in {lane.region}{rate}, by {lane.by}"
    facts = {"name": lane.name, "region": lane.region, "account": lane.account, "tps": lane.limit_tps, "by": lane.by}
    if lane.quota is None or lane.quota.origin is not QuotaOrigin.DOCUMENTED:
        return Finding(name="lane", health=Health.OK, text=text, facts=facts)
    hint = "Allow servicequotas:GetServiceQuota there, or set tps of the lane."
    return Finding(name="lane", health=Health.WARNING, text=f"{text}: {lane.quota.reason}", hint=hint, facts=facts)
