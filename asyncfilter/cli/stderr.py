"""Messages and questions on stderr; nothing here needs more than the standard library."""

from __future__ import annotations

import sys
from contextlib import suppress

from asyncfilter.errors import UsageError


def print_err(text: str) -> None:
    """One line on stderr; a closed stderr is no error."""
    with suppress(OSError):
        sys.stderr.write(f"{text}\n")


def has_terminal() -> bool:
    """True when a question can be asked: it is shown on stderr and answered on stdin."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def ask(question: str, *, yes: bool) -> bool:
    """Ask on a terminal; ``yes`` (the flag ``--yes``) answers in advance.

    Raises:
        UsageError: There is no terminal to ask on, which means no.
    """
    return yes or _answer(question, "[y/N]", hint="Add --yes.").lower() in {"y", "yes"}


def ask_number(question: str, number: int) -> bool:
    """Have ``number`` typed on a terminal; True when it was, and nothing else.

    Raises:
        UsageError: There is no terminal to ask on, which means no.
    """
    return _answer(question, f"Type {number} to go on:", hint=f"Add --yes --expect {number}.") == str(number)


def _answer(question: str, prompt: str, *, hint: str) -> str:
    if not has_terminal():
        raise UsageError(f"{question} The answer is no, since there is no terminal to ask on", hint=hint)
    sys.stderr.write(f"{question} {prompt} ")
    sys.stderr.flush()
    return sys.stdin.readline().strip()
