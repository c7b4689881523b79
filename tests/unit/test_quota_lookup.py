"""How Service Quotas is asked."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from itertools import pairwise
from typing import Any

import anyio
import pytest

from asyncfilter.aws import AwsSession, quota_tps
from asyncfilter.aws.session import QUOTA_REQUESTS_TPS
from asyncfilter.job.spec import Aws, DetectorKind
from asyncfilter.policy.quota import QuotaOrigin
from asyncfilter.testing.virtual import VirtualLoop


class TickingLoop(VirtualLoop):
    """Virtual time in which every look at the clock takes a nanosecond.

    aiolimiter sets a timer for what rounding left in its bucket; in a clock that stands still it would do so for ever.
    """

    looks = 0

    def time(self) -> float:
        """See ``VirtualLoop``."""
        self.looks += 1
        return super().time() + self.looks * 1e-9


class ServiceQuotas:
    """Knows no quota, and remembers when each request came; seconds of the loop's clock."""

    def __init__(self) -> None:
        self.asked_s: list[float] = []

    async def get_service_quota(self, **_: str) -> dict[str, Any]:
        return await self._answer()

    async def get_aws_default_service_quota(self, **_: str) -> dict[str, Any]:
        return await self._answer()

    async def _answer(self) -> dict[str, Any]:
        self.asked_s.append(asyncio.get_running_loop().time())
        await anyio.sleep(0.01)
        raise TimeoutError


def test_all_who_ask_in_one_session_share_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many quotas of however many regions are asked at once, requests leave at the documented rate."""
    service = ServiceQuotas()
    origins: list[QuotaOrigin] = []

    async def client(_session: AwsSession, _service: str, _region: str) -> ServiceQuotas:
        return service

    async def main() -> None:
        async with AsyncExitStack() as stack, anyio.create_task_group() as tasks:
            session = AwsSession(Aws(), timeout_s=15, connections=4, stack=stack)

            async def ask(kind: DetectorKind, region: str) -> None:
                origins.append((await quota_tps(session, kind, region)).origin)

            for region in ("us-east-1", "eu-west-1", "eu-central-1"):
                for kind in DetectorKind:
                    tasks.start_soon(ask, kind, region)

    monkeypatch.setattr(AwsSession, "client", client)
    anyio.run(main, backend_options={"loop_factory": TickingLoop})
    assert origins == [QuotaOrigin.DOCUMENTED] * 6
    assert len(service.asked_s) == 12
    gaps_s = [later - sooner for sooner, later in pairwise(service.asked_s)]
    assert min(gaps_s) == pytest.approx(1 / QUOTA_REQUESTS_TPS, rel=0.01)
    assert max(gaps_s) == pytest.approx(1 / QUOTA_REQUESTS_TPS, rel=0.01)
