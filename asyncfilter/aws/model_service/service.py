"""``ModelService`` over Rekognition Custom Labels, through aiobotocore: each call is one attempt."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from asyncfilter.aws.clients.error_response import ErrorResponseError, Operation
from asyncfilter.aws.deadline import fail_after
from asyncfilter.aws.model_service.descriptions import dataset_of, label_of, project_of, version_of
from asyncfilter.aws.model_service.refusals import refusal
from asyncfilter.aws.session import AioClient, AwsSession
from asyncfilter.aws.transport_errors import vendor_translated
from asyncfilter.model import S3Location
from asyncfilter.ports.model_service import (
    PAGE_ENTRIES,
    Dataset,
    DatasetLabel,
    DatasetType,
    ListPage,
    ModelVersion,
    Project,
)

UPLOAD_TIMEOUT_S = 120.0
"""Longest time for an update of 5 MB, seconds: at least 0.4 Mbit/s."""


class CustomLabelsService:
    """See ``ModelService``.

    Args:
        session: The account; its ``timeout_s`` is the longest time for any call but an update of entries.
        region: Of the projects.
        endpoint: Its address where that is not AWS's own; empty for AWS.
    """

    def __init__(self, session: AwsSession, region: str, *, endpoint: str = "") -> None:
        self._session = session
        self._region = region
        self._endpoint = endpoint

    @property
    def region(self) -> str:
        """See ``ModelService``."""
        return self._region

    @property
    def endpoint(self) -> str:
        """See ``ModelService``."""
        return self._endpoint

    async def describe_projects(self, *, names: Sequence[str] = (), token: str | None = None) -> ListPage[Project]:
        """See ``ModelService``."""
        asked = _given(ProjectNames=list(names), NextToken=token)
        async with self._attempt(Operation.DESCRIBE_PROJECTS, ", ".join(names) or "all projects") as client:
            found = await client.describe_projects(**asked)
            return ListPage(
                items=tuple([project_of(one) for one in found.get("ProjectDescriptions", ())]),
                token=found.get("NextToken") or None,
            )

    async def describe_dataset(self, dataset_arn: str) -> Dataset:
        """See ``ModelService``."""
        async with self._attempt(Operation.DESCRIBE_DATASET, dataset_arn) as client:
            found = await client.describe_dataset(DatasetArn=dataset_arn)
            return dataset_of(dataset_arn, found["DatasetDescription"])

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
        asked = _given(
            NextToken=token,
            HasErrors=has_errors,
            Labeled=labeled,
            SourceRefContains=source_ref_contains,
            ContainsLabels=list(labels),
        )
        async with self._attempt(Operation.LIST_DATASET_ENTRIES, dataset_arn) as client:
            found = await client.list_dataset_entries(DatasetArn=dataset_arn, MaxResults=PAGE_ENTRIES, **asked)
            return ListPage(
                items=tuple(map(str, found.get("DatasetEntries", ()))), token=found.get("NextToken") or None
            )

    async def list_labels(self, dataset_arn: str, *, token: str | None = None) -> ListPage[DatasetLabel]:
        """See ``ModelService``."""
        async with self._attempt(Operation.LIST_DATASET_LABELS, dataset_arn) as client:
            found = await client.list_dataset_labels(
                DatasetArn=dataset_arn, MaxResults=PAGE_ENTRIES, **_given(NextToken=token)
            )
            return ListPage(
                items=tuple([label_of(one) for one in found.get("DatasetLabelDescriptions", ())]),
                token=found.get("NextToken") or None,
            )

    async def describe_versions(
        self, project_arn: str, *, names: Sequence[str] = (), token: str | None = None
    ) -> ListPage[ModelVersion]:
        """See ``ModelService``."""
        asked = _given(VersionNames=list(names), NextToken=token)
        async with self._attempt(Operation.DESCRIBE_PROJECT_VERSIONS, project_arn) as client:
            found = await client.describe_project_versions(ProjectArn=project_arn, **asked)
            return ListPage(
                items=tuple([version_of(one) for one in found.get("ProjectVersionDescriptions", ())]),
                token=found.get("NextToken") or None,
            )

    async def create_project(self, name: str) -> str:
        """See ``ModelService``."""
        async with self._attempt(Operation.CREATE_PROJECT, name) as client:
            return str((await client.create_project(ProjectName=name))["ProjectArn"])

    async def delete_project(self, project_arn: str) -> None:
        """See ``ModelService``."""
        async with self._attempt(Operation.DELETE_PROJECT, project_arn) as client:
            await client.delete_project(ProjectArn=project_arn)

    async def create_dataset(self, project_arn: str, kind: DatasetType, *, manifest: S3Location | None = None) -> str:
        """See ``ModelService``."""
        source: dict[str, Any] = {}
        if manifest is not None:
            place = {"S3Object": {"Bucket": manifest.bucket, "Name": manifest.key}}
            source["DatasetSource"] = {"GroundTruthManifest": place}
        async with self._attempt(Operation.CREATE_DATASET, project_arn) as client:
            made = await client.create_dataset(ProjectArn=project_arn, DatasetType=kind.value, **source)
            return str(made["DatasetArn"])

    async def update_entries(self, dataset_arn: str, lines: bytes) -> None:
        """See ``ModelService``."""
        async with self._attempt(Operation.UPDATE_DATASET_ENTRIES, dataset_arn, UPLOAD_TIMEOUT_S) as client:
            await client.update_dataset_entries(DatasetArn=dataset_arn, Changes={"GroundTruth": lines})

    async def distribute_entries(self, train_arn: str, test_arn: str) -> None:
        """See ``ModelService``."""
        async with self._attempt(Operation.DISTRIBUTE_DATASET_ENTRIES, train_arn) as client:
            await client.distribute_dataset_entries(Datasets=[{"Arn": train_arn}, {"Arn": test_arn}])

    async def delete_dataset(self, dataset_arn: str) -> None:
        """See ``ModelService``."""
        async with self._attempt(Operation.DELETE_DATASET, dataset_arn) as client:
            await client.delete_dataset(DatasetArn=dataset_arn)

    async def create_version(
        self, project_arn: str, name: str, *, output: S3Location, kms_key: str | None = None
    ) -> str:
        """See ``ModelService``."""
        async with self._attempt(Operation.CREATE_PROJECT_VERSION, f"{project_arn} version {name}") as client:
            made = await client.create_project_version(
                ProjectArn=project_arn,
                VersionName=name,
                OutputConfig={"S3Bucket": output.bucket, "S3KeyPrefix": output.key},
                **_given(KmsKeyId=kms_key),
            )
            return str(made["ProjectVersionArn"])

    async def delete_version(self, version_arn: str) -> None:
        """See ``ModelService``."""
        async with self._attempt(Operation.DELETE_PROJECT_VERSION, version_arn) as client:
            await client.delete_project_version(ProjectVersionArn=version_arn)

    async def start_version(self, version_arn: str, *, min_units: int, max_units: int | None = None) -> str:
        """See ``ModelService``."""
        async with self._attempt(Operation.START_PROJECT_VERSION, version_arn) as client:
            started = await client.start_project_version(
                ProjectVersionArn=version_arn, MinInferenceUnits=min_units, **_given(MaxInferenceUnits=max_units)
            )
            return str(started["Status"])

    async def stop_version(self, version_arn: str) -> str:
        """See ``ModelService``."""
        async with self._attempt(Operation.STOP_PROJECT_VERSION, version_arn) as client:
            return str((await client.stop_project_version(ProjectVersionArn=version_arn))["Status"])

    @asynccontextmanager
    async def _attempt(
        self, operation: Operation, where: str, timeout_s: float | None = None
    ) -> AsyncIterator[AioClient]:
        """The client, under the attempt's deadline and with its errors translated."""
        client = await self._session.client("rekognition", self._region)
        try:
            with vendor_translated(operation, where), fail_after(timeout_s or self._session.timeout_s):
                yield client
        except ErrorResponseError as exc:
            raise refusal(exc.response) from exc


def _given(**parameters: object) -> dict[str, Any]:
    """Those of the parameters that are not empty; False is a value."""
    return {name: value for name, value in parameters.items() if value is not None and value != []}
