"""Makes a project, and waits until it can be used."""

from __future__ import annotations

from dataclasses import dataclass

from asyncfilter.custom_labels.call_log import CallLog
from asyncfilter.custom_labels.ensuring import ensure
from asyncfilter.custom_labels.finding import MISSING, find_project
from asyncfilter.custom_labels.waiting import Poller
from asyncfilter.errors import ResourceMissingError
from asyncfilter.job.model_names import ProjectName
from asyncfilter.ports.model_service import ModelService, Project, ProjectStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeProject:
    """A project that is there; ``is_new`` says whether it was made for this user's wish."""

    project: Project
    is_new: bool


async def make_project(service: ModelService, log: CallLog, wanted: ProjectName, poller: Poller) -> MadeProject:
    """Make a project, unless it is there; returns when it can be used.

    Raises:
        RefusedError: The service refuses, for instance because the account has too many; or an ARN is wanted that is
            not there, which no project that is made can have.
    """
    what = f"project {wanted.name}"

    async def look() -> Project | None:
        return await find_project(service, wanted)

    found = await look()
    if found is not None and found.status == ProjectStatus.DELETING:
        found = await poller.until(what, look, lambda seen: seen is None, lambda _seen: "is being deleted")
    if found is None and wanted.arn is not None:
        raise ResourceMissingError(
            f"there is no project {wanted.arn}, and a new one has an ARN of its own",
            code=MISSING,
            hint=f"Make one by its name: asyncfilter model create {wanted.name}.",
        )
    is_new = found is None
    if found is None:
        await ensure(what, look, lambda: service.create_project(wanted.name), poller)
    project = await poller.until(
        what, look, lambda seen: seen is not None and seen.status == ProjectStatus.CREATED, _state
    )
    if project is None:
        raise AssertionError("until returns what is_over holds for")
    # A command that was killed may have asked for it: then it is new, although it was there.
    was_asked = log.settle("CreateProject", wanted.name, endpoint=service.endpoint, region=service.region)
    return MadeProject(project=project, is_new=is_new or was_asked)


def _state(project: Project | None) -> str:
    return "not there yet" if project is None else project.status
