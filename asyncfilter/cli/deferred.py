"""What commands call that takes long to import: AWS's client, event loop, database, YAML and schema, logging.

A name is imported when it is first used. So the help of a command and the completion of its options need none of this.
A mistake on the command line or in a job file does not wait for AWS's client (half a second). A signal that comes
during such an import finds the command's own handlers. Everything else is imported where it is used, as usual.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncfilter.answers import merge_files
    from asyncfilter.answers.state import read_answers_state
    from asyncfilter.aws import configured_region, open_aws, quota_tps
    from asyncfilter.checkpoint import (
        checkpoint_exists,
        count_pending,
        read_duplicates,
        read_images,
        read_labels,
        read_status,
        read_stored_references,
        read_taken_over,
    )
    from asyncfilter.cli.apply_console import remove_with_console
    from asyncfilter.cli.console import run_async, run_draining, run_listing, run_until_signal
    from asyncfilter.cli.job_sandbox.contents import contents_for
    from asyncfilter.cli.run_console import run_with_console
    from asyncfilter.job.load import load_job, parse_job
    from asyncfilter.report.answers import answers_mapping
    from asyncfilter.report.terminal.answers import draw_answers
    from asyncfilter.report.terminal.bench import bench_mapping, draw_bench, question
    from asyncfilter.report.terminal.states import (
        look_lines,
        look_mapping,
        prune_lines,
        prune_mapping,
        pulled_lines,
        pulled_mapping,
    )
    from asyncfilter.state.status import read_state_status
    from asyncfilter.state.unnamed import Pruned
    from asyncfilter.wiring import (
        examine_sample,
        label_references,
        measure,
        plan_apply,
        plan_undo,
        propose_bench,
        survey,
        undo,
    )
    from asyncfilter.wiring.access import check_permissions
    from asyncfilter.wiring.answer_changes import Word, set_answer
    from asyncfilter.wiring.answer_exports import AnswerExport, ExportOptions, job_of
    from asyncfilter.wiring.answer_imports import import_answers
    from asyncfilter.wiring.answer_list import list_answers
    from asyncfilter.wiring.answers import find_answers
    from asyncfilter.wiring.apply import apply
    from asyncfilter.wiring.audit import QuestionOptions, audit, check_options, write_questions
    from asyncfilter.wiring.calibration import CalibrationQuery, calibrate, patch_of, read_job_file
    from asyncfilter.wiring.doctor import diagnose
    from asyncfilter.wiring.equal_images import list_contents
    from asyncfilter.wiring.first_look import check_places, fits_checkpoint, label_sample, look_at
    from asyncfilter.wiring.image_contents import read_contents
    from asyncfilter.wiring.image_looks import look_at_images
    from asyncfilter.wiring.image_sizes import read_sizes
    from asyncfilter.wiring.located import with_known_bucket
    from asyncfilter.wiring.manifests import fetch_manifest, list_entries
    from asyncfilter.wiring.owned_state import begun_state, push_state, ship_answers
    from asyncfilter.wiring.refilter import refilter
    from asyncfilter.wiring.review_parts import ReviewOptions
    from asyncfilter.wiring.reviewing import Served, review_folder, review_job
    from asyncfilter.wiring.run import run
    from asyncfilter.wiring.states import (
        find_state,
        for_reading,
        holder_of,
        look_at_state,
        no_state_of,
        plan_pruning,
        prune_state,
        pull_state,
    )

_HOMES = {
    "AnswerExport": "wiring.answer_exports",
    "CalibrationQuery": "wiring.calibration",
    "ExportOptions": "wiring.answer_exports",
    "Pruned": "state.unnamed",
    "QuestionOptions": "wiring.audit",
    "ReviewOptions": "wiring.review_parts",
    "Served": "wiring.reviewing",
    "Word": "wiring.answer_changes",
    "answers_mapping": "report.answers",
    "apply": "wiring",
    "audit": "wiring.audit",
    "begun_state": "wiring.owned_state",
    "bench_mapping": "report.terminal.bench",
    "calibrate": "wiring.calibration",
    "check_options": "wiring.audit",
    "check_permissions": "wiring.access",
    "check_places": "wiring.first_look",
    "checkpoint_exists": "checkpoint",
    "configured_region": "aws",
    "contents_for": "cli.job_sandbox.contents",
    "count_pending": "checkpoint",
    "diagnose": "wiring.doctor",
    "draw_answers": "report.terminal.answers",
    "draw_bench": "report.terminal.bench",
    "examine_sample": "wiring",
    "fetch_manifest": "wiring.manifests",
    "find_answers": "wiring.answers",
    "find_state": "wiring.states",
    "fits_checkpoint": "wiring.first_look",
    "for_reading": "wiring.states",
    "holder_of": "wiring.states",
    "import_answers": "wiring.answer_imports",
    "job_of": "wiring.answer_exports",
    "label_references": "wiring",
    "label_sample": "wiring.first_look",
    "list_answers": "wiring.answer_list",
    "list_contents": "wiring.equal_images",
    "list_entries": "wiring.manifests",
    "load_job": "job.load",
    "look_at": "wiring.first_look",
    "look_at_images": "wiring.image_looks",
    "look_at_state": "wiring.states",
    "look_lines": "report.terminal.states",
    "look_mapping": "report.terminal.states",
    "measure": "wiring",
    "merge_files": "answers",
    "no_state_of": "wiring.states",
    "open_aws": "aws",
    "parse_job": "job.load",
    "patch_of": "wiring.calibration",
    "plan_apply": "wiring",
    "plan_pruning": "wiring.states",
    "plan_undo": "wiring",
    "propose_bench": "wiring",
    "prune_lines": "report.terminal.states",
    "prune_mapping": "report.terminal.states",
    "prune_state": "wiring.states",
    "pull_state": "wiring.states",
    "push_state": "wiring.owned_state",
    "ship_answers": "wiring.owned_state",
    "pulled_lines": "report.terminal.states",
    "pulled_mapping": "report.terminal.states",
    "question": "report.terminal.bench",
    "quota_tps": "aws",
    "read_answers_state": "answers.state",
    "read_contents": "wiring.image_contents",
    "read_duplicates": "checkpoint",
    "read_images": "checkpoint",
    "read_job_file": "wiring.calibration",
    "read_labels": "checkpoint",
    "read_sizes": "wiring.image_sizes",
    "read_state_status": "state.status",
    "read_status": "checkpoint",
    "read_stored_references": "checkpoint",
    "read_taken_over": "checkpoint",
    "refilter": "wiring",
    "remove_with_console": "cli.apply_console",
    "review_folder": "wiring.reviewing",
    "review_job": "wiring.reviewing",
    "run": "wiring",
    "run_async": "cli.console",
    "run_draining": "cli.console",
    "run_listing": "cli.console",
    "run_until_signal": "cli.console",
    "run_with_console": "cli.run_console",
    "set_answer": "wiring.answer_changes",
    "survey": "wiring",
    "undo": "wiring",
    "with_known_bucket": "wiring.located",
    "write_questions": "wiring.audit",
}

__all__ = [
    "AnswerExport",
    "CalibrationQuery",
    "ExportOptions",
    "Pruned",
    "QuestionOptions",
    "ReviewOptions",
    "Served",
    "Word",
    "answers_mapping",
    "apply",
    "audit",
    "begun_state",
    "bench_mapping",
    "calibrate",
    "check_options",
    "check_permissions",
    "check_places",
    "checkpoint_exists",
    "configured_region",
    "contents_for",
    "count_pending",
    "diagnose",
    "draw_answers",
    "draw_bench",
    "examine_sample",
    "fetch_manifest",
    "find_answers",
    "find_state",
    "fits_checkpoint",
    "for_reading",
    "holder_of",
    "import_answers",
    "job_of",
    "label_references",
    "label_sample",
    "list_answers",
    "list_contents",
    "list_entries",
    "load_job",
    "look_at",
    "look_at_images",
    "look_at_state",
    "look_lines",
    "look_mapping",
    "measure",
    "merge_files",
    "no_state_of",
    "open_aws",
    "parse_job",
    "patch_of",
    "plan_apply",
    "plan_pruning",
    "plan_undo",
    "propose_bench",
    "prune_lines",
    "prune_mapping",
    "prune_state",
    "pull_state",
    "pulled_lines",
    "pulled_mapping",
    "push_state",
    "question",
    "quota_tps",
    "read_answers_state",
    "read_contents",
    "read_duplicates",
    "read_images",
    "read_job_file",
    "read_labels",
    "read_sizes",
    "read_state_status",
    "read_status",
    "read_stored_references",
    "read_taken_over",
    "refilter",
    "remove_with_console",
    "review_folder",
    "review_job",
    "run",
    "run_async",
    "run_draining",
    "run_listing",
    "run_until_signal",
    "run_with_console",
    "set_answer",
    "ship_answers",
    "survey",
    "undo",
    "with_known_bucket",
    "write_questions",
]


def importer(module: str, homes: Mapping[str, str]) -> Callable[[str], object]:
    """The ``__getattr__`` of a module whose names are imported when they are first used.

    Args:
        module: Its name.
        homes: By name, the module below ``asyncfilter`` that has it.
    """

    def imported(name: str) -> object:
        if name not in homes:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        return getattr(import_module(f"asyncfilter.{homes[name]}"), name)

    return imported


__getattr__ = importer(__name__, _HOMES)
