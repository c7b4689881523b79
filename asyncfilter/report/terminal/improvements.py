"""Results of ``model improve``: their public names, and lines of text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from asyncfilter.custom_labels.corrections import Corrections
from asyncfilter.custom_labels.counting import ImportedDataset
from asyncfilter.custom_labels.improving import Improved, ImprovementPlan
from asyncfilter.custom_labels.training_errors import TrainingError
from asyncfilter.datasets.manifests.codes import Finding
from asyncfilter.policy.pricing import training_micros
from asyncfilter.report.formatting import count, usd, usd_number
from asyncfilter.report.terminal.models import SHOWN_ERRORS, import_lines, import_mapping, training_lines


def bare_improvement(project: str) -> dict[str, Any]:
    """The result where nothing was done."""
    return {
        "project": project,
        "added": 0,
        "replaced": 0,
        "skipped": {},
        "old": {"version": None, "f1": None},
        "new": {"version": None, "f1": None},
        "test_sets_equal": None,
        "better": False,
        "proposal": "keep",
        "switched": False,
        "differences": [],
        "import": None,
        "training": None,
        "errors": [],
    }


def planned_mapping(plan: ImprovementPlan) -> dict[str, Any]:
    """The result before anything was done."""
    return bare_improvement(plan.project.name) | {
        "skipped": dict(plan.selected.skipped),
        "old": {"version": plan.old_version, "f1": None},
    }


def refused_mapping(project: str, findings: Sequence[Finding]) -> dict[str, Any]:
    """The result for corrections with errors; the service was not called."""
    errors = [
        {"dataset": "corrections", "line": found.line, "code": found.code, "message": found.message}
        for found in findings
    ]
    return bare_improvement(project) | {"errors": errors}


def improvement_mapping(plan: ImprovementPlan, improved: Improved, errors: Sequence[TrainingError]) -> dict[str, Any]:
    """An improvement under its public names."""
    row, verdict, trained = improved.row, improved.verdict, improved.trained
    imported = improved.imported
    f1_new = verdict.f1_new if verdict is not None else None
    return planned_mapping(plan) | {
        "added": row.added or 0,
        "replaced": row.replaced or 0,
        "old": {"version": row.old_version, "f1": None if verdict is None else verdict.f1_old},
        "new": {"version": None if trained is None else trained.version.name, "f1": f1_new},
        "test_sets_equal": None if verdict is None else verdict.test_sets_equal,
        "better": improved.is_better,
        "proposal": "switch" if improved.is_better else "keep",
        "differences": [] if verdict is None else list(verdict.differences),
        "import": None if imported is None else import_mapping(plan.project.name, [imported])["datasets"]["train"],
        "training": None if trained is None else _training_mapping(improved),
        "errors": [
            {"dataset": error.dataset, "line": error.line, "code": error.code, "message": error.message}
            for error in errors
        ],
    }


def _training_mapping(improved: Improved) -> dict[str, Any] | None:
    if improved.trained is None:
        return None
    version = improved.trained.version
    return {
        "arn": version.arn,
        "status": version.status,
        "status_message": version.message or None,
        "billable_s": version.billable_s,
        "usd": None if version.billable_s is None else usd_number(training_micros(version.billable_s)),
        "attached": improved.trained.is_attached,
    }


def improvement_lines(plan: ImprovementPlan, improved: Improved, errors: Sequence[TrainingError]) -> Iterator[str]:
    """An improvement in words: what went in, both versions, and the proposal."""
    name, row, trained = plan.project.name, improved.row, improved.trained
    if trained is None:
        yield from _import_lines(name, improved.imported)
        return
    yield f"{name}: {count(row.added or 0)} images added, {count(row.replaced or 0)} corrected{_skipped(plan)}"
    if improved.verdict is None:
        yield from training_lines(name, trained, errors)
        yield "proposal: keep; the training has failed"
        return
    verdict, version = improved.verdict, trained.version
    if row.old_version is not None:
        yield f"  old  {row.old_version}: F1 {_f1(verdict.f1_old)}"
    cost = "" if version.billable_s is None else f", trained for {usd(training_micros(version.billable_s))}"
    yield f"  new  {version.name}: F1 {_f1(verdict.f1_new)}{cost}"
    yield from (f"  {text}" for text in verdict.differences)
    yield f"proposal: {_proposal(improved)}"


def _import_lines(name: str, imported: ImportedDataset | None) -> Iterator[str]:
    yield from import_lines(name, [] if imported is None else [imported])
    yield "nothing was trained: not all corrections are in the training dataset"


def _skipped(plan: ImprovementPlan) -> str:
    parts = [f"{count(number)} {reason}" for reason, number in plan.selected.skipped.items() if number]
    return f", skipped: {', '.join(parts)}" if parts else ""


def _f1(found: float | None) -> str:
    return "unknown" if found is None else f"{found:.3f}"


def _proposal(improved: Improved) -> str:
    verdict, row = improved.verdict, improved.row
    if improved.is_better:
        reason = "there is no other version" if row.old_version is None else "its F1 is higher on the same test images"
        return f"switch to {row.version}: {reason}"
    if verdict is not None and verdict.test_sets_equal is False:
        return "keep: the versions were tested with different images, so that their F1 does not show which is better"
    return f"keep {row.old_version or 'none'}: the F1 of {row.version} is not higher"


def correction_lines(corrections: Corrections) -> Iterator[str]:
    """What is wrong with corrections."""
    for found in corrections.errors[:SHOWN_ERRORS]:
        yield f"{corrections.name}:{'' if found.line is not None else ' '}{found}"
    if len(corrections.errors) > SHOWN_ERRORS:
        yield f"... and {count(len(corrections.errors) - SHOWN_ERRORS)} more (--json shows all)"
