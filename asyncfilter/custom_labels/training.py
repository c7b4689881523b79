"""A training from its beginning to its end: begun once, attached to by every later command, paid for once.

The steps, each of which may be the last one of a process:

1. The name of the version is in the ledger.
2. CreateProjectVersion is sent. Names are unique, so a repetition with the same name is refused, not paid for.
3. The service is looked at until the version is no longer ``TRAINING_IN_PROGRESS``.
4. The end is shown, and then the ledger notes that it was.

A command that begins at any of them goes on from what ledger and service say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from asyncfilter.custom_labels.ensuring import ensure
from asyncfilter.custom_labels.finding import all_projects, all_versions, find_version
from asyncfilter.custom_labels.paced import is_certainly_undone
from asyncfilter.custom_labels.training_log import Training, TrainingLog, TrainingState
from asyncfilter.custom_labels.waiting import Poller
from asyncfilter.errors import (
    AccessError,
    CallError,
    RefusedError,
    ResourceInUseError,
    ResourceMissingError,
    ThrottledError,
    TransientError,
)
from asyncfilter.job.model_names import VersionName
from asyncfilter.model import S3Location
from asyncfilter.ports.model_service import ModelService, ModelVersion, Project, VersionStatus

TRAINING_OPEN = "TRAINING_OPEN"
"""Code of a training that goes on, or whose end was not shown, where another one is wished for."""

_LOOKS = 3
"""So many looks in a row must not show a version that the service had, before it counts as deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingWish:
    """What the user asks for.

    Attributes:
        version: Name of the version; None for one of the moment.
        output: Bucket and prefix of what the training writes.
        kms_key: Key of its files; None for the service's own.
    """

    version: str | None
    output: S3Location
    kms_key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPlan:
    """What ``train`` will do.

    Attributes:
        version: Name of the version.
        is_paid: Whether a training will be started and paid for; else one that is there is attached to.
        status: Of the version; None while the service has none.
    """

    version: str
    is_paid: bool
    status: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A training as it was last seen.

    Attributes:
        version: At the service.
        is_attached: Whether an earlier command, or somebody else, had started it.
        row: Its number in the ledger; None for one that the ledger does not have.
    """

    version: ModelVersion
    is_attached: bool
    row: int | None

    @property
    def is_over(self) -> bool:
        """Whether the training has ended."""
        return self.version.status != VersionStatus.TRAINING_IN_PROGRESS


class Trainer:
    """Trains versions of one project.

    Args:
        service: The service.
        log: The ledger's record of trainings.
        poller: Waits for the end.
        project: The project.
    """

    def __init__(self, service: ModelService, log: TrainingLog, poller: Poller, project: Project) -> None:
        self._service = service
        self._log = log
        self._poller = poller
        self._project = project

    async def plan(self, wish: TrainingWish, *, default_name: str) -> TrainingPlan:
        """What ``train`` will do; changes nothing at the service.

        Raises:
            RefusedError: Another training of the project is open, and the wish names one.
        """
        row = self._log.find_open(self._project.arn)
        if row is not None and not await self._is_replaced(row, wish):
            found = await self._find(row.version)
            is_paid = found is None and row.state is TrainingState.INTENT
            return TrainingPlan(version=row.version, is_paid=is_paid, status=_status(found))
        name = wish.version or default_name
        found = None if wish.version is None else await self._find(name)
        return TrainingPlan(version=name, is_paid=found is None, status=_status(found))

    async def train(self, wish: TrainingWish, plan: TrainingPlan, *, waits: bool = True) -> Trained:
        """Train, or attach to the training that goes on.

        Args:
            wish: What the user asks for.
            plan: From ``plan``; the user has agreed to pay where it says so.
            waits: Whether to wait for the end.

        Raises:
            RefusedError: The service refuses, or the version was deleted meanwhile.
            WaitEndedError: The time of the wait is over.
        """
        row = self._log.find_open(self._project.arn)
        found = await self._find(plan.version)
        is_own = False
        if row is None or row.version != plan.version:
            if found is not None:  # not in the ledger, or shown before
                return Trained(version=await self._end(found, waits=waits), is_attached=True, row=None)
            row, is_own = self._begin(wish, plan)
            found = None if is_own else await self._find(row.version)
        is_attached = True
        if found is None:
            row = self._renewed(row, wish)
            found, is_attached = await self._started(row, is_own=is_own, may_pay=plan.is_paid)
        self._log.start(row, found.arn)
        return Trained(version=await self._end(found, waits=waits), is_attached=is_attached, row=row.id)

    async def training_now(self) -> Sequence[tuple[str, ModelVersion]]:
        """The versions of the account that are being trained, with their projects."""
        return [
            (project.name, version)
            for project in await all_projects(self._service)
            for version in await all_versions(self._service, project)
            if version.status == VersionStatus.TRAINING_IN_PROGRESS
        ]

    def _begin(self, wish: TrainingWish, plan: TrainingPlan) -> tuple[Training, bool]:
        """The row of a new training, and whether it is one of this command; another process may be faster."""
        if not plan.is_paid:
            raise _deleted(plan.version)
        return self._log.begin(self._project.arn, plan.version, output=wish.output, kms_key=wish.kms_key)

    def _renewed(self, row: Training, wish: TrainingWish) -> Training:
        """The row of a training that the service does not show, with the present wish; the name stays the same."""
        if row.state is not TrainingState.INTENT or (row.output, row.kms_key) == (wish.output, wish.kms_key):
            return row
        self._log.end(row.id, TrainingState.DROPPED)
        return self._log.begin(self._project.arn, row.version, output=wish.output, kms_key=wish.kms_key)[0]

    async def _started(self, row: Training, *, is_own: bool, may_pay: bool) -> tuple[ModelVersion, bool]:
        """The version of an open row that one look did not show: the service has it, or is asked for it.

        Args:
            row: The row.
            is_own: Whether this command has begun it, so that it has made what is there.
            may_pay: Whether the user has agreed to pay.

        Returns:
            The version, and whether another command had asked for it.

        Raises:
            ResourceMissingError: The service had it, and it is not there any more.
        """
        if row.state is TrainingState.STARTED:
            return await self._still_there(row), True
        if not may_pay:
            raise _deleted(row.version)
        return await self._ask(row, is_own=is_own)

    async def _ask(self, row: Training, *, is_own: bool) -> tuple[ModelVersion, bool]:
        """As ``_started``. The command that has begun a row asks first: another one may only have died, or be slow."""
        may_be_made = False
        if not is_own:
            await self._poller.pause(f"version {row.version}")

        async def make() -> None:
            nonlocal may_be_made
            try:
                await self._service.create_version(
                    self._project.arn, row.version, output=row.output, kms_key=row.kms_key
                )
            except (ThrottledError, TransientError) as error:
                may_be_made = may_be_made or not is_certainly_undone(error)
                raise
            may_be_made = True

        try:
            found = await ensure(f"version {row.version}", lambda: self._find(row.version), make, self._poller)
        except ResourceInUseError:
            raise  # there may be one of this name that cannot be seen yet: the row stays open
        except (RefusedError, AccessError, CallError):
            if not may_be_made:
                self._log.end(row.id, TrainingState.DROPPED)
            raise
        return found, not (is_own or may_be_made)

    async def _still_there(self, row: Training) -> ModelVersion:
        """A version that the service had, and that one look did not show.

        Raises:
            ResourceMissingError: It is not there any more.
        """
        for _ in range(_LOOKS):
            await self._poller.pause(f"version {row.version}")
            if found := await self._find(row.version):
                return found
        self._log.end(row.id, TrainingState.REPORTED)
        raise _deleted(row.version)

    async def _end(self, version: ModelVersion, *, waits: bool) -> ModelVersion:
        """A version once its training is over; as it is now without a wait."""
        if not waits:
            return version
        what = f"training of {version.name}"
        missed = 0

        def is_over(seen: ModelVersion | None) -> bool:
            nonlocal missed
            missed = 0 if seen is not None else missed + 1
            return missed >= _LOOKS or (seen is not None and seen.status != VersionStatus.TRAINING_IN_PROGRESS)

        seen = await self._poller.until(
            what, lambda: self._find(version.name), is_over, lambda found: found.status if found else "not shown"
        )
        if seen is None:
            raise _deleted(version.name)
        return seen

    async def _is_replaced(self, row: Training, wish: TrainingWish) -> bool:
        """Whether an open training is none: it was never started, and the wish names another version.

        Raises:
            RefusedError: It goes on, or its end was not shown, and the wish names another version.
        """
        if wish.version in {None, row.version}:
            return False
        if row.state is TrainingState.INTENT and await self._find(row.version) is None:
            self._log.end(row.id, TrainingState.DROPPED)
            return True
        raise RefusedError(
            f"the training of {row.version} goes on, or its end was not shown yet",
            code=TRAINING_OPEN,
            hint=f"See its end first: asyncfilter model train {self._project.name} --version {row.version}.",
        )

    async def _find(self, version: str) -> ModelVersion | None:
        return await find_version(self._service, self._project, VersionName(version))


def _status(version: ModelVersion | None) -> str | None:
    return None if version is None else version.status


def _deleted(version: str) -> ResourceMissingError:
    return ResourceMissingError(
        f"version {version} was deleted while it was trained, or since",
        code="ResourceNotFoundException",
        hint="Repeat the command to train a new version.",
    )
