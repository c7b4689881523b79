"""Results of the commands about models: their public names, and lines of text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from asyncfilter.custom_labels.counting import ImportedDataset
from asyncfilter.custom_labels.states import ProjectState, dataset_mapping, moment_text, version_mapping
from asyncfilter.custom_labels.training import Trained
from asyncfilter.custom_labels.training_errors import TrainingError
from asyncfilter.policy.pricing import training_micros
from asyncfilter.ports.model_service import Dataset, DatasetType, ModelVersion
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


def version_text(version: ModelVersion) -> str:
    """A version in one line."""
    f1 = "" if version.f1 is None else f", F1 {version.f1:.3f}"
    number = version.min_units
    is_on = version.status in {"STARTING", "RUNNING"}
    units = f", {number} {'unit' if number == 1 else 'units'}" if is_on else ""
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
    yield from _more(len(errors))


def import_mapping(project: str, datasets: Sequence[ImportedDataset]) -> dict[str, Any]:
    """The datasets of an import under their public names."""
    by_kind = {one.kind: _imported_mapping(one) for one in datasets}
    return {
        "project": project,
        "datasets": {kind.value.lower(): by_kind.get(kind) for kind in DatasetType},
        "ok": all(one.ok for one in datasets),
    }


def _imported_mapping(one: ImportedDataset) -> dict[str, Any]:
    dataset = one.dataset
    return {
        "arn": None if dataset is None else dataset.arn,
        "status": None if dataset is None else dataset.status,
        "status_message": None if dataset is None else dataset.message or None,
        "lines": one.lines,
        "entries": 0 if dataset is None else dataset.entries,
        "labels": 0 if dataset is None else dataset.labels,
        "error_entries": 0 if dataset is None else dataset.error_entries,
        "batches": one.batches,
        "missing": [{"line": line.line, "source_ref": line.source_ref, "code": line.code} for line in one.missing],
        "errors": [
            {"line": error.line, "source_ref": error.source_ref, "code": error.code, "message": error.message}
            for error in one.errors
        ],
    }


def import_lines(project: str, datasets: Sequence[ImportedDataset]) -> Iterator[str]:
    """The datasets of an import, and the lines that the service dropped or found wrong."""
    for one in datasets:
        of_lines = "" if one.lines is None else f" of {count(one.lines)} lines"
        dataset = one.dataset
        state = "no dataset" if dataset is None else dataset.status
        figures = (
            "" if dataset is None else f", {count(dataset.entries)} entries{of_lines}, {count(dataset.labels)} labels"
        )
        yield f"{project} {one.kind.value.lower()}: {state}{figures}"
        for line in one.missing[:SHOWN_ERRORS]:
            yield f"  line {line.line}: not in the dataset: {line.code} {line.source_ref or ''}".rstrip()
        yield from _more(len(one.missing))
        for error in one.errors[:SHOWN_ERRORS]:
            place = "" if error.line is None else f"line {error.line}: "
            yield f"  {place}{error.code or 'without a code'}: {error.message} {error.source_ref or ''}".rstrip()
        yield from _more(len(one.errors))


def _more(number: int) -> Iterator[str]:
    if number > SHOWN_ERRORS:
        yield f"  ... and {count(number - SHOWN_ERRORS)} more (--json shows all)"
