"""``asyncfilter state pull``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from asyncfilter.cli import deferred
from asyncfilter.cli.options import Profile, ResultOptions, command_group, help_text, takes_options
from asyncfilter.cli.state.options import WhereArgument
from asyncfilter.cli.terminal import write_json, write_lines
from asyncfilter.errors import UsageError

app = command_group()


@app.command(
    "pull",
    help=help_text(
        "Make a checkpoint file of what is committed at this moment. Nothing is owned, and a run goes on meanwhile. A "
        "file is never replaced.",
        "asyncfilter state pull job.yaml -o robins.db",
        "asyncfilter state pull s3://my-state/jobs/robins.answers -o robins.answers.db",
    ),
)
@takes_options
def pull(
    where: WhereArgument,
    *,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The new file.", show_default=False)],
    profile: Profile = None,
    options: ResultOptions,
) -> None:
    """Make a file of a state."""
    found = deferred.find_state(where, profile=profile)
    if os.path.lexists(output):
        raise UsageError(f"--output {output}: there is a file, which is never replaced", hint="Name another file.")
    if not output.parent.is_dir() or not os.access(output.parent, os.W_OK):
        raise UsageError(
            f"--output {output}: {output.parent} is no folder that can be written",
            hint="Name a file that can be written.",
        )
    restored = deferred.run_async(lambda: deferred.pull_state(found, output))
    if options.as_json:
        write_json(deferred.pulled_mapping(restored, found.place.uri, str(output)))
    else:
        write_lines(deferred.pulled_lines(restored, found.place.uri, str(output)))
