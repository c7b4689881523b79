"""``asyncfilter state show``."""

from __future__ import annotations

from typing import Annotated

import typer

from asyncfilter.cli import deferred
from asyncfilter.cli.options import Profile, ResultOptions, command_group, help_text, takes_options
from asyncfilter.cli.state.options import WhereArgument
from asyncfilter.cli.terminal import write_json, write_lines
from asyncfilter.errors import ExitCode

app = command_group()


@app.command(
    "show",
    help=help_text(
        "Show what a state in S3 holds, who owns it, and whether every object that it names is there. Nothing is "
        "changed and nobody is disturbed. Exit code 1 when it is not whole, 3 when it is no state.",
        "asyncfilter state show job.yaml",
        "asyncfilter state show s3://my-state/jobs/robins.state --wait --json",
    ),
)
@takes_options
def show(
    where: WhereArgument,
    *,
    wait: Annotated[
        bool, typer.Option("--wait", help="Look twice, 15 s apart at most: held is who rewrites the head meanwhile.")
    ] = False,
    deep: Annotated[
        bool, typer.Option("--deep", help="Read every object and compare its SHA-256, not only its size.")
    ] = False,
    profile: Profile = None,
    options: ResultOptions,
) -> None:
    """Show a state."""
    found = deferred.find_state(where, profile=profile)
    look = deferred.run_async(lambda: deferred.look_at_state(found, waits=wait, deep=deep))
    if options.as_json:
        write_json(deferred.look_mapping(look))
    else:
        write_lines(deferred.look_lines(look))
    if not look.ok:
        raise typer.Exit(ExitCode.SOME_FAILED)
