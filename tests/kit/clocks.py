"""A clock for tests on real sockets and files, where virtual time cannot be used."""

from __future__ import annotations

from asyncfilter.clock import SystemClock


class FastClock(SystemClock):
    """A clock a hundred times as fast as the system's, so that the ramp of the rate takes little real time."""

    def monotonic(self) -> float:
        """See ``Clock``."""
        return 100 * super().monotonic()

    async def sleep(self, delay_s: float) -> None:
        """See ``Clock``."""
        await super().sleep(delay_s / 100)
