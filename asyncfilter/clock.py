"""The clock: the engine reads time from a ``Clock`` only, so that tests can control it."""

from __future__ import annotations

import time
from typing import Protocol

import anyio


class Clock(Protocol):
    """The time functions that the engine uses."""

    def monotonic(self) -> float:
        """Seconds that never go back; the origin is arbitrary."""
        ...

    def unix(self) -> float:
        """Seconds since 1970-01-01 UTC, for records that people read."""
        ...

    async def sleep(self, delay_s: float) -> None:
        """Wait ``delay_s`` seconds; cancellable."""
        ...


class SystemClock:
    """The clock of the operating system."""

    def monotonic(self) -> float:
        """See ``Clock``."""
        return time.monotonic()

    def unix(self) -> float:
        """See ``Clock``."""
        return time.time()

    async def sleep(self, delay_s: float) -> None:
        """See ``Clock``."""
        await anyio.sleep(delay_s)
