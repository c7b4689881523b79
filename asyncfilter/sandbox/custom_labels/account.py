"""Everything of Custom Labels that an account has in a region, and the threads that work for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from asyncfilter.sandbox.access import Access
from asyncfilter.sandbox.custom_labels.arns import Arns, project_name
from asyncfilter.sandbox.custom_labels.datasets import Dataset
from asyncfilter.sandbox.custom_labels.projects import Project
from asyncfilter.sandbox.custom_labels.states import Clock
from asyncfilter.sandbox.custom_labels.versions import Version
from asyncfilter.sandbox.message import ServiceError
from asyncfilter.sandbox.store import Attributes, Store

T = TypeVar("T")
WORKERS = 4
DETECTORS = 2


class Account:
    """The projects of an account.

    Args:
        store: Where manifests and images are read, and the files of a training written.
        access: The caller's permissions in S3: the service reads and writes with them.
        region: The region of all buckets and resources.
        unit_tps: How many detections a second one inference unit takes.
        nests_summary: The shape of a training's summary: whether its figures stand in ``Metrics``.

    Attributes:
        tags: The tags of each resource, by its ARN.
    """

    def __init__(
        self,
        *,
        store: Store,
        access: Access,
        clock: Clock,
        arns: Arns,
        region: str,
        unit_tps: float | None,
        nests_summary: bool,
    ) -> None:
        self.store, self.access, self.clock, self.arns = store, access, clock, arns
        self.region = region
        self.unit_tps = unit_tps
        self.nests_summary = nests_summary
        self.tags: dict[str, dict[str, str]] = {}
        self._projects: list[Project] = []
        self._versions: dict[str, Version] = {}
        self._workers = ThreadPoolExecutor(WORKERS, thread_name_prefix="sandbox-custom-labels")
        self._detectors = ThreadPoolExecutor(DETECTORS, thread_name_prefix="sandbox-detect")

    # Resources

    @property
    def projects(self) -> list[Project]:
        """The projects that are there, newest first."""
        self._projects = [project for project in self._projects if not project.is_gone]
        return self._projects

    def add(self, project: Project) -> None:
        """Add a project."""
        self._projects.insert(0, project)

    def project(self, arn: str) -> Project:
        """A project.

        Raises:
            ServiceError: ``ResourceNotFoundException``.
        """
        return _found(next((project for project in self.projects if project.arn == arn), None))

    def dataset(self, arn: str) -> Dataset:
        """A dataset.

        Raises:
            ServiceError: ``ResourceNotFoundException``.
        """
        mine = [dataset for project in self._named(arn) for dataset in project.datasets]
        return _found(next((dataset for dataset in mine if dataset.arn == arn), None))

    def version(self, arn: str) -> Version:
        """A version.

        Raises:
            ServiceError: ``ResourceNotFoundException``.
        """
        version = self._versions.get(arn)
        return _found(None if version is None or version.is_gone else version)

    def add_version(self, project: Project, version: Version) -> None:
        """Add a version to a project."""
        project.add_version(version)
        self._versions[version.arn] = version

    def versions_in(self, *statuses: str) -> list[Version]:
        """The versions in any of these states that count against the account's limits."""
        return [
            version
            for project in self.projects
            if project.is_listed
            for version in project.versions
            if version.state.status in statuses
        ]

    def check_resource(self, arn: str) -> None:
        """Return if there is such a project, dataset or version.

        Raises:
            ServiceError: ``ResourceNotFoundException``.
        """
        find = self.version if "/version/" in arn else self.dataset if "/dataset/" in arn else self.project
        find(arn)

    def _named(self, arn: str) -> list[Project]:
        name = project_name(arn)
        return [project for project in self.projects if project.name == name]

    # Work

    def write(self, bucket: str, files: Mapping[str, bytes]) -> None:
        """Put objects into a bucket."""
        for key, body in files.items():
            self.store.put(bucket, key, body, Attributes(content_type="application/json"))

    def in_thread(self, work: Callable[[], T]) -> Future[T]:
        """Start long work, such as a training, in a thread."""
        return self._workers.submit(work)

    def detect(self, work: Callable[[], T]) -> Future[T]:
        """Start a detection in a thread; it does not wait for long work."""
        return self._detectors.submit(work)

    def close(self) -> None:
        """End the threads; work that has not begun is not done."""
        for threads in (self._workers, self._detectors):
            threads.shutdown(wait=False, cancel_futures=True)


def _found(resource: T | None) -> T:
    if resource is None:
        raise ServiceError("ResourceNotFoundException", "The specified resource was not found")
    return resource
