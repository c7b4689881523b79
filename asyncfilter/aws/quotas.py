"""How many calls a second the account may make: what Service Quotas says, else what AWS documents."""

from __future__ import annotations

import anyio

from asyncfilter.aws.answers import AnsweredError, Operation
from asyncfilter.aws.failures import vendor_translated
from asyncfilter.aws.session import AwsSession
from asyncfilter.errors import AsyncFilterError
from asyncfilter.job.spec import DetectorKind
from asyncfilter.policy.detectors import PROFILES
from asyncfilter.policy.quota import QuotaAnswer, QuotaOrigin

SERVICE_CODE = "rekognition"
"""The service as Service Quotas names it."""

_PATIENCE_S = 5.0
"""Longest wait for Service Quotas: a private network often has no way to it."""


async def quota_tps(session: AwsSession, kind: DetectorKind, region: str) -> QuotaAnswer:
    """Look the quota of a detector up; never fails, since a run can always start from the documented value.

    Args:
        session: The account.
        kind: The detector.
        region: The detector's region.
    """
    profile = PROFILES[kind]
    asked = (
        (Operation.GET_SERVICE_QUOTA, "get_service_quota", QuotaOrigin.APPLIED),
        (Operation.GET_AWS_DEFAULT_SERVICE_QUOTA, "get_aws_default_service_quota", QuotaOrigin.DEFAULT),
    )
    reasons = []
    for operation, method, origin in asked:
        try:
            return QuotaAnswer(await _ask(session, operation, method, profile.quota_code, region), origin)
        except (AsyncFilterError, AnsweredError) as exc:
            reasons.append(str(exc))
    return QuotaAnswer(profile.documented_tps(region), QuotaOrigin.DOCUMENTED, "; ".join(reasons))


async def _ask(session: AwsSession, operation: Operation, method: str, code: str, region: str) -> float:
    client = await session.client("service-quotas", region)
    patience_s = min(_PATIENCE_S, session.timeout_s)
    await session.quota_requests.acquire()
    with vendor_translated(operation, f"{SERVICE_CODE} {code} in {region}"), anyio.fail_after(patience_s):
        answer = await getattr(client, method)(ServiceCode=SERVICE_CODE, QuotaCode=code)
    return float(answer["Quota"]["Value"])
