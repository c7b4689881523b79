"""The requests of the control plane, with the bounds of the service model."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from asyncfilter.sandbox.custom_labels import arns

ProjectArn = Annotated[str, Meta(min_length=20, max_length=2048, pattern=arns.PROJECT)]
DatasetArn = Annotated[str, Meta(min_length=20, max_length=2048, pattern=arns.DATASET)]
VersionArn = Annotated[str, Meta(min_length=20, max_length=2048, pattern=arns.VERSION)]
ResourceArn = Annotated[str, Meta(min_length=20, max_length=2048)]
Name = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^[a-zA-Z0-9_.\-]+$")]
Tags = Annotated[
    dict[Annotated[str, Meta(min_length=1, max_length=128)], Annotated[str, Meta(max_length=256)]], Meta(max_length=200)
]
Token = Annotated[str, Meta(max_length=1024)]
PageSize = Annotated[int, Meta(ge=1, le=100)]
Units = Annotated[int, Meta(ge=1)]
LARGEST_PAGE: Final = 100


class DatasetKind(StrEnum):
    """What a dataset is for."""

    TRAIN = "TRAIN"
    TEST = "TEST"


class S3Object(msgspec.Struct, rename="pascal"):
    """An object in S3."""

    bucket: Annotated[str, Meta(min_length=3, max_length=255, pattern=r"^[0-9A-Za-z\.\-_]*$")]
    name: Annotated[str, Meta(min_length=1, max_length=1024)]
    version: Annotated[str, Meta(min_length=1, max_length=1024)] | None = None


class GroundTruthManifest(msgspec.Struct, rename="pascal"):
    """A manifest in S3."""

    s3_object: S3Object | None = msgspec.field(default=None, name="S3Object")


class Asset(msgspec.Struct, rename="pascal"):
    """A manifest, as one of a list."""

    ground_truth_manifest: GroundTruthManifest | None = None


class TrainingData(msgspec.Struct, rename="pascal"):
    """The manifests of a training without datasets."""

    assets: list[Asset] = []


class TestingData(msgspec.Struct, rename="pascal"):
    """The manifests of a test without datasets, or the wish to split those of the training."""

    assets: list[Asset] = []
    auto_create: bool = False


class OutputConfig(msgspec.Struct, rename="pascal"):
    """Where a training writes its files."""

    s3_bucket: Annotated[str, Meta(min_length=3, max_length=255)] = msgspec.field(name="S3Bucket")
    s3_key_prefix: Annotated[str, Meta(max_length=1024)] = msgspec.field(default="", name="S3KeyPrefix")


class CreateProject(msgspec.Struct, rename="pascal"):
    """Request of CreateProject."""

    project_name: Name
    feature: str = "CUSTOM_LABELS"
    auto_update: str = ""
    tags: Tags = {}


class DescribeProjects(msgspec.Struct, rename="pascal"):
    """Request of DescribeProjects."""

    project_names: Annotated[list[Name], Meta(min_length=1, max_length=10)] | None = None
    next_token: Token | None = None
    max_results: PageSize = LARGEST_PAGE
    features: Annotated[list[str], Meta(min_length=1, max_length=2)] | None = None


class DeleteProject(msgspec.Struct, rename="pascal"):
    """Request of DeleteProject."""

    project_arn: ProjectArn


class DatasetSource(msgspec.Struct, rename="pascal"):
    """What a dataset is made of: a manifest, or another dataset."""

    ground_truth_manifest: GroundTruthManifest | None = None
    dataset_arn: DatasetArn | None = None


class CreateDataset(msgspec.Struct, rename="pascal"):
    """Request of CreateDataset."""

    dataset_type: DatasetKind
    project_arn: ProjectArn
    dataset_source: DatasetSource | None = None
    tags: Tags = {}


class DescribeDataset(msgspec.Struct, rename="pascal"):
    """Request of DescribeDataset."""

    dataset_arn: DatasetArn


class DatasetChanges(msgspec.Struct, rename="pascal"):
    """Lines of a manifest, as a blob in Base64."""

    ground_truth: str


class UpdateDatasetEntries(msgspec.Struct, rename="pascal"):
    """Request of UpdateDatasetEntries."""

    dataset_arn: DatasetArn
    changes: DatasetChanges


class DistributeDataset(msgspec.Struct, rename="pascal"):
    """One of the two datasets of a distribution."""

    arn: DatasetArn


class DistributeDatasetEntries(msgspec.Struct, rename="pascal"):
    """Request of DistributeDatasetEntries."""

    datasets: Annotated[list[DistributeDataset], Meta(min_length=2, max_length=2)]


class ListDatasetEntries(msgspec.Struct, rename="pascal"):
    """Request of ListDatasetEntries."""

    dataset_arn: DatasetArn
    contains_labels: (
        Annotated[list[Annotated[str, Meta(min_length=1, max_length=255)]], Meta(min_length=1, max_length=10)] | None
    ) = None
    labeled: bool | None = None
    source_ref_contains: Annotated[str, Meta(min_length=1, max_length=2048)] | None = None
    has_errors: bool | None = None
    next_token: Token | None = None
    max_results: PageSize = LARGEST_PAGE


class ListDatasetLabels(msgspec.Struct, rename="pascal"):
    """Request of ListDatasetLabels."""

    dataset_arn: DatasetArn
    next_token: Token | None = None
    max_results: PageSize = LARGEST_PAGE


class DeleteDataset(msgspec.Struct, rename="pascal"):
    """Request of DeleteDataset."""

    dataset_arn: DatasetArn


class CreateProjectVersion(msgspec.Struct, rename="pascal"):
    """Request of CreateProjectVersion."""

    project_arn: ProjectArn
    version_name: Name
    output_config: OutputConfig
    training_data: TrainingData | None = None
    testing_data: TestingData | None = None
    tags: Tags = {}
    kms_key_id: Annotated[str, Meta(min_length=1, max_length=2048)] | None = None
    version_description: (
        Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^[a-zA-Z0-9\-_. ()':,;?]+$")] | None
    ) = None


class DescribeProjectVersions(msgspec.Struct, rename="pascal"):
    """Request of DescribeProjectVersions."""

    project_arn: ProjectArn
    version_names: Annotated[list[Name], Meta(min_length=1, max_length=10)] | None = None
    next_token: Token | None = None
    max_results: PageSize = LARGEST_PAGE


class StartProjectVersion(msgspec.Struct, rename="pascal"):
    """Request of StartProjectVersion."""

    project_version_arn: VersionArn
    min_inference_units: Units
    max_inference_units: Units | None = None


class StopProjectVersion(msgspec.Struct, rename="pascal"):
    """Request of StopProjectVersion."""

    project_version_arn: VersionArn


class DeleteProjectVersion(msgspec.Struct, rename="pascal"):
    """Request of DeleteProjectVersion."""

    project_version_arn: VersionArn


class CopyProjectVersion(msgspec.Struct, rename="pascal"):
    """Request of CopyProjectVersion."""

    source_project_arn: ProjectArn
    source_project_version_arn: VersionArn
    destination_project_arn: ProjectArn
    version_name: Name
    output_config: OutputConfig
    tags: Tags = {}
    kms_key_id: str | None = None


class TagResource(msgspec.Struct, rename="pascal"):
    """Request of TagResource."""

    resource_arn: ResourceArn
    tags: Tags


class UntagResource(msgspec.Struct, rename="pascal"):
    """Request of UntagResource."""

    resource_arn: ResourceArn
    tag_keys: Annotated[list[str], Meta(max_length=200)]


class ListTagsForResource(msgspec.Struct, rename="pascal"):
    """Request of ListTagsForResource."""

    resource_arn: ResourceArn


class PutProjectPolicy(msgspec.Struct, rename="pascal"):
    """Request of PutProjectPolicy."""

    project_arn: ProjectArn
    policy_name: Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[a-zA-Z0-9_.\-]+$")]
    policy_document: Annotated[str, Meta(min_length=1, max_length=2000)]
    policy_revision_id: Annotated[str, Meta(max_length=64)] | None = None


class ListProjectPolicies(msgspec.Struct, rename="pascal"):
    """Request of ListProjectPolicies."""

    project_arn: ProjectArn
    next_token: Token | None = None
    max_results: Annotated[int, Meta(ge=1, le=5)] = 5


class DeleteProjectPolicy(msgspec.Struct, rename="pascal"):
    """Request of DeleteProjectPolicy."""

    project_arn: ProjectArn
    policy_name: Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[a-zA-Z0-9_.\-]+$")]
    policy_revision_id: Annotated[str, Meta(max_length=64)] | None = None
