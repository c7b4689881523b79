"""Messages and questions on stderr; this module needs only the standard library."""

from __future__ import annotations

import select
import sys
from contextlib import suppress

from asyncfilter.errors import UsageError
from asyncfilter.printable import printable, printable_lines, without_secrets

_GLANCE_S = 1.0
"""Seconds after which a question looks for a signal that came just before it began to wait."""


def print_err(text: str) -> None:
    """Print one line on stderr, with what does not print as escapes; a closed stderr is no error."""
    _write(printable(without_secrets(text)))


def print_lines(text: str) -> None:
    """Print several lines on stderr, otherwise like ``print_err``; a value in them must not hold a line end."""
    _write(printable_lines(without_secrets(text)))


def _write(text: str) -> None:
    with suppress(OSError):
        sys.stderr.write(f"{text}\n")


def has_terminal() -> bool:
    """True when a question can be asked: it is shown on stderr and answered on stdin."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()


def ask(question: str, *, yes: bool) -> bool:
    """True when the user answers yes on a terminal, or ``yes`` (the flag ``--yes``) is set.

    Raises:
        UsageError: There is no terminal to ask on, which means no.
    """
    return yes or _answer(question, "[y/N]", hint="Add --yes.").lower() in {"y", "yes"}


def ask_number(question: str, number: int) -> bool:
    """True when the user types exactly ``number`` on a terminal.

    Raises:
        UsageError: There is no terminal to ask on, which means no.
    """
    return _answer(question, f"Type {number} to continue:", hint=f"Add --yes --expect {number}.") == str(number)


def ask_text(question: str, *, default: str, shown: str | None = None) -> str:
    """What the user types on a terminal, which must be there; ``default`` for an empty line.

    Args:
        question: A few words.
        default: The answer of an empty line.
        shown: What stands for the default where it is too long to be shown.

    Raises:
        EOFError: The end of the input (Ctrl-D).
    """
    while True:
        try:
            line = _line(f"{printable(question)} [{printable(shown or default)}]:")
            line.encode()
        except UnicodeError:
            print_err("That is not text in UTF-8.")
            continue
        if not line:
            raise EOFError
        return line.strip() or default


def _answer(question: str, prompt: str, *, hint: str) -> str:
    if not has_terminal():
        raise UsageError(f"{question} The answer is no, since there is no terminal to ask on", hint=hint)
    return _line(f"{printable(question)} {prompt}").strip()


def _line(prompt: str) -> str:
    """The next line that is typed, with its line end; empty at the end of the input."""
    sys.stderr.write(f"{prompt} ")
    sys.stderr.flush()
    while not select.select([sys.stdin], [], [], _GLANCE_S)[0]:
        pass
    return sys.stdin.readline()
