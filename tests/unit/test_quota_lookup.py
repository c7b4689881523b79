"""Requests to Service Quotas."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from itertools import pairwise
from typing import Any

import anyio
import pytest

from asyncfilter.aws import AwsSession, quota_tps
from asyncfilter.aws.session import QUOTA_REQUESTS_TPS
from asyncfilter.job.spec import LOCAL_KINDS, Aws, DetectorKind
from asyncfilter.policy.quota import QuotaOrigin
from asyncfilter.testing.virtual import VirtualLoop


class TickingLoop(VirtualLoop):
    """Virtual time in which every read of the clock takes a nanosecond.

    aiolimiter sets a timer for the rounding error in its bucket; with a clock that does not advance it would never end.
    """

    reads = 0

    def time(self) -> float:
        """See ``VirtualLoop``."""
        self.reads += 1
        return super().time() + self.reads * 1e-9


class ServiceQuotas:
    """A service without quotas that records the time of each request, in seconds of the loop's clock."""

    def __init__(self) -> None:
        self.requested_s: list[float] = []

    async def get_service_quota(self, **_: str) -> dict[str, Any]:
        return await self._answer()

    async def get_aws_default_service_quota(self, **_: str) -> dict[str, Any]:
        return await self._answer()

    async def _answer(self) -> dict[str, Any]:
        self.requested_s.append(asyncio.get_running_loop().time())
        await anyio.sleep(0.01)
        raise TimeoutError


def test_all_requests_of_one_session_share_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """For any number of quotas and regions at once, requests are sent at the documented rate."""
    service = ServiceQuotas()
    origins: list[QuotaOrigin] = []

    async def client(_session: AwsSession, _service: str, _region: str) -> ServiceQuotas:
        return service

    async def main() -> None:
        async with AsyncExitStack() as stack, anyio.create_task_group() as tasks:
            session = AwsSession(Aws(), timeout_s=15, connections=4, stack=stack)

            async def look_up(kind: DetectorKind, region: str) -> None:
                origins.append((await quota_tps(session, kind, region)).origin)

            for region in ("us-east-1", "eu-west-1", "eu-central-1"):
                for kind in set(DetectorKind) - LOCAL_KINDS:
                    tasks.start_soon(look_up, kind, region)

    monkeypatch.setattr(AwsSession, "client", client)
    anyio.run(main, backend_options={"loop_factory": TickingLoop})
    assert origins == [QuotaOrigin.DOCUMENTED] * 6
    assert len(service.requested_s) == 12
    gaps_s = [later - sooner for sooner, later in pairwise(service.requested_s)]
    assert min(gaps_s) == pytest.approx(1 / QUOTA_REQUESTS_TPS, rel=0.01)
    assert max(gaps_s) == pytest.approx(1 / QUOTA_REQUESTS_TPS, rel=0.01)
