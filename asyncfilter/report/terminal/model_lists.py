"""The result of ``model list``, and of ``model delete``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from asyncfilter.custom_labels.deleting import Deleted, DeletePlan
from asyncfilter.custom_labels.listing import ListedModel, Listing
from asyncfilter.custom_labels.states import moment_text
from asyncfilter.policy.pricing import model_hour_micros
from asyncfilter.report.formatting import usd, usd_number
from asyncfilter.report.terminal.leases import lease_mapping, lease_text
from asyncfilter.report.terminal.models import version_text


def list_mapping(listing: Listing) -> dict[str, Any]:
    """Projects and versions under their public names."""
    return {
        "projects": [
            {
                "project": project.name,
                "arn": project.arn,
                "status": project.status,
                "created": moment_text(project.created_at),
            }
            for project in listing.projects
        ],
        "models": [_model_mapping(model) for model in listing.models],
    }


def _model_mapping(model: ListedModel) -> dict[str, Any]:
    version = model.version
    return {
        "project": model.project.name,
        "version": version.name,
        "arn": version.arn,
        "status": version.status,
        "f1": version.f1,
        "units": model.units,
        "usd_per_hour": usd_number(model_hour_micros(model.units)),
        "foreign": model.is_foreign,
        "lease": lease_mapping(model.lease),
    }


def list_lines(listing: Listing) -> Iterator[str]:
    """Projects and versions, and what they cost an hour."""
    for project in listing.projects:
        yield f"{project.name}: {project.status} ({project.arn})"
        for model in listing.models:
            if model.project.arn == project.arn:
                yield f"  {version_text(model.version)}{_marks(model)}"
    if not listing.projects:
        yield "no project"
    micros = sum(model_hour_micros(model.units) for model in listing.models)
    if micros:
        yield f"running models cost {usd(micros)} an hour"


def _marks(model: ListedModel) -> str:
    if model.is_foreign:
        return ": foreign, runs without a lease of yours"
    return "" if model.lease is None else f": {lease_text(model.lease)}"


def delete_mapping(plan: DeletePlan, deleted: Deleted) -> dict[str, Any]:
    """What was deleted, under its public names."""
    return {
        "project": plan.wanted.name,
        "arn": None if plan.project is None else plan.project.arn,
        "stopped": deleted.stopped,
        "versions": deleted.versions,
        "datasets": deleted.datasets,
        "project_deleted": deleted.project,
        "gone": list(plan.gone),
    }


def delete_lines(plan: DeletePlan, deleted: Deleted) -> Iterator[str]:
    """What was deleted, and what was gone already."""
    name = plan.wanted.name
    for version in deleted.versions:
        yield f"{name}: deleted version {version}"
    for dataset in deleted.datasets:
        yield f"{name}: deleted the {dataset} dataset"
    if deleted.project:
        yield f"{name}: deleted the project"
    for version in plan.gone:
        yield f"{name}: version {version} is gone already"
    if plan.project is None:
        yield f"{name}: gone already"
    elif plan.is_empty and not plan.gone:
        yield f"{name}: nothing to delete"
