"""Where output goes: progress and messages to a console on stderr, results to stdout."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from rich.console import Console, RenderableType

from asyncfilter.printable import printable_json
from asyncfilter.report.as_json import json_text
from asyncfilter.report.terminal.text import PlainConsole


class _Console(PlainConsole):
    """A console that tolerates a closed pipe: rich would end the process with a code that has another meaning here."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        if not self.stderr:
            discard_stdout()


def stderr_console() -> Console:
    """The console for people, on stderr; NO_COLOR, TERM and COLUMNS are honoured."""
    return _Console(stderr=True, highlight=False)


def is_live(console: Console) -> bool:
    """True when text can be redrawn in place; a variable that forces colours is not enough for that."""
    return sys.stderr.isatty() and not console.is_dumb_terminal


def is_ascii(console: Console) -> bool:
    """True when the terminal can show only ASCII characters."""
    return not console.encoding.lower().startswith("utf")


def print_out(renderable: RenderableType) -> None:
    """Print a command's result, a table or a panel, on stdout."""
    _Console(highlight=False).print(renderable)


def write_json(mapping: Mapping[str, object]) -> None:
    """Write a command's result for scripts on stdout."""
    try:
        sys.stdout.write(printable_json(json_text(mapping)))
        sys.stdout.flush()
    except BrokenPipeError:
        discard_stdout()


def discard_stdout() -> None:
    """Discard all further output: the reader of stdout has closed the pipe, which is no error."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, sys.stdout.fileno())
    os.close(devnull)
