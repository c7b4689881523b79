"""Projects and versions at the service, by name and as whole lists."""

from __future__ import annotations

from asyncfilter.custom_labels.pages import items_of
from asyncfilter.errors import ResourceMissingError
from asyncfilter.job.model_names import ProjectName, VersionName
from asyncfilter.ports.model_service import ModelService, ModelVersion, Project

MISSING = "ResourceNotFoundException"


async def find_project(service: ModelService, wanted: ProjectName) -> Project | None:
    """The project of a name; None when there is none, or when it has another ARN than the one given."""
    try:
        page = await service.describe_projects(names=[wanted.name])
    except ResourceMissingError:  # whether a name that is not there is an error, no page of AWS says
        return None
    return next(
        (one for one in page.items if one.name == wanted.name and wanted.arn in {None, one.arn}),
        None,
    )


async def the_project(service: ModelService, wanted: ProjectName) -> Project:
    """The project of a name.

    Raises:
        ResourceMissingError: There is none.
    """
    if found := await find_project(service, wanted):
        return found
    raise ResourceMissingError(
        f"there is no project {wanted.arn or wanted.name} in {service.region}",
        code=MISSING,
        hint=f"Make it with asyncfilter model create {wanted.name}, or name another --region.",
    )


async def find_version(service: ModelService, project: Project, wanted: VersionName) -> ModelVersion | None:
    """The version of a name; None when there is none, or when it has another ARN than the one given."""
    try:
        page = await service.describe_versions(project.arn, names=[wanted.name])
    except ResourceMissingError:  # see ``find_project``
        return None
    return next(
        (one for one in page.items if one.name == wanted.name and wanted.arn in {None, one.arn}),
        None,
    )


async def the_version(service: ModelService, project: Project, wanted: VersionName) -> ModelVersion:
    """The version of a name.

    Raises:
        ResourceMissingError: There is none.
    """
    if found := await find_version(service, project, wanted):
        return found
    raise ResourceMissingError(
        f"project {project.name} has no version {wanted.arn or wanted.name}",
        code=MISSING,
        hint=f"Name one that is there: asyncfilter model list {project.name} shows them.",
    )


async def all_projects(service: ModelService) -> list[Project]:
    """All projects of the account in the service's region."""
    pages = items_of("projects", lambda token: service.describe_projects(token=token))
    return [one async for one in pages]


async def all_versions(service: ModelService, project: Project) -> list[ModelVersion]:
    """All versions of a project, newest first."""
    pages = items_of(f"versions of {project.name}", lambda token: service.describe_versions(project.arn, token=token))
    return [one async for one in pages]
