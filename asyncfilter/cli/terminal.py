"""Where output goes: progress and messages to a console on stderr, results to stdout."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from rich.console import Console, RenderableType

from asyncfilter.report.as_json import json_text


class _Console(Console):
    """A console whose reader may leave: rich would end the process with a code that means something else here."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        if not self.stderr:
            discard_stdout()


def stderr_console() -> Console:
    """The console for people, on stderr; NO_COLOR, TERM and COLUMNS are honoured."""
    return _Console(stderr=True, highlight=False)


def is_live(console: Console) -> bool:
    """True when something that is redrawn in place can be shown; a variable that forces colours does not mean that."""
    return sys.stderr.isatty() and not console.is_dumb_terminal


def is_ascii(console: Console) -> bool:
    """True when the terminal shows no other characters."""
    return not console.encoding.lower().startswith("utf")


def print_out(renderable: RenderableType) -> None:
    """A table or panel that is a command's result, on stdout."""
    _Console(highlight=False).print(renderable)


def write_json(mapping: Mapping[str, object]) -> None:
    """A command's result for scripts, on stdout."""
    try:
        sys.stdout.write(json_text(mapping))
        sys.stdout.flush()
    except BrokenPipeError:
        discard_stdout()


def discard_stdout() -> None:
    """The reader of stdout has left, which is no error: what is still written is discarded."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
