"""``asyncfilter model train``."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import typer

from asyncfilter.cli.model import verbs
from asyncfilter.cli.model.options import (
    ModelOptions,
    NewVersion,
    ProjectArgument,
    TrainingOutput,
    WaitOptions,
    parse_place,
    run_verb,
    wait_verb,
)
from asyncfilter.cli.options import command_group, help_text, takes_options
from asyncfilter.cli.questions import agree
from asyncfilter.cli.stderr import print_err
from asyncfilter.cli.streams import stdout_is_whole
from asyncfilter.cli.terminal import write_json, write_lines
from asyncfilter.custom_labels.training import TrainingPlan, TrainingWish
from asyncfilter.errors import ExitCode, RefusedError, ResourceLimitError
from asyncfilter.job.model_names import ProjectName, VersionName
from asyncfilter.ports.model_service import VersionStatus
from asyncfilter.report.terminal.models import training_lines, training_mapping

PRICE = "a training costs $1 an hour and takes from 30 minutes to 24 hours; one that fails costs nothing"
"""What a training costs, in words."""

app = command_group()


@app.command(
    "train",
    help=help_text(
        "Train a version with the datasets of a project, and wait for the end. Says the price, and asks. A training "
        "that was begun is attached to, never paid for twice: repeat the command after Ctrl-C, a crash or a reboot. "
        "Another training may be begun once the end of this one was shown.",
        "asyncfilter model train birds --output s3://my-bucket/training/",
        "asyncfilter model train birds --output s3://my-bucket/training/ --version v2 --no-wait --yes",
    ),
)
@takes_options
def train(
    project: ProjectArgument,
    *,
    output: TrainingOutput,
    version: NewVersion = None,
    kms: Annotated[
        str | None,
        typer.Option("--kms", metavar="ARN", help="KMS key of what the training keeps.", show_default=False),
    ] = None,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Return once the training is begun; the same command waits for it.")
    ] = False,
    waits: WaitOptions,
    options: ModelOptions,
) -> None:
    """Train, or attach to the training that goes on."""
    named = ProjectName.parse(project)
    wished = None if version is None else VersionName.parse(version, project=named).name
    wish = TrainingWish(version=wished, output=parse_place(output, "--output"), kms_key=kms)
    aws, patience = options.aws(named), waits.quiet_patience()
    bare = _bare(named.name, wished)
    plan = run_verb(partial(verbs.plan_training, named, wish, patience, aws=aws), bare, options, waits=waits)
    _ask(plan, options)
    bare = _bare(named.name, plan.version)
    verb = partial(verbs.train_model, named, wish, plan, patience, waits=not no_wait, aws=aws)
    try:
        report = wait_verb(verb, f"the training of {plan.version}", waits=waits)
    except RefusedError as error:
        going_on = trainings_going_on(named, error, waits, options)
        if options.as_json:
            write_json({**bare, "training": going_on, "error": {"code": error.code, "message": error.message}})
        raise
    if options.as_json:
        write_json(training_mapping(named.name, report.trained, report.errors))
    else:
        write_lines(training_lines(named.name, report.trained, report.errors))
    if stdout_is_whole():  # else the end was not shown: the same command shows it again, and pays for no other one
        verbs.training_shown(report.trained)
    if report.trained.is_over and report.trained.version.status in _FAILED:
        raise typer.Exit(ExitCode.SOME_FAILED)


_FAILED = frozenset({VersionStatus.TRAINING_FAILED, VersionStatus.FAILED, VersionStatus.DELETING})


def _ask(plan: TrainingPlan, options: ModelOptions) -> None:
    if plan.is_paid:
        print_err(f"{plan.version}: {PRICE}")
        agree(f"Train {plan.version} and pay for it?", yes=options.yes)
    else:
        print_err(f"{plan.version} is there ({plan.status or 'begun'}): attaching to it; nothing more is paid for")


def trainings_going_on(
    project: ProjectName, error: RefusedError, waits: WaitOptions, options: ModelOptions
) -> list[dict[str, str]]:
    """What is being trained, where that is why no other training can be begun; it is said on stderr, too."""
    if not isinstance(error, ResourceLimitError):
        return []
    found = wait_verb(
        partial(verbs.trainings_now, project, waits.quiet_patience(), aws=options.aws(project)),
        "the trainings",
        waits=waits,
    )
    for name, version in found:
        print_err(f"in training: {name} {version.name} ({version.arn})")
    return [{"project": name, "version": version.name, "arn": version.arn} for name, version in found]


def _bare(project: str, version: str | None) -> dict[str, Any]:
    """The result where nothing was trained."""
    empty = dict.fromkeys(("arn", "status", "status_message", "f1", "billable_s", "usd"))
    return {"project": project, "version": version, **empty, "attached": False, "errors": []}
