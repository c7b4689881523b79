"""``asyncfilter model status``."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from asyncfilter.cli.model import verbs
from asyncfilter.cli.model.options import ModelOptions, ProjectArgument, WaitOptions, run_verb
from asyncfilter.cli.options import command_group, help_text, takes_options
from asyncfilter.cli.terminal import write_json, write_lines
from asyncfilter.job.model_names import ProjectName, VersionName
from asyncfilter.report.terminal.models import status_lines, status_mapping

app = command_group()


@app.command(
    "status",
    help=help_text(
        "Show datasets and versions of a project. Never changes anything, neither at the service nor here.",
        "asyncfilter model status birds",
        "asyncfilter model status birds birds.2026-11-27T10.00.00 --json",
    ),
)
@takes_options
def status(
    project: ProjectArgument,
    version: Annotated[
        str | None, typer.Argument(metavar="[VERSION]", help="Only this version.", show_default=False)
    ] = None,
    *,
    waits: WaitOptions,
    options: ModelOptions,
) -> None:
    """Show the state of a project."""
    named = ProjectName.parse(project)
    wanted = None if version is None else VersionName.parse(version, project=named)
    aws = options.aws(named)

    bare: dict[str, object] = {
        "project": named.name,
        "arn": None,
        "datasets": {"train": None, "test": None},
        "versions": [],
    }
    state = run_verb(partial(verbs.model_status, named, wanted, aws=aws), bare, options, waits=waits, reaps=False)
    if options.as_json:
        write_json(status_mapping(state))
    else:
        write_lines(status_lines(state))
