"""The breaker: ends a run when many images in a row fail for one cause, which then lies outside the images.

Counts failures in order of completion; a success, or another cause, starts the count anew (docs/guarantees.md,
*One image cannot stop a run, the account can*).
"""

from __future__ import annotations

from asyncfilter.errors import AccessError, AsyncFilterError, ImageError

FAILURES_IN_A_ROW = 20


class Breaker:
    """Trips after ``FAILURES_IN_A_ROW`` failures of one cause without a success between."""

    def __init__(self) -> None:
        self._code: str | None = None
        self._count = 0

    def success(self) -> None:
        """An image was examined."""
        self._code = None
        self._count = 0

    def failure(self, error: ImageError) -> bool:
        """An image failed; True when that trips the breaker."""
        if error.code != self._code:
            self._code = error.code
            self._count = 0
        self._count += 1
        return self._count >= FAILURES_IN_A_ROW


def shared_cause(error: ImageError, lane: str = "") -> AsyncFilterError:
    """The error that ends a run after ``error`` tripped its breaker, or that of a lane."""
    where = f"lane {lane}: " if lane else ""
    message = f"{where}the last {FAILURES_IN_A_ROW} images failed for one cause, {error.code}: {error.message}"
    tripped = AccessError(message, hint=error.hint) if error.access else AsyncFilterError(message, hint=error.hint)
    tripped.__cause__ = error
    return tripped
