"""The service that trains and runs models: projects, datasets and versions, as Custom Labels has them.

Every method makes exactly one attempt, and returns as soon as the service answers; what it started goes on there.
Paces, repetitions and waits are the caller's. All methods raise from ``asyncfilter.errors``: ``RefusedError`` with the
service's own code where it refuses, ``AccessError`` for the account, ``ThrottledError`` and ``TransientError`` for what
a repetition may cure. A call that changes something may have been carried out although it raised one of these two: see
``ThrottledError.may_be_done`` and ``TransientError.may_be_billed``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import BinaryIO, Generic, Protocol, TypeVar

from asyncfilter.model import S3Location

T = TypeVar("T")

PAGE_ENTRIES = 100
"""Most entries or labels of one page (Rekognition API reference, ListDatasetEntries)."""

MAX_NAMES = 10
"""Most names that projects or versions can be asked for by, in one call (the same, DescribeProjectVersions)."""


class DatasetType(StrEnum):
    """The two datasets that a project can have."""

    TRAIN = "TRAIN"
    TEST = "TEST"


class ProjectStatus(StrEnum):
    """The states of a project."""

    CREATING = "CREATING"
    CREATED = "CREATED"
    DELETING = "DELETING"


class DatasetStatus(StrEnum):
    """The states of a dataset; the service may have others, so fields that hold one are plain text."""

    CREATE_IN_PROGRESS = "CREATE_IN_PROGRESS"
    CREATE_COMPLETE = "CREATE_COMPLETE"
    CREATE_FAILED = "CREATE_FAILED"
    UPDATE_IN_PROGRESS = "UPDATE_IN_PROGRESS"
    UPDATE_COMPLETE = "UPDATE_COMPLETE"
    UPDATE_FAILED = "UPDATE_FAILED"
    DELETE_IN_PROGRESS = "DELETE_IN_PROGRESS"


class VersionStatus(StrEnum):
    """The states of a version; the service may have others, so fields that hold one are plain text."""

    TRAINING_IN_PROGRESS = "TRAINING_IN_PROGRESS"
    TRAINING_COMPLETED = "TRAINING_COMPLETED"
    TRAINING_FAILED = "TRAINING_FAILED"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    FAILED = "FAILED"
    STOPPING = "STOPPING"
    STOPPED = "STOPPED"
    DELETING = "DELETING"
    COPYING_IN_PROGRESS = "COPYING_IN_PROGRESS"
    COPYING_COMPLETED = "COPYING_COMPLETED"
    COPYING_FAILED = "COPYING_FAILED"
    DEPRECATED = "DEPRECATED"
    EXPIRED = "EXPIRED"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListPage(Generic[T]):
    """A part of a list; ``token`` asks for the next one and is None after the last."""

    items: Sequence[T]
    token: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectDataset:
    """A dataset as its project names it."""

    arn: str
    type: str
    status: str
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A project.

    Attributes:
        name: From its ARN.
        status: See ``ProjectStatus``.
        created_at: Seconds since 1970-01-01 UTC; None where the service does not say.
        datasets: Those that it has; older services do not name them.
    """

    name: str
    arn: str
    status: str
    created_at: float | None = None
    datasets: Sequence[ProjectDataset] = ()

    def dataset(self, kind: DatasetType) -> ProjectDataset | None:
        """The dataset of a type; None when there is none."""
        return next((one for one in self.datasets if one.type == kind), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A dataset with its figures.

    Attributes:
        status: See ``DatasetStatus``.
        message: The service's text about the status; terminal errors have no code.
        message_code: ``SUCCESS``, ``SERVICE_ERROR`` or ``CLIENT_ERROR``; empty without one.
        entries: Lines in it.
        labeled_entries: Those of them with labels.
        labels: Different labels.
        error_entries: Lines with errors.
        created_at: Seconds since 1970-01-01 UTC; None where the service does not say. ``updated_at`` alike.
    """

    arn: str
    status: str
    message: str = ""
    message_code: str = ""
    entries: int = 0
    labeled_entries: int = 0
    labels: int = 0
    error_entries: int = 0
    created_at: float | None = None
    updated_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetLabel:
    """A label of a dataset: how many entries and how many boxes have it."""

    name: str
    entries: int
    boxes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DataResult:
    """The files that a training made of one of its datasets.

    Attributes:
        input: The manifests that went in.
        output: The manifests that came out: of the test dataset, the snapshot with the predictions.
        validation: Copies of the manifests with the errors of each line.
    """

    input: Sequence[S3Location] = ()
    output: Sequence[S3Location] = ()
    validation: Sequence[S3Location] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVersion:
    """A version of a model.

    Attributes:
        name: From its ARN.
        status: See ``VersionStatus``.
        message: The service's text about the status.
        created_at: Seconds since 1970-01-01 UTC; None where the service does not say. ``training_ended_at`` alike.
        billable_s: Seconds of training that are billed; None before a training has succeeded.
        f1: F1 score of all labels, 0 to 1; None before there is one.
        min_units: Inference units that it was started with; 0 where the service names none.
        max_units: Units that it may scale up to; None without auto-scaling.
        output: Bucket and prefix of what the training writes.
        summary: The summary of the evaluation.
        manifest_summary: The summary of errors in the manifests.
        training: Files of the training dataset.
        testing: Files of the test dataset.
    """

    name: str
    arn: str
    status: str
    message: str = ""
    created_at: float | None = None
    training_ended_at: float | None = None
    billable_s: int | None = None
    f1: float | None = None
    min_units: int = 0
    max_units: int | None = None
    output: S3Location | None = None
    summary: S3Location | None = None
    manifest_summary: S3Location | None = None
    training: DataResult = field(default_factory=DataResult)
    testing: DataResult = field(default_factory=DataResult)


class ModelService(Protocol):
    """Trains and runs models, in one region."""

    @property
    def region(self) -> str:
        """The region in which it works."""
        ...

    @property
    def endpoint(self) -> str:
        """Its address where that is not AWS's own; empty for AWS."""
        ...

    # -- Looks: nothing is changed

    async def describe_projects(self, *, names: Sequence[str] = (), token: str | None = None) -> ListPage[Project]:
        """DescribeProjects: projects of these names, or all; up to ``MAX_NAMES`` names."""
        ...

    async def describe_dataset(self, dataset_arn: str) -> Dataset:
        """DescribeDataset.

        Raises:
            ResourceMissingError: There is no such dataset.
        """
        ...

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
        """ListDatasetEntries: entries as JSON, up to ``PAGE_ENTRIES`` a page; None and nothing are no filters."""
        ...

    async def list_labels(self, dataset_arn: str, *, token: str | None = None) -> ListPage[DatasetLabel]:
        """ListDatasetLabels."""
        ...

    async def describe_versions(
        self, project_arn: str, *, names: Sequence[str] = (), token: str | None = None
    ) -> ListPage[ModelVersion]:
        """DescribeProjectVersions, newest first: versions of these names, or all; up to ``MAX_NAMES`` names.

        Raises:
            ResourceMissingError: There is no such project.
        """
        ...

    # -- Changes

    async def create_project(self, name: str) -> str:
        """CreateProject; returns its ARN.

        Raises:
            ResourceInUseError: There is one of this name.
            ResourceLimitError: The account has too many.
        """
        ...

    async def delete_project(self, project_arn: str) -> None:
        """DeleteProject: it must have no versions.

        Raises:
            ResourceMissingError: It is gone already.
            ResourceInUseError: It has versions.
        """
        ...

    async def create_dataset(self, project_arn: str, kind: DatasetType, *, manifest: S3Location | None = None) -> str:
        """CreateDataset, of a manifest or empty; returns its ARN.

        Raises:
            ResourceExistsError: The project has one of this type.
        """
        ...

    async def update_entries(self, dataset_arn: str, lines: bytes) -> None:
        """UpdateDatasetEntries: whole lines, under 5 MiB; a line replaces that of the same ``source-ref``.

        Raises:
            ResourceInUseError: An update of it is going on.
        """
        ...

    async def distribute_entries(self, train_arn: str, test_arn: str) -> None:
        """DistributeDatasetEntries: a fifth of the training dataset moves to the test dataset, which must be empty."""
        ...

    async def delete_dataset(self, dataset_arn: str) -> None:
        """DeleteDataset.

        Raises:
            ResourceMissingError: It is gone already.
            ResourceInUseError: It is being made, changed or trained with.
        """
        ...

    async def create_version(
        self, project_arn: str, name: str, *, output: S3Location, kms_key: str | None = None
    ) -> str:
        """CreateProjectVersion with the project's datasets: starts a training, which is paid for; returns its ARN.

        Raises:
            ResourceInUseError: There is one of this name.
            ResourceLimitError: Too many trainings are going on.
        """
        ...

    async def delete_version(self, version_arn: str) -> None:
        """DeleteProjectVersion; returns after the request, not when it is gone.

        Raises:
            ResourceMissingError: It is gone already.
            ResourceInUseError: It runs or is being trained.
        """
        ...

    async def start_version(self, version_arn: str, *, min_units: int, max_units: int | None = None) -> str:
        """StartProjectVersion: every unit is paid for by the hour from now on; returns the status.

        Raises:
            ResourceInUseError: It runs, starts or stops.
            ResourceLimitError: Too many models run.
        """
        ...

    async def stop_version(self, version_arn: str) -> str:
        """StopProjectVersion; returns the status.

        Raises:
            ResourceInUseError: It cannot be stopped in its present state.
            ResourceMissingError: There is no such version.
        """
        ...


class ObjectFiles(Protocol):
    """The objects in S3 that training reads and writes: manifests and evaluations. A few repetitions are made."""

    async def size_bytes(self, place: S3Location) -> int | None:
        """The size of an object; None when there is none."""
        ...

    async def read(self, place: S3Location, out: BinaryIO) -> bool:
        """Write an object to ``out``; False when there is none."""
        ...

    async def write(self, place: S3Location, content: BinaryIO, size_bytes: int) -> None:
        """Write an object from a stream at its beginning, in flat memory; one that is there is replaced."""
        ...
