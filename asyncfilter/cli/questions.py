"""A question before something that cannot be taken back, or costs money."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import typer

from asyncfilter.cli.result_file import is_replaced
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


def check_replaced(paths: Sequence[Path], *, yes: bool) -> None:
    """Ask whether files may be replaced; nothing is asked when there is none of them.

    Raises:
        AbortedError: There is no terminal to ask on, which means no.
        typer.Exit: The answer is no.
    """
    existing = [path for path in paths if is_replaced(path)]
    if not existing or yes:
        return
    names = ", ".join(map(str, existing))
    verb = "exists" if len(existing) == 1 else "exist"
    if not has_terminal():
        raise AbortedError(
            f"{names} {verb}, and there is no terminal to ask on; nothing was written",
            hint="Add --yes to replace what is there, or name another file.",
        )
    if not ask(f"{names} {verb}. Replace {'it' if len(existing) == 1 else 'them'}?", yes=False):
        raise typer.Exit(ExitCode.ABORTED)
