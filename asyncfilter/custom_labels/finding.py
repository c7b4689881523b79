"""Projects and versions at the service, by name and as whole lists."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from asyncfilter.errors import ResourceMissingError
from asyncfilter.job.model_names import ProjectName, VersionName
from asyncfilter.ports.model_service import ModelService, ModelVersion, Page, Project

T = TypeVar("T")

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
    return await _all(lambda token: service.describe_projects(token=token))


async def all_versions(service: ModelService, project: Project) -> list[ModelVersion]:
    """All versions of a project, newest first."""
    return await _all(lambda token: service.describe_versions(project.arn, token=token))


async def _all(page_of: Callable[[str | None], Awaitable[Page[T]]]) -> list[T]:
    items: list[T] = []
    token: str | None = None
    while True:
        page = await page_of(token)
        items += page.items
        token = page.token
        if token is None:
            return items
