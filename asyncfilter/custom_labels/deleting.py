"""Deletes versions, datasets and projects, in the order that the service wants, and waits until each is gone.

What is gone already is no error, so that a command that was cut can be repeated.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from asyncfilter.custom_labels.finding import all_versions, find_project, find_version
from asyncfilter.custom_labels.lease import RUNS
from asyncfilter.custom_labels.waiting import Poller
from asyncfilter.errors import (
    RefusedError,
    ResourceInUseError,
    ResourceMissingError,
    ThrottledError,
    TransientError,
)
from asyncfilter.job.model_names import ProjectName, VersionName
from asyncfilter.ports.model_service import (
    DatasetType,
    ModelService,
    ModelVersion,
    Project,
    ProjectDataset,
    VersionStatus,
)

_ATTEMPTS = 6
"""How often is asked for what the service refuses as long as something else goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteWish:
    """What the user wants to be gone.

    Attributes:
        versions: These versions.
        datasets: Both datasets.
        everything: All versions, both datasets and the project.
    """

    versions: Sequence[VersionName] = ()
    datasets: bool = False
    everything: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DeletePlan:
    """What is there of it.

    Attributes:
        wanted: Name of the project.
        project: The project; None when it is gone.
        versions: Those that are to be deleted.
        datasets: Those that are to be deleted.
        deletes_project: Whether the project is to be deleted, too.
        gone: Names of versions that are not there.
    """

    wanted: ProjectName
    project: Project | None
    versions: Sequence[ModelVersion] = ()
    datasets: Sequence[ProjectDataset] = ()
    deletes_project: bool = False
    gone: Sequence[str] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.versions or self.datasets or self.deletes_project)

    @property
    def running(self) -> list[ModelVersion]:
        """Versions that must be stopped first."""
        return [one for one in self.versions if one.status in RUNS]

    @property
    def training(self) -> list[ModelVersion]:
        """Versions whose training must end first: the service has no way to stop one."""
        return [one for one in self.versions if one.status == VersionStatus.TRAINING_IN_PROGRESS]

    def check(self, *, stops: bool) -> None:
        """Check that nothing runs or is trained, or that it may be stopped.

        Raises:
            RefusedError: Something does.
        """
        busy = [*self.running, *self.training]
        if busy and not stops:
            names = ", ".join(f"{one.name} ({one.status})" for one in busy)
            raise RefusedError(
                f"nothing was deleted: {names}",
                code="ResourceInUseException",
                hint="Add --stop to stop what runs, and to wait for trainings, which cannot be stopped.",
            )


@dataclass(slots=True, kw_only=True)
class Deleted:
    """What was deleted.

    Attributes:
        stopped: ARNs of models that were stopped.
        versions: Names.
        datasets: ``train`` and ``test``.
        project: Whether the project was.
    """

    stopped: list[str] = field(default_factory=list)
    versions: list[str] = field(default_factory=list)
    datasets: list[str] = field(default_factory=list)
    project: bool = False


async def deletion_plan(service: ModelService, wanted: ProjectName, wish: DeleteWish) -> DeletePlan:
    """What is there of what is to be deleted; changes nothing."""
    project = await find_project(service, wanted)
    if project is None:
        return DeletePlan(wanted=wanted, project=None, gone=[one.name for one in wish.versions])
    versions: list[ModelVersion] = []
    gone: list[str] = []
    if wish.everything:
        versions = await all_versions(service, project)
    for name in wish.versions:
        found = await find_version(service, project, name)
        if found is None:
            gone.append(name.name)
        else:
            versions.append(found)
    takes_datasets = wish.datasets or wish.everything
    return DeletePlan(
        wanted=wanted,
        project=project,
        versions=versions,
        datasets=list(project.datasets) if takes_datasets else (),
        deletes_project=wish.everything,
        gone=gone,
    )


class Deleter:
    """Carries out a plan.

    Args:
        service: The service.
        poller: Waits until something is gone.
        stop: Stops a model that runs, and returns when it is stopped.
    """

    def __init__(
        self, service: ModelService, poller: Poller, stop: Callable[[Project, ModelVersion], Awaitable[None]]
    ) -> None:
        self._service = service
        self._poller = poller
        self._stop = stop

    async def run(self, plan: DeletePlan) -> Deleted:
        """Stop, then delete versions, datasets and project.

        Raises:
            RefusedError: The service goes on refusing.
            WaitEndedError: The time of the waits is over.
        """
        deleted = Deleted()
        if plan.project is None:
            return deleted
        for version in plan.versions:
            if version.status in RUNS:
                await self._stop(plan.project, version)
                deleted.stopped.append(version.arn)
            await self._delete_version(plan.project, version)
            deleted.versions.append(version.name)
        for dataset in plan.datasets:
            await self._delete_dataset(plan.wanted, dataset)
            deleted.datasets.append(dataset.type.lower())
        if plan.deletes_project:
            await self._delete_project(plan.wanted, plan.project)
            deleted.project = True
        return deleted

    async def _delete_version(self, project: Project, version: ModelVersion) -> None:
        name = VersionName(version.name, version.arn)

        async def look() -> str | None:
            found = await find_version(self._service, project, name)
            return None if found is None else found.status

        busy = {VersionStatus.TRAINING_IN_PROGRESS, VersionStatus.STOPPING}
        await self._gone(f"version {version.name}", look, lambda: self._service.delete_version(version.arn), busy)

    async def _delete_dataset(self, wanted: ProjectName, dataset: ProjectDataset) -> None:
        async def look() -> str | None:
            project = await find_project(self._service, wanted)
            found = None if project is None else project.dataset(DatasetType(dataset.type))
            return None if found is None else found.status

        busy = {"CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS"}
        what = f"{dataset.type} dataset"
        await self._gone(what, look, lambda: self._service.delete_dataset(dataset.arn), busy)

    async def _delete_project(self, wanted: ProjectName, project: Project) -> None:
        async def look() -> str | None:
            found = await find_project(self._service, wanted)
            return None if found is None else found.status

        await self._gone(
            f"project {project.name}", look, lambda: self._service.delete_project(project.arn), {"CREATING"}
        )

    async def _gone(
        self,
        what: str,
        look: Callable[[], Awaitable[str | None]],
        delete: Callable[[], Awaitable[None]],
        busy: set[str] | set[VersionStatus],
    ) -> None:
        """Delete something, and wait until it is gone; what is in use is waited for."""
        for attempt in range(_ATTEMPTS):
            state = await self._poller.until(what, look, lambda seen: seen not in busy, _shown)
            if state is None:
                return
            if not _is_going(state):
                try:
                    await delete()
                except ResourceMissingError:
                    return
                except (ResourceInUseError, ThrottledError, TransientError):
                    if attempt == _ATTEMPTS - 1:
                        raise
                    await self._poller.pause(what)
                    continue
            if await self._has_gone(what, look):
                return
        raise TransientError(f"{what}: it does not go away", may_be_billed=True)

    async def _has_gone(self, what: str, look: Callable[[], Awaitable[str | None]]) -> bool:
        """Wait while something is being deleted; False when it is there again as it was."""
        looks = 0

        def is_over(state: str | None) -> bool:
            nonlocal looks
            looks += 1
            return state is None or (looks > 3 and not _is_going(state))

        return await self._poller.until(what, look, is_over, _shown) is None


def _shown(state: str | None) -> str:
    return state or "gone"


def _is_going(state: str) -> bool:
    return state in {VersionStatus.DELETING, "DELETE_IN_PROGRESS"}
