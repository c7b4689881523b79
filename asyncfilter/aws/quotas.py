"""The account's quota of calls a second: from Service Quotas, else the documented default."""

from __future__ import annotations

import math

from asyncfilter.aws.clients.error_response import ErrorResponseError, Operation
from asyncfilter.aws.deadline import fail_after
from asyncfilter.aws.session import AwsSession
from asyncfilter.aws.transport_errors import vendor_translated
from asyncfilter.errors import AsyncFilterError
from asyncfilter.job.spec import DetectorKind
from asyncfilter.policy.detectors import PROFILES
from asyncfilter.policy.quota import QuotaAnswer, QuotaOrigin

SERVICE_CODE = "rekognition"
"""The service's code in Service Quotas."""

_PATIENCE_S = 5.0
"""Longest wait for Service Quotas: a private network often has no route to it."""


async def quota_tps(session: AwsSession, kind: DetectorKind, region: str) -> QuotaAnswer:
    """Look up the quota of a detector; never fails, since a run can always start from the documented value.

    Args:
        session: The account.
        kind: The detector.
        region: The detector's region.
    """
    profile = PROFILES[kind]
    sources = (
        (Operation.GET_SERVICE_QUOTA, "get_service_quota", QuotaOrigin.APPLIED),
        (Operation.GET_AWS_DEFAULT_SERVICE_QUOTA, "get_aws_default_service_quota", QuotaOrigin.DEFAULT),
    )
    reasons = []
    for operation, method, origin in sources:
        try:
            return QuotaAnswer(await _ask(session, operation, method, profile.quota_code, region), origin)
        except (AsyncFilterError, ErrorResponseError) as exc:
            reasons.append(str(exc))
    return QuotaAnswer(profile.documented_tps(region), QuotaOrigin.DOCUMENTED, "; ".join(reasons))


async def _ask(session: AwsSession, operation: Operation, method: str, code: str, region: str) -> float:
    client = await session.client("service-quotas", region)
    patience_s = min(_PATIENCE_S, session.timeout_s)
    await session.quota_requests.acquire()
    with vendor_translated(operation, f"{SERVICE_CODE} {code} in {region}"), fail_after(patience_s):
        response = await getattr(client, method)(ServiceCode=SERVICE_CODE, QuotaCode=code)
        return _positive(response["Quota"]["Value"])


def _positive(value: object) -> float:
    """A quota as a number of calls a second.

    Raises:
        ValueError: It is no number, not finite, or not positive.
    """
    tps = float(str(value))
    if not (math.isfinite(tps) and tps > 0):
        raise ValueError(f"{value!r} is no quota")
    return tps
