"""All projects and versions of an account in a region, with what runs and by whose lease."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from asyncfilter.custom_labels.finding import all_projects, all_versions, the_project
from asyncfilter.custom_labels.lease import RUNS, Lease
from asyncfilter.job.model_names import ProjectName
from asyncfilter.ports.model_service import ModelService, ModelVersion, Project, VersionStatus

_BILLED = RUNS | {VersionStatus.STOPPING}


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedModel:
    """A version with its lease; None without one of ours."""

    project: Project
    version: ModelVersion
    lease: Lease | None

    @property
    def is_foreign(self) -> bool:
        """Whether it runs without a lease of ours."""
        return self.version.status in RUNS and self.lease is None

    @property
    def units(self) -> int:
        """Inference units that are paid for now."""
        if self.version.status not in _BILLED:
            return 0
        return self.version.min_units or (1 if self.lease is None else self.lease.units)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Projects, and the versions of all of them."""

    projects: Sequence[Project]
    models: Sequence[ListedModel]


async def list_models(service: ModelService, wanted: ProjectName | None, leases: Mapping[str, Lease]) -> Listing:
    """Look at one project, or at all.

    Args:
        service: The service.
        wanted: The project; None for all.
        leases: The open lease of each model, by its ARN.

    Raises:
        ResourceMissingError: There is no such project.
    """
    projects = await all_projects(service) if wanted is None else [await the_project(service, wanted)]
    models = [
        ListedModel(project=project, version=version, lease=leases.get(version.arn))
        for project in projects
        for version in await all_versions(service, project)
    ]
    return Listing(projects=projects, models=models)
