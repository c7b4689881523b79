"""``asyncfilter model create``."""

from __future__ import annotations

from functools import partial

from asyncfilter.cli.model import verbs
from asyncfilter.cli.model.options import ModelOptions, ProjectArgument, WaitOptions, run_verb
from asyncfilter.cli.options import command_group, help_text, takes_options
from asyncfilter.cli.terminal import write_json, write_lines
from asyncfilter.job.model_names import ProjectName

app = command_group()


@app.command(
    "create",
    help=help_text(
        "Make a project, and wait until it can be used. One that is there is left as it is: the result is the same.",
        "asyncfilter model create birds --region eu-west-1",
    ),
)
@takes_options
def create(project: ProjectArgument, *, waits: WaitOptions, options: ModelOptions) -> None:
    """Make a project."""
    named = ProjectName.parse(project)
    verb = partial(verbs.create_model_project, named, waits.quiet_patience(), aws=options.aws(named))
    made = run_verb(verb, {"project": named.name, "arn": None, "created": False}, options, waits=waits)
    if options.as_json:
        write_json({"project": made.project.name, "arn": made.project.arn, "created": made.is_new})
    else:
        write_lines([f"{made.project.name}: {'made' if made.is_new else 'is there'} ({made.project.arn})"])
