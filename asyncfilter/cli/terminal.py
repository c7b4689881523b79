"""Where output goes: progress and messages to a console on stderr, results to stdout."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress

from rich.console import Console, RenderableType

from asyncfilter.cli.streams import StdoutEndedError
from asyncfilter.printable import printable, printable_json
from asyncfilter.report.as_json import json_text
from asyncfilter.report.terminal.text import PlainConsole


def stderr_console() -> Console:
    """The console for people, on stderr; NO_COLOR, TERM and COLUMNS are honoured."""
    return PlainConsole(stderr=True, highlight=False)


def is_live(console: Console) -> bool:
    """True when text can be redrawn in place; a variable that forces colours is not enough for that."""
    return sys.stderr.isatty() and not console.is_dumb_terminal


def is_ascii(console: Console) -> bool:
    """True when the terminal can show only ASCII characters."""
    return not console.encoding.lower().startswith("utf")


def print_out(renderable: RenderableType) -> None:
    """Print a command's result, a table or a panel, on stdout."""
    with suppress(StdoutEndedError):
        PlainConsole(highlight=False).print(renderable)
        sys.stdout.flush()


def write_lines(lines: Iterable[str]) -> None:
    """Write lines of a command's result on stdout, which are not wrapped; what does not print becomes escapes."""
    with suppress(StdoutEndedError):
        for line in lines:
            sys.stdout.write(f"{printable(line)}\n")
        sys.stdout.flush()


def write_json(mapping: Mapping[str, object]) -> None:
    """Write a command's result for scripts on stdout."""
    with suppress(StdoutEndedError):
        sys.stdout.write(printable_json(json_text(mapping)))
        sys.stdout.flush()
