"""The command line as a whole. Nothing heavy is imported before a command needs it: ``--help`` answers at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from asyncfilter.cli import bench, demo, export, labels, plan, quota, refilter, removal, run, sandbox, status
from asyncfilter.cli.failing import exit_code_of
from asyncfilter.cli.options import described

_IS_PRETTY = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"

app = typer.Typer(
    name="asyncfilter",
    rich_markup_mode="rich" if _IS_PRETTY else None,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_debug = False


def _show_version(value: bool) -> None:
    if value:
        from importlib.metadata import version  # noqa: PLC0415  --help does not need it

        sys.stdout.write(f"asyncfilter {version('asyncfilter')}\n")
        raise typer.Exit


@app.callback(
    help=described(
        "Clean image datasets in S3 with Amazon Rekognition at scale: resumable, at quota, within budget.",
        "asyncfilter demo                 see it work; nothing else is needed",
        "asyncfilter labels good.jpg      what the service sees in a good image, and the rule that follows",
        "asyncfilter run job.yaml         run a job, or resume it",
        "asyncfilter plan job.yaml        what it would cost and how long it would take",
        "asyncfilter bench job.yaml       how many calls a second the account accepts",
        "asyncfilter status job.yaml      what was found and spent so far",
        "asyncfilter refilter job.yaml    apply changed rules at no cost",
        "asyncfilter apply job.yaml       move or delete what the rules condemn, after a confirmation",
    )
)
def _asyncfilter(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", envvar="ASYNCFILTER_DEBUG", help="Show tracebacks of what goes wrong.")
    ] = False,
) -> None:
    del version  # its callback has answered
    global _debug  # noqa: PLW0603  asked for when a command has failed and its context is gone
    _debug = debug


for command in (labels, plan, bench, run, status, refilter, removal, export, quota, sandbox, demo):
    command.register(app)


def command_line(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; everything that goes wrong is told on stderr."""
    return exit_code_of(
        lambda: app(list(arguments), prog_name="asyncfilter", standalone_mode=False), debug=lambda: _debug
    )
