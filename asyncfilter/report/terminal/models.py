"""Results of the commands about models: their public names, and lines of text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from asyncfilter.custom_labels.states import ProjectState, dataset_mapping, moment_text, version_mapping
from asyncfilter.custom_labels.training import Trained
from asyncfilter.custom_labels.training_errors import TrainingError
from asyncfilter.policy.pricing import training_micros
from asyncfilter.ports.model_service import Dataset, Version
from asyncfilter.report.formatting import count, duration, usd, usd_number
from asyncfilter.report.terminal.leases import lease_mapping, lease_text

SHOWN_ERRORS = 20
"""Most errors that are shown to people; scripts get all."""


def status_mapping(state: ProjectState) -> dict[str, Any]:
    """The state of a project under its public names."""
    return {
        "project": state.project.name,
        "arn": state.project.arn,
        "status": state.project.status,
        "datasets": {"train": dataset_mapping(state.train), "test": dataset_mapping(state.test)},
        "versions": [
            version_mapping(version, lease_mapping(state.leases.get(version.arn))) for version in state.versions
        ],
    }


def status_lines(state: ProjectState) -> Iterator[str]:
    """The state of a project."""
    yield f"{state.project.name}: {state.project.status} ({state.project.arn})"
    yield f"  train  {_dataset_text(state.train)}"
    yield f"  test   {_dataset_text(state.test)}"
    for version in state.versions:
        yield f"  {version_text(version)}"
        if lease := state.leases.get(version.arn):
            yield f"      {lease_text(lease)}"
        if version.message:
            yield f"      {version.message}"
    if not state.versions:
        yield "  no version yet"


def _dataset_text(dataset: Dataset | None) -> str:
    if dataset is None:
        return "no dataset"
    errors = f", {count(dataset.error_entries)} with errors" if dataset.error_entries else ""
    message = f": {dataset.message}" if dataset.message and dataset.status.endswith("FAILED") else ""
    return f"{dataset.status}{message}; {count(dataset.entries)} entries, {count(dataset.labels)} labels{errors}"


def version_text(version: Version) -> str:
    """A version in one line."""
    f1 = "" if version.f1 is None else f", F1 {version.f1:.3f}"
    units = f", {version.min_units} units" if version.status in {"STARTING", "RUNNING"} else ""
    return (
        f"{version.name}  {version.status}{f1}{units}, made {moment_text(version.created_at) or 'at an unknown time'}"
    )


def training_mapping(project: str, trained: Trained, errors: Sequence[TrainingError]) -> dict[str, Any]:
    """A training under its public names; ``usd`` is null until the service says how long it was."""
    version = trained.version
    return {
        "project": project,
        "version": version.name,
        "arn": version.arn,
        "status": version.status,
        "status_message": version.message or None,
        "f1": version.f1,
        "billable_s": version.billable_s,
        "usd": None if version.billable_s is None else usd_number(training_micros(version.billable_s)),
        "attached": trained.is_attached,
        "errors": [
            {"dataset": error.dataset, "line": error.line, "code": error.code, "message": error.message}
            for error in errors
        ],
    }


def training_lines(project: str, trained: Trained, errors: Sequence[TrainingError]) -> Iterator[str]:
    """A training, and what the service found wrong with its datasets."""
    version = trained.version
    billed = "" if version.billable_s is None else f", {duration(version.billable_s)} billed"
    cost = "" if version.billable_s is None else f" ({usd(training_micros(version.billable_s))})"
    f1 = "" if version.f1 is None else f", F1 {version.f1:.3f}"
    yield f"{project} {version.name}: {version.status}{f1}{billed}{cost}"
    if version.message:
        yield f"  {version.message}"
    yield f"  {version.arn}"
    for error in errors[:SHOWN_ERRORS]:
        place = " ".join([*([error.dataset] if error.dataset else []), *([f"line {error.line}"] if error.line else [])])
        yield f"  {place}{': ' if place else ''}{error.code or 'without a code'}: {error.message}"
    if len(errors) > SHOWN_ERRORS:
        yield f"  ... and {count(len(errors) - SHOWN_ERRORS)} more (--json shows all)"
