"""``asyncfilter model list``."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from asyncfilter.cli.model import verbs
from asyncfilter.cli.model.options import ModelOptions, WaitOptions, run_verb
from asyncfilter.cli.options import command_group, help_text, takes_options
from asyncfilter.cli.terminal import write_json, write_lines
from asyncfilter.job.model_names import ProjectName
from asyncfilter.report.terminal.model_lists import list_lines, list_mapping

app = command_group()


@app.command(
    "list",
    help=help_text(
        "Show all projects and versions of the account in a region: states, F1, leases, and what running models cost "
        "an hour. A model that runs without a lease of yours is marked as foreign.",
        "asyncfilter model list",
        "asyncfilter model list birds --json",
    ),
)
@takes_options
def list_(
    project: Annotated[
        str | None, typer.Argument(metavar="[PROJECT]", help="Only this project.", show_default=False)
    ] = None,
    *,
    waits: WaitOptions,
    options: ModelOptions,
) -> None:
    """Show projects and versions."""
    named = None if project is None else ProjectName.parse(project)
    bare: dict[str, object] = {"projects": [], "models": []}
    found = run_verb(partial(verbs.model_list, named, aws=options.aws(named)), bare, options, waits=waits)
    if options.as_json:
        write_json(list_mapping(found))
    else:
        write_lines(list_lines(found))
