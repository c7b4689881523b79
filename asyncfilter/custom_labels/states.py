"""What a project holds, as ``model status`` shows it; and the public form of moments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from asyncfilter.custom_labels.finding import all_versions, the_project, the_version
from asyncfilter.custom_labels.lease import Lease
from asyncfilter.job.model_names import ProjectName, VersionName
from asyncfilter.ports.model_service import Dataset, DatasetType, ModelService, ModelVersion, Project


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectState:
    """A project with its datasets and versions.

    Attributes:
        train: The training dataset; None when there is none. ``test`` alike.
        versions: Newest first.
        leases: For each model with an open lease of ours, by its ARN, the lease that ends last.
    """

    project: Project
    train: Dataset | None
    test: Dataset | None
    versions: tuple[ModelVersion, ...]
    leases: Mapping[str, Lease] = field(default_factory=dict)


async def project_state(service: ModelService, wanted: ProjectName, version: VersionName | None) -> ProjectState:
    """Look at a project, and at all its versions or at one; changes nothing.

    Raises:
        ResourceMissingError: There is no such project, or no such version.
    """
    project = await the_project(service, wanted)
    versions = (
        await all_versions(service, project) if version is None else [await the_version(service, project, version)]
    )
    return ProjectState(
        project=project,
        train=await _dataset(service, project, DatasetType.TRAIN),
        test=await _dataset(service, project, DatasetType.TEST),
        versions=tuple(versions),
    )


async def _dataset(service: ModelService, project: Project, kind: DatasetType) -> Dataset | None:
    found = project.dataset(kind)
    return None if found is None else await service.describe_dataset(found.arn)


def dataset_mapping(dataset: Dataset | None) -> dict[str, Any] | None:
    """A dataset under its public names."""
    if dataset is None:
        return None
    return {
        "arn": dataset.arn,
        "status": dataset.status,
        "status_message": dataset.message or None,
        "entries": dataset.entries,
        "labeled_entries": dataset.labeled_entries,
        "labels": dataset.labels,
        "error_entries": dataset.error_entries,
    }


def version_mapping(version: ModelVersion, lease: object = None) -> dict[str, Any]:
    """A version under its public names; ``units`` are those that it was started with, 0 when it was not."""
    return {
        "version": version.name,
        "arn": version.arn,
        "status": version.status,
        "status_message": version.message or None,
        "f1": version.f1,
        "units": version.min_units,
        "created": moment_text(version.created_at),
        "lease": lease,
    }


def moment_text(unix_s: float | None) -> str | None:
    """A moment in UTC, ``2026-11-27T10:00:00Z``; None for none."""
    if unix_s is None:
        return None
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
