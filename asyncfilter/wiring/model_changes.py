"""The verbs of the ``model`` commands that make and train something."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from asyncfilter.clock import SystemClock
from asyncfilter.custom_labels.counting import Counter, ImportedDataset
from asyncfilter.custom_labels.finding import the_project
from asyncfilter.custom_labels.import_log import ImportLog
from asyncfilter.custom_labels.importing import Importer, ImportWish
from asyncfilter.custom_labels.ledger import open_ledger
from asyncfilter.custom_labels.projects import MadeProject, make_project
from asyncfilter.custom_labels.training import Trained, Trainer, TrainingPlan, TrainingWish
from asyncfilter.custom_labels.training_errors import TrainingError, training_errors
from asyncfilter.custom_labels.training_log import TrainingLog, TrainingState
from asyncfilter.custom_labels.waiting import Poller
from asyncfilter.job.model_names import ProjectName
from asyncfilter.job.spec import Aws
from asyncfilter.ports.model_service import ModelVersion, Project
from asyncfilter.wiring.models import ChangingModels, open_changing_models


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How a command waits.

    Attributes:
        poll_s: Pause between two looks, seconds.
        timeout_s: Longest time of all waits, seconds; None for no bound.
        tell: Called with a sentence when something changes.
    """

    poll_s: float
    timeout_s: float | None
    tell: Callable[[str], object]

    def poller(self) -> Poller:
        """Waits, from now on."""
        return Poller(SystemClock(), poll_s=self.poll_s, timeout_s=self.timeout_s, tell=self.tell)


async def create_model_project(wanted: ProjectName, patience: Patience, *, aws: Aws) -> MadeProject:
    """Make a project, unless it is there.

    Raises:
        RefusedError: The service refuses.
        LedgerError: The ledger cannot be used.
        AccessError: The service cannot be asked.
    """
    async with open_changing_models(aws) as models:
        return await make_project(models.service, models.calls, wanted, patience.poller())


# -- Training ----------------------------------------------------------------------------------------------------------


async def plan_training(project: ProjectName, wish: TrainingWish, patience: Patience, *, aws: Aws) -> TrainingPlan:
    """What ``train`` will do, and whether it will cost something; changes nothing at the service.

    Raises:
        RefusedError: There is no such project, or another training of it is open.
        LedgerError: The ledger cannot be used.
        AccessError: The service cannot be asked.
    """
    async with open_changing_models(aws) as models:
        found = await the_project(models.service, project)
        now = datetime.fromtimestamp(models.clock.unix(), UTC)
        name = f"{found.name}.{now.strftime('%Y-%m-%dT%H.%M.%S')}"
        return await _trainer(models, found, patience).plan(wish, default_name=name)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingReport:
    """A training as ``train`` shows it.

    Attributes:
        trained: The version as it was last seen.
        errors: What the service found wrong with the datasets.
    """

    trained: Trained
    errors: tuple[TrainingError, ...]


async def train_model(
    project: ProjectName, wish: TrainingWish, plan: TrainingPlan, patience: Patience, *, waits: bool, aws: Aws
) -> TrainingReport:
    """Train, or attach to the training that goes on.

    Args:
        project: The project.
        wish: What the user asks for.
        plan: From ``plan_training``; the user has agreed to it.
        patience: How to wait.
        waits: Whether to wait for the end.
        aws: The AWS settings.

    Raises:
        RefusedError: The service refuses.
        WaitEndedError: The time of the wait is over.
        LedgerError: The ledger cannot be used.
        AccessError: The service cannot be asked.
    """
    async with open_changing_models(aws) as models:
        found = await the_project(models.service, project)
        trained = await _trainer(models, found, patience).train(wish, plan, waits=waits)
        errors: tuple[TrainingError, ...] = ()
        if trained.is_over:
            with tempfile.TemporaryFile() as held:
                errors = tuple(await training_errors(models.files, trained.version, held))
        return TrainingReport(trained=trained, errors=errors)


async def trainings_now(project: ProjectName, patience: Patience, *, aws: Aws) -> tuple[tuple[str, ModelVersion], ...]:
    """The versions of the account that are being trained, with their projects."""
    async with open_changing_models(aws) as models:
        found = await the_project(models.service, project)
        return tuple(await _trainer(models, found, patience).training_now())


def training_shown(trained: Trained) -> None:
    """Note in the ledger that the end of a training was shown: the next ``train`` trains a new version."""
    if trained.row is None or not trained.is_over:
        return
    with open_ledger() as ledger:
        TrainingLog(ledger, SystemClock(), endpoint="").end(trained.row, TrainingState.REPORTED)


# -- Imports -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """An import as ``import`` shows it.

    Attributes:
        job: Its name in the ledger.
        datasets: What became of them.
    """

    job: str
    datasets: tuple[ImportedDataset, ...]


async def import_manifests(project: ProjectName, wish: ImportWish, patience: Patience, *, aws: Aws) -> ImportReport:
    """Import manifests that were checked, or take up the import that was cut; then count the datasets.

    Raises:
        RefusedError: The service refuses.
        WaitEndedError: The time of the wait is over.
        LedgerError: The ledger cannot be used.
        AccessError: The service cannot be asked.
    """
    async with open_changing_models(aws) as models:
        found = await the_project(models.service, project)
        poller = patience.poller()
        log = ImportLog(models.ledger, models.clock, endpoint=models.service.endpoint)
        rows = await Importer(models.service, models.files, log, poller).run(found, wish)
        datasets = await Counter(models.service, poller, project).count(wish, rows)
        return ImportReport(job=rows[0].job, datasets=tuple(datasets))


def import_shown(report: ImportReport) -> None:
    """Note in the ledger that the result of an import was shown: the same files are imported anew from now on."""
    with open_ledger() as ledger:
        ImportLog(ledger, SystemClock(), endpoint="").report(report.job)


def _trainer(models: ChangingModels, project: Project, patience: Patience) -> Trainer:
    log = TrainingLog(models.ledger, models.clock, endpoint=models.service.endpoint)
    return Trainer(models.service, log, patience.poller(), project)
