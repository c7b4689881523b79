"""``asyncfilter model delete``."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from asyncfilter.cli.model import verbs
from asyncfilter.cli.model.options import ModelOptions, ProjectArgument, WaitOptions, run_verb
from asyncfilter.cli.options import command_group, help_text, takes_options
from asyncfilter.cli.questions import agree
from asyncfilter.cli.terminal import write_json, write_lines
from asyncfilter.custom_labels.deleting import Deleted, DeletePlan, DeleteWish
from asyncfilter.errors import UsageError
from asyncfilter.job.model_names import ProjectName, VersionName
from asyncfilter.report.terminal.model_lists import delete_lines, delete_mapping

app = command_group()


@app.command(
    "delete",
    help=help_text(
        "Delete versions, the datasets, or a whole project, in the order that the service wants, and wait until each "
        "is gone. Asks. What is gone already is no error. A model that runs or is being trained is left alone without "
        "--stop (exit code 1).",
        "asyncfilter model delete birds --version v1 --version v2",
        "asyncfilter model delete birds --datasets",
        "asyncfilter model delete birds --all --stop",
    ),
)
@takes_options
def delete(
    project: ProjectArgument,
    *,
    version: Annotated[
        list[str] | None,
        typer.Option("--version", metavar="V", help="Name or ARN of a version; may be repeated.", show_default=False),
    ] = None,
    datasets: Annotated[bool, typer.Option("--datasets", help="The training and the test dataset.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="All versions, the datasets, and the project.")] = False,
    stop: Annotated[
        bool, typer.Option("--stop", help="Stop models that run, and wait for trainings, which cannot be stopped.")
    ] = False,
    waits: WaitOptions,
    options: ModelOptions,
) -> None:
    """Delete."""
    if sum([bool(version), datasets, everything]) != 1:
        raise UsageError("expected one of --version, --datasets and --all", hint="See asyncfilter model delete --help.")
    named = ProjectName.parse(project)
    names = [VersionName.parse(one, project=named) for one in version or ()]
    wish = DeleteWish(versions=names, datasets=datasets, everything=everything)
    aws = options.aws(named)
    bare = delete_mapping(DeletePlan(wanted=named, project=None), Deleted())
    plan = run_verb(partial(verbs.plan_delete, named, wish, stops=stop, aws=aws), bare, options, waits=waits)
    deleted = Deleted()
    if not plan.is_empty:
        agree(f"{_question(plan)} This cannot be undone. Delete?", yes=options.yes)
        verb = partial(verbs.delete_models, plan, waits.quiet_patience(), aws=aws)
        deleted = run_verb(verb, bare, options, waits=waits, reaps=False)
    if options.as_json:
        write_json(delete_mapping(plan, deleted))
    else:
        write_lines(delete_lines(plan, deleted))


def _question(plan: DeletePlan) -> str:
    parts = [f"version {version.name} ({version.status})" for version in plan.versions]
    parts += [f"the {dataset.type.lower()} dataset" for dataset in plan.datasets]
    parts += ["the project itself"] if plan.deletes_project else []
    return f"{plan.wanted.name}: {', '.join(parts)}."
