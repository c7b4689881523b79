"""The verbs of ``model delete``."""

from __future__ import annotations

from asyncfilter.custom_labels.deleting import Deleted, DeletePlan, Deleter, DeleteWish, deletion_plan
from asyncfilter.custom_labels.training_log import TrainingLog
from asyncfilter.job.model_names import ProjectName, VersionName
from asyncfilter.job.spec import Aws
from asyncfilter.ports.model_service import ModelVersion, Project
from asyncfilter.wiring.leases import plan_stop, stop_model
from asyncfilter.wiring.model_changes import Patience
from asyncfilter.wiring.models import open_changing_models, open_models


async def plan_delete(project: ProjectName, wish: DeleteWish, *, stops: bool, aws: Aws) -> DeletePlan:
    """What is there of what is to be deleted; changes nothing.

    Args:
        project: The project.
        wish: What is to be deleted.
        stops: Whether models that run may be stopped, and trainings waited for.
        aws: The AWS settings.

    Raises:
        RefusedError: A model runs or is being trained, and may not be stopped.
        AccessError: The service cannot be asked.
    """
    async with open_models(aws) as models:
        found = await deletion_plan(models.service, project, wish)
    found.check(stops=stops)
    return found


async def delete_models(planned: DeletePlan, patience: Patience, *, aws: Aws) -> Deleted:
    """Carry out a plan, and wait until all is gone.

    Raises:
        RefusedError: The service goes on refusing.
        WaitEndedError: The time of the waits is over.
        LedgerError: The ledger cannot be used.
        AccessError: The service cannot be asked.
    """

    async def stop(project: Project, version: ModelVersion) -> None:
        name = VersionName(version.name, version.arn)
        stopping = await plan_stop(ProjectName(project.name, arn=project.arn), name, aws=aws)
        reaped = await stop_model(stopping, patience)
        for failure in reaped.failed:
            raise failure.error

    async with open_changing_models(aws) as models:
        deleted = await Deleter(models.service, patience.poller(), stop).run(planned)
        if planned.project is not None:
            trainings = TrainingLog(models.ledger, models.clock, endpoint=models.service.endpoint)
            for version in deleted.versions:
                trainings.forget(planned.project.arn, version)
        return deleted
