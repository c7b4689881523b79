"""The calls of a model service, each operation at a steady rate, repeated where that is safe.

A look is repeated until the service answers or ``PATIENCE_S`` is over. A change is repeated only while it certainly was
not carried out: after a throttle, or when nothing was sent. Where that is not certain its error is raised, and the
caller looks what happened before it asks again; so nothing is made, or paid for, twice.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import TypeVar

from aiolimiter import AsyncLimiter

from asyncfilter.clock import Clock
from asyncfilter.errors import ThrottledError, TransientError
from asyncfilter.model import S3Location
from asyncfilter.policy.retrying import RetrySchedule
from asyncfilter.ports.model_service import (
    Dataset,
    DatasetLabel,
    DatasetType,
    ListPage,
    ModelService,
    ModelVersion,
    Project,
)

CALLS_A_SECOND = 4.0
"""Most calls of one operation; the quota is 5 (facts of the service's quotas, each operation of the control plane)."""

MAX_ATTEMPTS = 5
"""Attempts of one call that may fail for another reason than the rate."""

PATIENCE_S = 600.0
"""Longest time of throttles without a break, seconds."""

T = TypeVar("T")


class PacedService:
    """``ModelService`` over one whose methods make one attempt each.

    Args:
        service: Makes the attempts.
        clock: Waits between them.
        rng: Draws the jitter of waits.
    """

    def __init__(self, service: ModelService, *, clock: Clock, rng: Random | None = None) -> None:
        self._service = service
        self._clock = clock
        self._rng = rng or Random()
        self._limiters: dict[str, AsyncLimiter] = {}

    @property
    def region(self) -> str:
        """See ``ModelService``."""
        return self._service.region

    @property
    def endpoint(self) -> str:
        """See ``ModelService``."""
        return self._service.endpoint

    # -- Looks

    async def describe_projects(self, *, names: Sequence[str] = (), token: str | None = None) -> ListPage[Project]:
        """See ``ModelService``."""
        return await self._look("DescribeProjects", lambda: self._service.describe_projects(names=names, token=token))

    async def describe_dataset(self, dataset_arn: str) -> Dataset:
        """See ``ModelService``."""
        return await self._look("DescribeDataset", lambda: self._service.describe_dataset(dataset_arn))

    async def list_entries(
        self,
        dataset_arn: str,
        *,
        token: str | None = None,
        has_errors: bool | None = None,
        labeled: bool | None = None,
        source_ref_contains: str | None = None,
        labels: Sequence[str] = (),
    ) -> ListPage[str]:
        """See ``ModelService``."""
        return await self._look(
            "ListDatasetEntries",
            lambda: self._service.list_entries(
                dataset_arn,
                token=token,
                has_errors=has_errors,
                labeled=labeled,
                source_ref_contains=source_ref_contains,
                labels=labels,
            ),
        )

    async def list_labels(self, dataset_arn: str, *, token: str | None = None) -> ListPage[DatasetLabel]:
        """See ``ModelService``."""
        return await self._look("ListDatasetLabels", lambda: self._service.list_labels(dataset_arn, token=token))

    async def describe_versions(
        self, project_arn: str, *, names: Sequence[str] = (), token: str | None = None
    ) -> ListPage[ModelVersion]:
        """See ``ModelService``."""
        return await self._look(
            "DescribeProjectVersions",
            lambda: self._service.describe_versions(project_arn, names=names, token=token),
        )

    # -- Changes

    async def create_project(self, name: str) -> str:
        """See ``ModelService``."""
        return await self._change("CreateProject", lambda: self._service.create_project(name))

    async def delete_project(self, project_arn: str) -> None:
        """See ``ModelService``."""
        await self._change("DeleteProject", lambda: self._service.delete_project(project_arn))

    async def create_dataset(self, project_arn: str, kind: DatasetType, *, manifest: S3Location | None = None) -> str:
        """See ``ModelService``."""
        return await self._change(
            "CreateDataset", lambda: self._service.create_dataset(project_arn, kind, manifest=manifest)
        )

    async def update_entries(self, dataset_arn: str, lines: bytes) -> None:
        """See ``ModelService``."""
        await self._change("UpdateDatasetEntries", lambda: self._service.update_entries(dataset_arn, lines))

    async def distribute_entries(self, train_arn: str, test_arn: str) -> None:
        """See ``ModelService``."""
        await self._change("DistributeDatasetEntries", lambda: self._service.distribute_entries(train_arn, test_arn))

    async def delete_dataset(self, dataset_arn: str) -> None:
        """See ``ModelService``."""
        await self._change("DeleteDataset", lambda: self._service.delete_dataset(dataset_arn))

    async def create_version(
        self, project_arn: str, name: str, *, output: S3Location, kms_key: str | None = None
    ) -> str:
        """See ``ModelService``."""
        return await self._change(
            "CreateProjectVersion",
            lambda: self._service.create_version(project_arn, name, output=output, kms_key=kms_key),
        )

    async def delete_version(self, version_arn: str) -> None:
        """See ``ModelService``."""
        await self._change("DeleteProjectVersion", lambda: self._service.delete_version(version_arn))

    async def start_version(self, version_arn: str, *, min_units: int, max_units: int | None = None) -> str:
        """See ``ModelService``."""
        return await self._change(
            "StartProjectVersion",
            lambda: self._service.start_version(version_arn, min_units=min_units, max_units=max_units),
        )

    async def stop_version(self, version_arn: str) -> str:
        """See ``ModelService``."""
        return await self._change("StopProjectVersion", lambda: self._service.stop_version(version_arn))

    # -- Attempts

    async def _look(self, operation: str, attempt: Callable[[], Awaitable[T]]) -> T:
        return await self._repeat(operation, attempt, lambda _error: True)

    async def _change(self, operation: str, attempt: Callable[[], Awaitable[T]]) -> T:
        return await self._repeat(operation, attempt, is_certainly_undone)

    async def _repeat(
        self,
        operation: str,
        attempt: Callable[[], Awaitable[T]],
        may_repeat: Callable[[ThrottledError | TransientError], bool],
    ) -> T:
        limiter = self._limiters.setdefault(operation, AsyncLimiter(1, 1 / CALLS_A_SECOND))
        schedule = RetrySchedule(max_attempts=MAX_ATTEMPTS, rng=self._rng)
        give_up_at = self._clock.monotonic() + PATIENCE_S
        while True:
            await limiter.acquire()
            try:
                return await attempt()
            except (ThrottledError, TransientError) as error:
                delay_s = schedule.delay_s(error) if may_repeat(error) else None
                if delay_s is None or self._clock.monotonic() + delay_s > give_up_at:
                    raise
            await self._clock.sleep(delay_s)


def is_certainly_undone(error: ThrottledError | TransientError) -> bool:
    """Whether a change that failed with ``error`` was certainly not carried out."""
    return not (error.may_be_done if isinstance(error, ThrottledError) else error.may_be_billed)
