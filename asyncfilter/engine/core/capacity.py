"""How many attempts may be under way where they are made on other machines: a number that changes while a run goes on.

Invariant: money and a permit are taken only while there is room for the attempt.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from asyncfilter.errors import AsyncFilterError
from asyncfilter.model import StopReason


class Capacity(Protocol):
    """What the machines together can take."""

    @property
    def limit(self) -> int:
        """Attempts that may be under way now, from 0."""
        ...

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` whenever ``limit`` has changed."""
        ...

    def place(self) -> AbstractAsyncContextManager[bool]:
        """Wait for room for one more attempt, and keep it inside of the context; False once ``close`` was called.

        The attempt is begun right after the context.
        """
        ...

    def close(self) -> None:
        """End all waiting for room: the run drains."""
        ...

    async def ended(self) -> tuple[StopReason, AsyncFilterError | None]:
        """Wait until no attempt can be made any more; why, and what the run ends with."""
        ...
