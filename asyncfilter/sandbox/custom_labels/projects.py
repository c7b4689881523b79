"""A project: its datasets, its versions, its policies."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from asyncfilter.sandbox.custom_labels.arns import project_name
from asyncfilter.sandbox.custom_labels.datasets import COMPLETE, Dataset
from asyncfilter.sandbox.custom_labels.requests import DatasetKind
from asyncfilter.sandbox.custom_labels.states import Clock, State
from asyncfilter.sandbox.custom_labels.times import DELETION_S, PROJECT_S
from asyncfilter.sandbox.custom_labels.versions import Version
from asyncfilter.sandbox.message import ServiceError

GONE: Final = ""


class Policy(msgspec.Struct, frozen=True):
    """A policy of a project."""

    name: str
    revision: str
    document: str
    created_s: float
    updated_s: float


class Project:
    """One project.

    Args:
        arn: Its ARN.
        clock: The sandbox's.
        is_listed: Whether DescribeProjects returns it to a request that names no project.
    """

    def __init__(self, arn: str, clock: Clock, *, is_listed: bool = True) -> None:
        self.arn = arn
        self.created_s = clock.now_s()
        self.is_listed = is_listed
        self.state = State(clock, "CREATED")
        self.policies: dict[str, Policy] = {}
        self._datasets: list[Dataset] = []
        self._versions: list[Version] = []

    @property
    def name(self) -> str:
        """Its name."""
        return project_name(self.arn)

    @property
    def is_gone(self) -> bool:
        """Whether it was deleted."""
        return self.state.status == GONE

    @property
    def datasets(self) -> list[Dataset]:
        """The datasets that are there."""
        self._datasets = [dataset for dataset in self._datasets if not dataset.is_gone]
        return self._datasets

    @property
    def versions(self) -> list[Version]:
        """The versions that are there, newest first."""
        self._versions = [version for version in self._versions if not version.is_gone]
        return self._versions

    def dataset(self, kind: DatasetKind) -> Dataset | None:
        """The dataset of a kind."""
        return next((dataset for dataset in self.datasets if dataset.kind is kind), None)

    def add_dataset(self, dataset: Dataset) -> None:
        """Add a dataset whose creation has begun."""
        self._datasets.append(dataset)

    def add_version(self, version: Version) -> None:
        """Add a version whose training has begun."""
        self._versions.insert(0, version)

    def create(self) -> None:
        """Begin the creation; what needs the project does not wait for its end."""
        self.state.begin("CREATING", lasts_s=PROJECT_S, then=lambda _: self.state.settle("CREATED"))

    def delete(self) -> None:
        """Begin the deletion.

        Raises:
            ServiceError: ``ResourceInUseException`` while it has versions or datasets.
        """
        if self.versions:
            raise ServiceError("ResourceInUseException", f"Project {self.arn} has model versions")
        if self.datasets:
            raise ServiceError("ResourceInUseException", f"Project {self.arn} has datasets")
        self.state.begin("DELETING", lasts_s=DELETION_S, then=lambda _: self.state.settle(GONE))

    def ready_dataset(self, kind: DatasetKind) -> Dataset | None:
        """The dataset of a kind, as a training needs it.

        Raises:
            ServiceError: ``ResourceInUseException`` while it is changing, ``InvalidParameterException`` if its last
                change failed.
        """
        dataset = self.dataset(kind)
        if dataset is None:
            return None
        dataset.check_idle()
        if dataset.state.status not in COMPLETE:
            raise ServiceError("InvalidParameterException", f"Dataset {dataset.arn} is {dataset.state.status}")
        return dataset

    def description(self) -> dict[str, Any]:
        """What DescribeProjects says."""
        return {
            "ProjectArn": self.arn,
            "CreationTimestamp": self.created_s,
            "Status": self.state.status,
            "Datasets": [dataset.metadata() for dataset in self.datasets],
            "Feature": "CUSTOM_LABELS",
        }
