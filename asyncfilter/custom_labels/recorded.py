"""A model service, and the files beside it, whose changes are all in the ledger before they are asked for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import BinaryIO, TypeVar

from asyncfilter.custom_labels.call_log import CallLog, CallState
from asyncfilter.custom_labels.paced import is_certainly_undone
from asyncfilter.errors import AsyncFilterError, ThrottledError, TransientError
from asyncfilter.model import S3Location
from asyncfilter.ports.model_service import (
    Dataset,
    DatasetLabel,
    DatasetType,
    ListPage,
    ModelService,
    ModelVersion,
    ObjectFiles,
    Project,
)

T = TypeVar("T")


class _Recorder:
    """Writes calls to the log, around them."""

    def __init__(self, log: CallLog, *, endpoint: str, region: str) -> None:
        self._log = log
        self._endpoint = endpoint
        self._region = region

    async def __call__(
        self, operation: str, subject: str, parameters: Mapping[str, object], call: Callable[[], Awaitable[T]]
    ) -> T:
        row = self._log.begin(operation, subject, parameters, endpoint=self._endpoint, region=self._region)
        try:
            answer = await call()
        except AsyncFilterError as error:
            self._log.end(row, _state_after(error), error.message)
            raise
        self._log.end(row, CallState.DONE, "" if answer is None else str(answer))
        return answer


def _state_after(error: AsyncFilterError) -> CallState:
    is_uncertain = isinstance(error, ThrottledError | TransientError) and not is_certainly_undone(error)
    return CallState.UNKNOWN if is_uncertain else CallState.REFUSED


class RecordedService:
    """``ModelService`` over another one, with a record of its changes.

    Args:
        service: Makes the calls.
        log: The ledger's record.
    """

    def __init__(self, service: ModelService, log: CallLog) -> None:
        self._service = service
        self._record = _Recorder(log, endpoint=service.endpoint, region=service.region)

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
        return await self._service.describe_projects(names=names, token=token)

    async def describe_dataset(self, dataset_arn: str) -> Dataset:
        """See ``ModelService``."""
        return await self._service.describe_dataset(dataset_arn)

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
        return await self._service.list_entries(
            dataset_arn,
            token=token,
            has_errors=has_errors,
            labeled=labeled,
            source_ref_contains=source_ref_contains,
            labels=labels,
        )

    async def list_labels(self, dataset_arn: str, *, token: str | None = None) -> ListPage[DatasetLabel]:
        """See ``ModelService``."""
        return await self._service.list_labels(dataset_arn, token=token)

    async def describe_versions(
        self, project_arn: str, *, names: Sequence[str] = (), token: str | None = None
    ) -> ListPage[ModelVersion]:
        """See ``ModelService``."""
        return await self._service.describe_versions(project_arn, names=names, token=token)

    # -- Changes

    async def create_project(self, name: str) -> str:
        """See ``ModelService``."""
        return await self._record("CreateProject", name, {}, lambda: self._service.create_project(name))

    async def delete_project(self, project_arn: str) -> None:
        """See ``ModelService``."""
        await self._record("DeleteProject", project_arn, {}, lambda: self._service.delete_project(project_arn))

    async def create_dataset(self, project_arn: str, kind: DatasetType, *, manifest: S3Location | None = None) -> str:
        """See ``ModelService``."""
        return await self._record(
            "CreateDataset",
            project_arn,
            {"type": kind.value, "manifest": None if manifest is None else manifest.uri},
            lambda: self._service.create_dataset(project_arn, kind, manifest=manifest),
        )

    async def update_entries(self, dataset_arn: str, lines: bytes) -> None:
        """See ``ModelService``."""
        await self._record(
            "UpdateDatasetEntries",
            dataset_arn,
            {"bytes": len(lines), "lines": lines.count(b"\n")},
            lambda: self._service.update_entries(dataset_arn, lines),
        )

    async def distribute_entries(self, train_arn: str, test_arn: str) -> None:
        """See ``ModelService``."""
        await self._record(
            "DistributeDatasetEntries",
            train_arn,
            {"test": test_arn},
            lambda: self._service.distribute_entries(train_arn, test_arn),
        )

    async def delete_dataset(self, dataset_arn: str) -> None:
        """See ``ModelService``."""
        await self._record("DeleteDataset", dataset_arn, {}, lambda: self._service.delete_dataset(dataset_arn))

    async def create_version(
        self, project_arn: str, name: str, *, output: S3Location, kms_key: str | None = None
    ) -> str:
        """See ``ModelService``."""
        return await self._record(
            "CreateProjectVersion",
            project_arn,
            {"version": name, "output": output.uri, "kms_key": kms_key},
            lambda: self._service.create_version(project_arn, name, output=output, kms_key=kms_key),
        )

    async def delete_version(self, version_arn: str) -> None:
        """See ``ModelService``."""
        await self._record("DeleteProjectVersion", version_arn, {}, lambda: self._service.delete_version(version_arn))

    async def start_version(self, version_arn: str, *, min_units: int, max_units: int | None = None) -> str:
        """See ``ModelService``."""
        return await self._record(
            "StartProjectVersion",
            version_arn,
            {"min_units": min_units, "max_units": max_units},
            lambda: self._service.start_version(version_arn, min_units=min_units, max_units=max_units),
        )

    async def stop_version(self, version_arn: str) -> str:
        """See ``ModelService``."""
        return await self._record(
            "StopProjectVersion", version_arn, {}, lambda: self._service.stop_version(version_arn)
        )


class RecordedFiles:
    """``ObjectFiles`` over others, with a record of what is written.

    Args:
        files: Reads and writes.
        log: The ledger's record.
        endpoint: Of the service beside them.
        region: Of the service beside them.
    """

    def __init__(self, files: ObjectFiles, log: CallLog, *, endpoint: str, region: str) -> None:
        self._files = files
        self._record = _Recorder(log, endpoint=endpoint, region=region)

    async def size_bytes(self, place: S3Location) -> int | None:
        """See ``ObjectFiles``."""
        return await self._files.size_bytes(place)

    async def read(self, place: S3Location, out: BinaryIO) -> bool:
        """See ``ObjectFiles``."""
        return await self._files.read(place, out)

    async def write(self, place: S3Location, content: BinaryIO, size_bytes: int) -> None:
        """See ``ObjectFiles``."""
        await self._record(
            "PutObject", place.uri, {"bytes": size_bytes}, lambda: self._files.write(place, content, size_bytes)
        )
