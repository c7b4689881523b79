"""Messages and questions on stderr; this module needs only the standard library."""

from __future__ import annotations

import sys
from contextlib import suppress

from asyncfilter.errors import UsageError


def print_err(text: str) -> None:
    """Print one line on stderr; a closed stderr is no error."""
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


def _answer(question: str, prompt: str, *, hint: str) -> str:
    if not has_terminal():
        raise UsageError(f"{question} The answer is no, since there is no terminal to ask on", hint=hint)
    sys.stderr.write(f"{question} {prompt} ")
    sys.stderr.flush()
    return sys.stdin.readline().strip()
