"""The verbs of ``model improve``."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import BinaryIO

from asyncfilter.clock import Clock, SystemClock
from asyncfilter.custom_labels.corrections import Corrections
from asyncfilter.custom_labels.evaluation.comparison import compare
from asyncfilter.custom_labels.evaluation.evaluation import Evaluation, evaluate
from asyncfilter.custom_labels.evaluation.snapshot import read_snapshot
from asyncfilter.custom_labels.evaluation.summary import MAX_SUMMARY_BYTES, read_summary
from asyncfilter.custom_labels.finding import the_project
from asyncfilter.custom_labels.import_log import ImportLog
from asyncfilter.custom_labels.improvement_log import ImprovementLog
from asyncfilter.custom_labels.improving import (
    Improved,
    ImprovementPlan,
    ImprovementWish,
    Improver,
    Logs,
    VersionComparison,
    note_shown,
)
from asyncfilter.custom_labels.lease import RUNS, Lease, LeaseKind
from asyncfilter.custom_labels.ledger import Ledger, open_ledger
from asyncfilter.custom_labels.processes import ThisHost
from asyncfilter.custom_labels.reaper import Reaped, Reaper
from asyncfilter.custom_labels.training_errors import TrainingError, training_errors
from asyncfilter.custom_labels.training_log import TrainingLog
from asyncfilter.errors import ResourceNotReadyError, UsageError
from asyncfilter.job.model_names import ProjectName, VersionName
from asyncfilter.job.spec import Aws
from asyncfilter.ports.model_service import ModelVersion, ObjectFiles, Project
from asyncfilter.wiring.evaluations import fetch_files
from asyncfilter.wiring.leases import Started, StartOptions, open_lease, open_leases, plan_start, plan_stop, start_model
from asyncfilter.wiring.model_changes import Patience
from asyncfilter.wiring.models import ChangingModels, open_changing_models


async def plan_improvement(
    project: ProjectName,
    corrections: Corrections,
    wish: ImprovementWish,
    held: BinaryIO,
    patience: Patience,
    *,
    aws: Aws,
) -> ImprovementPlan:
    """What ``improve`` will do, and whether it will cost something; changes nothing at the service.

    Args:
        project: The project.
        corrections: They have no error.
        wish: What the user asks for.
        held: Where the lines go that are to be imported; it is open until ``improve_model`` has ended.
        patience: How to wait.
        aws: The AWS settings.

    Raises:
        RefusedError: A dataset is missing, a name is taken, or another training of the project is open.
        LedgerError: The ledger cannot be used.
        AccessError: The service cannot be asked.
    """
    async with open_changing_models(aws) as models:
        found = await the_project(models.service, project)
        now = datetime.fromtimestamp(models.clock.unix(), UTC)
        name = f"{found.name}.{now.strftime('%Y-%m-%dT%H.%M.%S')}"
        return await _improver(models, found, patience).plan(corrections, wish, held, default_name=name)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImprovementReport:
    """An improvement as ``improve`` shows it.

    Attributes:
        improved: What became of it.
        errors: What the service found wrong with the datasets, where the training failed.
    """

    improved: Improved
    errors: tuple[TrainingError, ...] = ()


async def improve_model(
    plan: ImprovementPlan, wish: ImprovementWish, patience: Patience, *, aws: Aws
) -> ImprovementReport:
    """Import the corrections, train, evaluate and compare; or go on with what was begun.

    Raises:
        RefusedError: The service refuses.
        WaitEndedError: The time of the waits is over.
        LedgerError: The ledger cannot be used.
        AccessError: The service cannot be asked.
    """
    async with open_changing_models(aws) as models:

        async def judge(old: ModelVersion | None, new: ModelVersion) -> VersionComparison:
            return await judge_versions(models.files, old, new, patience.tell)

        improver = _improver(models, plan.project, patience)
        improved = await improver.run(plan, wish, judge)
        errors: tuple[TrainingError, ...] = ()
        if improved.trained is not None and not improved.ok:
            with tempfile.TemporaryFile() as held:
                errors = tuple(await training_errors(models.files, improved.trained.version, held))
        return ImprovementReport(improved=improved, errors=errors)


def improvement_shown(plan: ImprovementPlan, improved: Improved) -> None:
    """Note in the ledger that a result was shown: the same corrections train a new version from now on."""
    with open_ledger() as ledger:
        note_shown(plan, improved, _logs(ledger, SystemClock(), plan.endpoint))


def _logs(ledger: Ledger, clock: Clock, endpoint: str) -> Logs:
    return Logs(
        improvements=ImprovementLog(ledger, clock, endpoint=endpoint),
        imports=ImportLog(ledger, clock, endpoint=endpoint),
        trainings=TrainingLog(ledger, clock, endpoint=endpoint),
    )


def _improver(models: ChangingModels, project: Project, patience: Patience) -> Improver:
    logs = _logs(models.ledger, models.clock, models.service.endpoint)
    return Improver(models.service, models.files, logs, patience.poller(), project)


# -- The comparison ----------------------------------------------------------------------------------------------------


async def judge_versions(
    files: ObjectFiles, old: ModelVersion | None, new: ModelVersion, tell: Callable[[str], object]
) -> VersionComparison:
    """Compare two versions; an old one whose evaluation is gone cannot be compared with."""
    tell(f"evaluating {new.name}")
    found = await _evaluation(files, new)
    if old is None:
        return VersionComparison(f1_old=None, f1_new=found.summary.figures.f1, test_sets_equal=None)
    try:
        former = await _evaluation(files, old)
    except (ResourceNotReadyError, UsageError) as error:
        return VersionComparison(
            f1_old=old.f1, f1_new=found.summary.figures.f1, test_sets_equal=False, differences=(error.message,)
        )
    compared = compare(former, found)
    return VersionComparison(
        f1_old=compared.f1_old,
        f1_new=compared.f1_new,
        test_sets_equal=compared.test_sets_equal,
        differences=tuple(compared.differences()),
    )


async def _evaluation(files: ObjectFiles, version: ModelVersion) -> Evaluation:
    with tempfile.TemporaryFile() as summary, tempfile.TemporaryFile() as snapshot:
        names = await fetch_files(files, version, summary=summary, snapshot=snapshot)
        summary.seek(0)
        snapshot.seek(0)
        figures = read_summary(summary.read(MAX_SUMMARY_BYTES + 1), file=names[0])
        found = evaluate(figures, read_snapshot(snapshot, file=names[1]), draws_curves=False)
        return found.named(project=found.summary.project or "", version=version.name)


# -- The switch --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedSwitch:
    """A switch that the user is asked about.

    Attributes:
        lease: Of ours, by which the old version runs; the new one where the switch was made before.
        left_s: How long it lasts, seconds.
        is_made: Whether the new version runs by it, and the old one by none.
    """

    lease: Lease
    left_s: float
    is_made: bool = False


async def plan_switch(project: ProjectName, old: str, new: str, *, aws: Aws) -> PlannedSwitch | None:
    """What a switch would do; None where neither version runs by a lease of ours. Changes nothing.

    Raises:
        RefusedError: There is no such version.
        LedgerError: The ledger cannot be used.
        AccessError: The service cannot be asked.
    """
    for version in (old, new):
        seen = await plan_stop(project, VersionName(version), aws=aws)
        timed = [lease for lease in seen.leases if lease.lasts and lease.kind is LeaseKind.TIME]
        left_s = timed[0].expires_at - SystemClock().unix() if timed else 0.0
        if left_s > 0 and seen.version.status in RUNS:
            return PlannedSwitch(lease=timed[0], left_s=left_s, is_made=version == new)
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Switched:
    """A switch that was made: the new version runs, and what became of the old one."""

    started: Started
    reaped: Reaped


async def switch_model(
    project: ProjectName, new: str, planned: PlannedSwitch, patience: Patience, *, aws: Aws
) -> Switched:
    """Start the new version with the end of the old one's lease; once it runs, stop the old one.

    Raises:
        RefusedError: The new version cannot be started; the old one goes on running.
        WaitEndedError: The time of the waits is over.
        LedgerError: The ledger cannot be used.
        AccessError: The service cannot be asked.
    """
    lease = planned.lease
    options = StartOptions(
        for_s=max(1.0, lease.expires_at - SystemClock().unix()), units=lease.units, max_units=lease.max_units
    )
    start = await plan_start(project, VersionName(new), options, patience, aws=aws)
    wish = replace(start.wish, not_after=lease.expires_at)  # to look took time, and so does what comes before the row
    start = replace(start, wish=wish)
    started = await start_model(start, options, patience, aws=aws)
    with open_leases() as leases:
        reaped = await Reaper(leases, ThisHost(), open_lease, patience.poller()).stop([lease])
    return Switched(started=started, reaped=reaped)
