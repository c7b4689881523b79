"""A store that refuses or answers nothing while a command begins: the same command goes on once it can be reached."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from asyncfilter.errors import StateAwayError, ThrottledError, TransientError


@contextmanager
def told_as_away(uri: str, what: str = "taken") -> Iterator[None]:
    """Turn a passing fault of the store into the error that a scheduler may answer by repeating the command.

    Args:
        uri: Of the state.
        what: What it cannot be.

    Raises:
        StateAwayError: In place of such a fault.
    """
    try:
        yield
    except (TransientError, ThrottledError) as error:
        hint = "Run the same command once the store can be reached; nothing was paid."
        raise StateAwayError(f"{uri} cannot be {what} now: {error.message}", hint=hint) from error
