"""A question before something that cannot be taken back, or costs money."""

from __future__ import annotations

import typer

from asyncfilter.cli.stderr import ask, has_terminal
from asyncfilter.errors import AbortedError, ExitCode


def agree(question: str, *, yes: bool, undone: str = "nothing was changed") -> None:
    """Ask a question, the answer to which may be no.

    Args:
        question: What is asked.
        yes: The flag ``--yes``.
        undone: What is said where there is no terminal.

    Raises:
        AbortedError: There is no terminal to ask on, which means no.
        typer.Exit: The answer is no.
    """
    if not yes and not has_terminal():
        raise AbortedError(
            f"{question} The answer is no, since there is no terminal to ask on; {undone}", hint="Add --yes."
        )
    if not ask(question, yes=yes):
        raise typer.Exit(ExitCode.ABORTED)
