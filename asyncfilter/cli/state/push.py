"""``asyncfilter state push``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from asyncfilter.cli import deferred
from asyncfilter.cli.options import Profile, ResultOptions, command_group, help_text, takes_options
from asyncfilter.cli.state.options import WhereArgument
from asyncfilter.cli.terminal import write_json, write_lines

app = command_group()


@app.command(
    "push",
    help=help_text(
        "Begin a state from a checkpoint file that nobody runs on. Where there is a state already, nothing is written: "
        "none is ever replaced.",
        "asyncfilter state push .asyncfilter/robins.db job.yaml",
        "asyncfilter state push robins.db s3://my-state/jobs/robins.state",
    ),
)
@takes_options
def push(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The checkpoint file.", show_default=False)],
    where: WhereArgument,
    *,
    profile: Profile = None,
    options: ResultOptions,
) -> None:
    """Begin a state from a file."""
    found = deferred.find_state(where, profile=profile)
    state = deferred.run_async(lambda: deferred.push_state(file, found))
    if options.as_json:
        write_json({"file": str(file), **msgspec.to_builtins(state)})
    else:
        write_lines([f"{state.uri} begins with the {state.committed_rows:,} images of {file}"])
