"""A model service in memory: projects, datasets and versions with the states and order rules of the real one.

Its states change with the time of the running loop, virtual or not. Running models are out of its reach.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

from asyncfilter.errors import (
    RefusedError,
    ResourceExistsError,
    ResourceInUseError,
    ResourceLimitError,
    ResourceMissingError,
)
from asyncfilter.model import S3Location
from asyncfilter.ports.model_service import (
    PAGE_ENTRIES,
    Dataset,
    DatasetLabel,
    DatasetStatus,
    DatasetType,
    ListPage,
    ModelVersion,
    Project,
    ProjectDataset,
    VersionStatus,
)

ACCOUNT = "123456789012"
DATASET_S = 30.0
MOST_TRAININGS = 2

_PREFIX = f"arn:aws:rekognition:us-east-1:{ACCOUNT}:project"


@dataclass
class _Dataset:
    arn: str
    entries: dict[str, str] = field(default_factory=dict)
    status: str = DatasetStatus.CREATE_COMPLETE
    message: str = ""
    then: str = ""
    at: float = 0.0


@dataclass
class _Version:
    name: str
    arn: str
    output: S3Location
    begun_at: float


@dataclass
class _Project:
    name: str
    arn: str
    datasets: dict[str, _Dataset] = field(default_factory=dict)
    versions: dict[str, _Version] = field(default_factory=dict)


class MemoryFiles:
    """``ObjectFiles`` in memory; ``objects`` has their contents by address."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.written: list[str] = []

    async def size_bytes(self, place: S3Location) -> int | None:
        """See ``ObjectFiles``."""
        found = self.objects.get(place.uri)
        return None if found is None else len(found)

    async def read(self, place: S3Location, out: BinaryIO) -> bool:
        """See ``ObjectFiles``."""
        found = self.objects.get(place.uri)
        if found is not None:
            out.write(found)
        return found is not None

    async def write(self, place: S3Location, content: BinaryIO, size_bytes: int) -> None:
        """See ``ObjectFiles``."""
        content.seek(0)
        self.objects[place.uri] = content.read()
        if len(self.objects[place.uri]) != size_bytes:
            raise ValueError(f"{place.uri}: {size_bytes} bytes were announced")
        self.written.append(place.uri)


class MemoryModelService:
    """``ModelService`` in memory, for one account.

    Args:
        files: Where manifests are read from.

    Attributes:
        trainings: Names of the versions that were paid for, in order.
        updates: Every update of entries that was accepted, in order.
        refuses: Entries that the service drops although no rule says so, by address.
        faulty: Entries in which the service finds an error, by address: its code.
        training_s: How long a training takes, seconds.
        failing: Texts with which the next trainings fail; nothing for one that succeeds.
    """

    def __init__(self, files: MemoryFiles) -> None:
        self._files = files
        self._projects: dict[str, _Project] = {}
        self.trainings: list[str] = []
        self.updates: list[bytes] = []
        self.refuses: set[str] = set()
        self.faulty: dict[str, str] = {}
        self.training_s = 1800.0
        self.failing: list[str] = []
        self._ends: dict[str, str] = {}

    @property
    def region(self) -> str:
        """See ``ModelService``."""
        return "us-east-1"

    @property
    def endpoint(self) -> str:
        """See ``ModelService``."""
        return "memory:"

    # -- Looks

    async def describe_projects(self, *, names: Sequence[str] = (), token: str | None = None) -> ListPage[Project]:
        """See ``ModelService``."""
        del token
        return ListPage(items=[_shown(one) for one in self._projects.values() if not names or one.name in names])

    async def describe_dataset(self, dataset_arn: str) -> Dataset:
        """See ``ModelService``."""
        found = self._dataset(dataset_arn)
        _settle(found)
        bad = [ref for ref in found.entries if ref in self.faulty]
        return Dataset(
            arn=found.arn,
            status=found.status,
            message=found.message,
            entries=len(found.entries),
            labeled_entries=len(found.entries),
            labels=1,
            error_entries=len(bad),
        )

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
        """See ``ModelService``; only ``has_errors`` filters."""
        del labeled, source_ref_contains, labels
        entries = list(self._entries(self._dataset(dataset_arn), has_errors=has_errors))
        start = int(token or 0)
        end = start + PAGE_ENTRIES
        return ListPage(items=entries[start:end], token=str(end) if end < len(entries) else None)

    async def list_labels(self, dataset_arn: str, *, token: str | None = None) -> ListPage[DatasetLabel]:
        """See ``ModelService``; there are none."""
        del dataset_arn, token
        return ListPage(items=[])

    async def describe_versions(
        self, project_arn: str, *, names: Sequence[str] = (), token: str | None = None
    ) -> ListPage[ModelVersion]:
        """See ``ModelService``."""
        del token
        versions = self._project(project_arn).versions.values()
        if names and not any(one.name in names for one in versions):
            raise _missing(", ".join(names))
        return ListPage(items=[self._shown_version(one) for one in versions if not names or one.name in names])

    # -- Changes

    async def create_project(self, name: str) -> str:
        """See ``ModelService``."""
        if any(one.name == name for one in self._projects.values()):
            raise ResourceInUseError(f"project {name} exists", code="ResourceInUseException")
        arn = f"{_PREFIX}/{name}/{1_700_000_000_000 + len(self._projects)}"
        self._projects[arn] = _Project(name, arn)
        return arn

    async def delete_project(self, project_arn: str) -> None:
        """See ``ModelService``."""
        if self._project(project_arn).versions:
            raise ResourceInUseError("it has versions", code="ResourceInUseException")
        del self._projects[project_arn]

    async def create_dataset(self, project_arn: str, kind: DatasetType, *, manifest: S3Location | None = None) -> str:
        """See ``ModelService``."""
        project = self._project(project_arn)
        if kind.value in project.datasets:
            raise ResourceExistsError("there is one", code="ResourceAlreadyExistsException")
        arn = f"{_PREFIX}/{project.name}/dataset/{kind.value.lower()}/{1_700_000_000_000 + round(_now() * 1000)}"
        made = _Dataset(arn)
        if manifest is not None:
            self._take_in(made, self._files.objects[manifest.uri], drops=True)
        _begin(made, DatasetStatus.CREATE_IN_PROGRESS, DatasetStatus.CREATE_COMPLETE)
        project.datasets[kind.value] = made
        return arn

    async def update_entries(self, dataset_arn: str, lines: bytes) -> None:
        """See ``ModelService``."""
        found = self._dataset(dataset_arn)
        _check_idle(found)
        self.updates.append(lines)
        self._take_in(found, lines, drops=False)
        _begin(found, DatasetStatus.UPDATE_IN_PROGRESS, DatasetStatus.UPDATE_COMPLETE)

    async def distribute_entries(self, train_arn: str, test_arn: str) -> None:
        """See ``ModelService``."""
        train, test = self._dataset(train_arn), self._dataset(test_arn)
        _check_idle(train)
        _check_idle(test)
        if test.entries:
            raise RefusedError("the test dataset is not empty", code="InvalidParameterException")
        for ref in list(train.entries)[::5]:
            test.entries[ref] = train.entries.pop(ref)
        for one in (train, test):
            _begin(one, DatasetStatus.UPDATE_IN_PROGRESS, DatasetStatus.UPDATE_COMPLETE)

    async def delete_dataset(self, dataset_arn: str) -> None:
        """See ``ModelService``."""
        _check_idle(self._dataset(dataset_arn))
        for project in self._projects.values():
            project.datasets = {kind: one for kind, one in project.datasets.items() if one.arn != dataset_arn}

    async def create_version(
        self, project_arn: str, name: str, *, output: S3Location, kms_key: str | None = None
    ) -> str:
        """See ``ModelService``."""
        del kms_key
        project = self._project(project_arn)
        if name in project.versions:
            raise ResourceInUseError(f"version {name} exists", code="ResourceInUseException")
        if len(self.going_on()) >= MOST_TRAININGS:
            raise ResourceLimitError("too many trainings", code="LimitExceededException")
        arn = f"{_PREFIX}/{project.name}/version/{name}/1700000000000"
        project.versions[name] = _Version(name, arn, output, _now())
        self.trainings.append(name)
        if self.failing and (text := self.failing.pop(0)):
            self._ends[arn] = text
        return arn

    async def delete_version(self, version_arn: str) -> None:
        """See ``ModelService``."""
        for project in self._projects.values():
            for version in list(project.versions.values()):
                if version.arn == version_arn:
                    if self._shown_version(version).status == VersionStatus.TRAINING_IN_PROGRESS:
                        raise ResourceInUseError("it is being trained", code="ResourceInUseException")
                    del project.versions[version.name]
                    return
        raise _missing(version_arn)

    async def start_version(self, version_arn: str, *, min_units: int, max_units: int | None = None) -> str:
        """Not here."""
        raise NotImplementedError

    async def stop_version(self, version_arn: str) -> str:
        """Not here."""
        raise NotImplementedError

    # -- What really is

    def going_on(self) -> list[str]:
        """Names of the versions that are being trained."""
        return [
            version.name
            for project in self._projects.values()
            for version in project.versions.values()
            if self._shown_version(version).status == VersionStatus.TRAINING_IN_PROGRESS
        ]

    def fail(self, kind: DatasetType, status: str, message: str) -> None:
        """Let a dataset of the only project have failed."""
        (project,) = self._projects.values()
        dataset = project.datasets[kind.value]
        dataset.status, dataset.message, dataset.then = status, message, ""

    def refs(self, kind: DatasetType) -> list[str]:
        """Addresses of the entries of a dataset of the only project."""
        (project,) = self._projects.values()
        return list(project.datasets[kind.value].entries)

    def _project(self, arn: str) -> _Project:
        if (found := self._projects.get(arn)) is None:
            raise _missing(arn)
        return found

    def _dataset(self, arn: str) -> _Dataset:
        for project in self._projects.values():
            for one in project.datasets.values():
                if one.arn == arn:
                    return one
        raise _missing(arn)

    def _take_in(self, dataset: _Dataset, content: bytes, *, drops: bool) -> None:
        for line in content.split(b"\n"):
            try:
                ref = json.loads(line)["source-ref"]
            except (ValueError, KeyError, TypeError):
                continue
            if ref not in self.refuses and not (drops and ref in dataset.entries):
                dataset.entries[ref] = line.decode()

    def _entries(self, dataset: _Dataset, *, has_errors: bool | None) -> Iterator[str]:
        for ref, line in dataset.entries.items():
            code = self.faulty.get(ref)
            if has_errors is None or has_errors == (code is not None):
                errors = {} if code is None else {"errors": [{"code": code, "message": "as the test says"}]}
                yield json.dumps(json.loads(line) | errors)

    def _shown_version(self, one: _Version) -> ModelVersion:
        failure = self._ends.get(one.arn, "")
        if _now() < one.begun_at + self.training_s:
            return ModelVersion(
                name=one.name, arn=one.arn, status=VersionStatus.TRAINING_IN_PROGRESS, output=one.output
            )
        if failure:
            return ModelVersion(
                name=one.name, arn=one.arn, status=VersionStatus.TRAINING_FAILED, message=failure, output=one.output
            )
        return ModelVersion(
            name=one.name,
            arn=one.arn,
            status=VersionStatus.TRAINING_COMPLETED,
            billable_s=round(self.training_s),
            f1=0.9,
            output=one.output,
        )


def _shown(project: _Project) -> Project:
    for one in project.datasets.values():
        _settle(one)
    return Project(
        name=project.name,
        arn=project.arn,
        status="CREATED",
        datasets=[ProjectDataset(arn=one.arn, type=kind, status=one.status) for kind, one in project.datasets.items()],
    )


def _begin(dataset: _Dataset, now: str, then: str) -> None:
    dataset.status, dataset.then, dataset.at = now, then, _now() + DATASET_S


def _settle(dataset: _Dataset) -> None:
    if dataset.then and _now() >= dataset.at:
        dataset.status, dataset.then = dataset.then, ""


def _check_idle(dataset: _Dataset) -> None:
    _settle(dataset)
    if dataset.then:
        raise ResourceInUseError("an update is going on", code="ResourceInUseException")


def _missing(arn: str) -> ResourceMissingError:
    return ResourceMissingError(f"there is no {arn}", code="ResourceNotFoundException")


def _now() -> float:
    return asyncio.get_running_loop().time()
