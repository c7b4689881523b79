"""Results of the commands about models: their public names, and lines of text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from asyncfilter.custom_labels.states import ProjectState, dataset_mapping, moment_text, version_mapping
from asyncfilter.ports.model_service import Dataset, Version
from asyncfilter.report.formatting import count


def status_mapping(state: ProjectState) -> dict[str, Any]:
    """The state of a project under its public names."""
    return {
        "project": state.project.name,
        "arn": state.project.arn,
        "status": state.project.status,
        "datasets": {"train": dataset_mapping(state.train), "test": dataset_mapping(state.test)},
        "versions": [version_mapping(version) for version in state.versions],
    }


def status_lines(state: ProjectState) -> Iterator[str]:
    """The state of a project."""
    yield f"{state.project.name}: {state.project.status} ({state.project.arn})"
    yield f"  train  {_dataset_text(state.train)}"
    yield f"  test   {_dataset_text(state.test)}"
    for version in state.versions:
        yield f"  {version_text(version)}"
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
