"""Where talk, results and questions go: stderr, stdout, and a terminal that somebody sits at."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import suppress

from rich.console import Console, RenderableType

from asyncfilter.errors import UsageError


class _Console(Console):
    """A console whose reader may leave: rich would end the process with a code that means something else here."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        if not self.stderr:
            reader_left()


def talk() -> Console:
    """The console for people, on stderr; NO_COLOR, TERM and COLUMNS are honoured."""
    return _Console(stderr=True, highlight=False)


def is_live(console: Console) -> bool:
    """True when something that is redrawn in place can be shown; a variable that forces colours does not mean that."""
    return sys.stderr.isatty() and not console.is_dumb_terminal


def is_ascii(console: Console) -> bool:
    """True when the terminal shows no other characters."""
    return not console.encoding.lower().startswith("utf")


def say(text: str) -> None:
    """One line for people."""
    with suppress(OSError):  # whoever closed stderr does not want to know
        sys.stderr.write(f"{text}\n")


def show(renderable: RenderableType) -> None:
    """A table or panel that is a command's result, on stdout."""
    _Console(highlight=False).print(renderable)


def write_json(mapping: Mapping[str, object]) -> None:
    """A command's result for scripts, on stdout."""
    from asyncfilter.report.mapping import json_text  # noqa: PLC0415  --help does not need it

    try:
        sys.stdout.write(json_text(mapping))
        sys.stdout.flush()
    except BrokenPipeError:
        reader_left()


def reader_left() -> None:
    """Nobody reads stdout any more, which is their right: whatever is still written goes nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def ask_number(question: str, number: int) -> bool:
    """Have ``number`` typed on a terminal; True when it was, and nothing else.

    Raises:
        UsageError: There is no terminal to ask on, which means no.
    """
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(
            f"{question} The answer is no, since there is no terminal to ask on", hint=f"Add --yes --expect {number}."
        )
    sys.stderr.write(f"{question} Type {number} to go on: ")
    sys.stderr.flush()
    return sys.stdin.readline().strip() == str(number)


def ask(question: str, *, yes: bool) -> bool:
    """Ask on a terminal; ``yes`` (the flag ``--yes``) answers in advance.

    Raises:
        UsageError: There is no terminal to ask on, which means no.
    """
    if yes:
        return True
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(f"{question} The answer is no, since there is no terminal to ask on", hint="Add --yes.")
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}
