"""A store that refuses or answers nothing while a command begins: the same command goes on once it can be reached."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from asyncfilter.errors import EndpointError, StateAwayError, ThrottledError, TransientError


@contextmanager
def translated_outage(uri: str, what: str = "taken") -> Iterator[None]:
    """Turn a passing fault of the store into the error that a scheduler may answer by repeating the command.

    Reading is tried a few times first, after which the store counts as one that cannot be reached.

    Args:
        uri: Of the state.
        what: What it cannot be.

    Raises:
        StateAwayError: In place of such a fault.
    """
    try:
        yield
    except (TransientError, ThrottledError, EndpointError) as error:
        hint = "Run the same command once the store can be reached; nothing was paid."
        if isinstance(error, EndpointError) and error.hint is not None:
            hint = f"{error.hint} {hint}"
        raise StateAwayError(f"{uri} cannot be {what} now: {error.message}", hint=hint) from error
