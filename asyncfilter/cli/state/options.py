"""Arguments that the commands about states share."""

from __future__ import annotations

from typing import Annotated

import typer

from asyncfilter.cli.stderr import ask, has_terminal
from asyncfilter.errors import AbortedError, ExitCode

WhereArgument = Annotated[
    str,
    typer.Argument(
        metavar="WHERE", help="A job file, or the address s3://BUCKET/PREFIX/NAME.state.", show_default=False
    ),
]


def agree(question: str, *, yes: bool) -> None:
    """Ask a question whose answer may be no.

    Raises:
        AbortedError: There is no terminal to ask on, which means no.
        typer.Exit: The answer is no.
    """
    if yes:
        return
    if not has_terminal():
        raise AbortedError(
            f"{question} The answer is no, since there is no terminal to ask on; nothing was changed",
            hint="Add --yes.",
        )
    if not ask(question, yes=False):
        raise typer.Exit(ExitCode.ABORTED)
