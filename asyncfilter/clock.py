"""Time as a parameter: the engine asks a ``Clock``, so that tests can step it."""

from __future__ import annotations

import time
from typing import Protocol

import anyio


class Clock(Protocol):
    """What the engine needs to know about time."""

    def monotonic(self) -> float:
        """Seconds that never go back; the origin means nothing."""
        ...

    def unix(self) -> float:
        """Seconds since 1970-01-01 UTC, for records that people read."""
        ...

    async def sleep(self, delay_s: float) -> None:
        """Wait ``delay_s`` seconds; cancellable."""
        ...


class SystemClock:
    """The machine's clock."""

    def monotonic(self) -> float:
        """See ``Clock``."""
        return time.monotonic()

    def unix(self) -> float:
        """See ``Clock``."""
        return time.time()

    async def sleep(self, delay_s: float) -> None:
        """See ``Clock``."""
        await anyio.sleep(delay_s)
