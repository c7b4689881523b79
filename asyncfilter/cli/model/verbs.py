"""What the ``model`` commands call that takes long to import; see ``asyncfilter.cli.deferred``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncfilter.cli.deferred import importer

if TYPE_CHECKING:
    from asyncfilter.wiring.evaluations import fetch_evaluation
    from asyncfilter.wiring.improvements import (
        improve_model,
        improvement_shown,
        plan_improvement,
        plan_switch,
        switch_model,
    )
    from asyncfilter.wiring.leases import (
        StartOptions,
        forget_lease,
        plan_start,
        plan_stop,
        start_model,
        stop_due,
        stop_expired,
        stop_model,
    )
    from asyncfilter.wiring.model_changes import (
        Patience,
        create_model_project,
        import_manifests,
        import_shown,
        plan_training,
        train_model,
        training_shown,
        trainings_now,
    )
    from asyncfilter.wiring.model_deletes import delete_models, plan_delete
    from asyncfilter.wiring.models import model_list, model_status
    from asyncfilter.wiring.thumbnails import fetch_thumbnails

_HOMES = {
    "Patience": "wiring.model_changes",
    "StartOptions": "wiring.leases",
    "create_model_project": "wiring.model_changes",
    "delete_models": "wiring.model_deletes",
    "fetch_evaluation": "wiring.evaluations",
    "fetch_thumbnails": "wiring.thumbnails",
    "forget_lease": "wiring.leases",
    "import_manifests": "wiring.model_changes",
    "import_shown": "wiring.model_changes",
    "improve_model": "wiring.improvements",
    "improvement_shown": "wiring.improvements",
    "model_list": "wiring.models",
    "model_status": "wiring.models",
    "plan_delete": "wiring.model_deletes",
    "plan_improvement": "wiring.improvements",
    "plan_start": "wiring.leases",
    "plan_stop": "wiring.leases",
    "plan_switch": "wiring.improvements",
    "plan_training": "wiring.model_changes",
    "start_model": "wiring.leases",
    "stop_due": "wiring.leases",
    "stop_expired": "wiring.leases",
    "stop_model": "wiring.leases",
    "switch_model": "wiring.improvements",
    "train_model": "wiring.model_changes",
    "training_shown": "wiring.model_changes",
    "trainings_now": "wiring.model_changes",
}

__all__ = [
    "Patience",
    "StartOptions",
    "create_model_project",
    "delete_models",
    "fetch_evaluation",
    "fetch_thumbnails",
    "forget_lease",
    "import_manifests",
    "import_shown",
    "improve_model",
    "improvement_shown",
    "model_list",
    "model_status",
    "plan_delete",
    "plan_improvement",
    "plan_start",
    "plan_stop",
    "plan_switch",
    "plan_training",
    "start_model",
    "stop_due",
    "stop_expired",
    "stop_model",
    "switch_model",
    "train_model",
    "training_shown",
    "trainings_now",
]

__getattr__ = importer(__name__, _HOMES)
