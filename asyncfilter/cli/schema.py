"""``asyncfilter schema``."""

from __future__ import annotations

import sys
from contextlib import suppress

from asyncfilter.cli.options import ResultOptions, command_group, help_text, takes_options
from asyncfilter.cli.streams import StdoutEndedError
from asyncfilter.job.shipped_schema import schema_text

app = command_group()


@app.command(
    "schema",
    help=help_text(
        "Print the JSON Schema of the job file (draft 2020-12), for editors and other programs. A job file that "
        "asyncfilter init writes refers to it in its first line.",
        "asyncfilter schema > job.schema.json",
        "asyncfilter schema --json | jq '.properties | keys'",
    ),
)
@takes_options
def schema(*, options: ResultOptions) -> None:
    """Print the schema, which is JSON in any case."""
    del options
    with suppress(StdoutEndedError):
        sys.stdout.write(schema_text())
        sys.stdout.flush()
