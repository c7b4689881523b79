"""The command line as a whole: every command by name, and the options that come before a command."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Annotated

import typer

from asyncfilter import __version__
from asyncfilter.cli.answers import ANSWERS
from asyncfilter.cli.dataset import DATASET
from asyncfilter.cli.exit_codes import exit_code_of
from asyncfilter.cli.lazy import Entry, Group, lazy_group
from asyncfilter.cli.manifest import MANIFEST
from asyncfilter.cli.model import MODEL
from asyncfilter.cli.options import IS_PRETTY, help_text
from asyncfilter.cli.state import STATE
from asyncfilter.cli.until_end import end

CONFIG = Group(
    help=help_text("Work on job files alone, without network and credentials.", "asyncfilter config check job.yaml"),
    short_help="Check a job file alone, without network.",
    commands={
        "check": Entry("asyncfilter.cli.config", "Check a job file alone, without network and credentials."),
    },
)

COMMANDS: Mapping[str, Entry | Group] = {
    "init": Entry("asyncfilter.cli.init", "Look at a bucket or a folder, and write a job file for it."),
    "labels": Entry("asyncfilter.cli.labels", "Show labels of good images, and the rule that they suggest."),
    "plan": Entry("asyncfilter.cli.plan", "Show what a job would cost and how long it would take."),
    "bench": Entry("asyncfilter.cli.bench", "Measure how many calls a second the account accepts."),
    "run": Entry("asyncfilter.cli.run", "Run a job, or resume it when its checkpoint exists."),
    "status": Entry("asyncfilter.cli.status", "Show what the checkpoint of a job holds."),
    "refilter": Entry("asyncfilter.cli.refilter", "Apply changed rules or actions to the stored labels, at no cost."),
    "review": Entry("asyncfilter.cli.review", "Serve a local page on which people decide and label images."),
    "apply": Entry("asyncfilter.cli.apply", "Move and delete images by the job's actions, once confirmed."),
    "undo": Entry("asyncfilter.cli.apply", "Bring back what apply took out of the source."),
    "audit": Entry("asyncfilter.cli.audit", "Draw images to ask people about, to know how good the rules are."),
    "calibrate": Entry("asyncfilter.cli.calibrate", "Show which thresholds the answers to an audit certify."),
    "export": Entry("asyncfilter.cli.export", "Write labels, verdicts and boxes as JSON Lines or CSV."),
    "answers": ANSWERS,
    "manifest": MANIFEST,
    "dataset": DATASET,
    "model": MODEL,
    "state": STATE,
    "config": CONFIG,
    "doctor": Entry("asyncfilter.cli.doctor", "Look at all that a run depends on, and name remedies."),
    "policy": Entry("asyncfilter.cli.policy", "Print the IAM policy of a job, or check what the caller lacks."),
    "schema": Entry("asyncfilter.cli.schema", "Print the JSON Schema of the job file."),
    "quota": Entry("asyncfilter.cli.quota", "Show quota, price and limits of the account in a region."),
    "sandbox": Entry("asyncfilter.cli.sandbox", "Serve a double of S3, Rekognition and Service Quotas."),
    "demo": Entry("asyncfilter.cli.demo", "Show a whole run in a sandbox; needs no account."),
}
"""Every command, in the order of the help."""

app = typer.Typer(
    name="asyncfilter",
    rich_markup_mode="rich" if IS_PRETTY else None,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_debug = False


def _print_version(value: bool) -> None:
    if value:
        sys.stdout.write(f"asyncfilter {__version__}\n")
        raise typer.Exit


@app.callback(
    help=help_text(
        "Clean image datasets in S3 with Amazon Rekognition at scale: resumable, at quota, within budget.",
        "asyncfilter demo                 see it work; nothing else is needed",
        "asyncfilter init s3://raw/birds/ look at the images there, and write a job file for them",
        "asyncfilter labels good.jpg      the labels of a good image, and the rule that they suggest",
        "asyncfilter run job.yaml         run a job, or resume it",
        "asyncfilter plan job.yaml        what it would cost and how long it would take",
        "asyncfilter bench job.yaml       how many calls a second the account accepts",
        "asyncfilter status job.yaml      what was found and spent so far",
        "asyncfilter refilter job.yaml    apply changed rules at no cost",
        "asyncfilter apply job.yaml       move or delete images by the job's actions, after a confirmation",
    )
)
def _asyncfilter(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", envvar="ASYNCFILTER_DEBUG", help="Show the traceback of an error.")
    ] = False,
) -> None:
    del version  # its callback has printed it
    global _debug  # noqa: PLW0603  read when a command has failed and its context is gone
    _debug = debug


def command_line(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; every error is reported on stderr."""
    group = lazy_group(app, COMMANDS)
    try:
        return exit_code_of(
            lambda: group.main(list(arguments), prog_name="asyncfilter", standalone_mode=False), debug=lambda: _debug
        )
    finally:
        end()
