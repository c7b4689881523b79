"""What the server says on stderr: seldom the same thing, and nothing of a request."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable

_SAID_AGAIN_S = 60.0
_MOST_SAID = 20
"""Different warnings in that time."""


def seldom(warn: Callable[[str], object]) -> Callable[[str], None]:
    """``warn`` that says the same thing once in a while: a page asks for many pictures."""
    said: dict[str, float] = {}

    def warn_seldom(message: str) -> None:
        now_s = time.monotonic()
        for old in [one for one, at_s in said.items() if now_s - at_s > _SAID_AGAIN_S]:
            del said[old]
        if message not in said and len(said) < _MOST_SAID:
            said[message] = now_s
            warn(message)

    return warn_seldom


def where_from(error: BaseException) -> str:
    """An exception and the lines of code that it passed, without values."""
    lines = " < ".join(f"{at.name}:{at.lineno}" for at in reversed(traceback.extract_tb(error.__traceback__)[-4:]))
    return f"{type(error).__name__} at {lines}"
