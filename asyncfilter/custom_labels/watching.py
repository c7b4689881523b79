"""A watcher: waits for the end of one lease, and stops its model then, whatever has become of who took the lease.

It keeps neither a lock nor a session of the service in between, reads the lease anew each time, and gives up nothing:
what fails is tried again for as long as the lease is open.
"""

from __future__ import annotations

from collections.abc import Callable

from asyncfilter.clock import Clock
from asyncfilter.custom_labels.lease import Lease, LeaseKind, LeaseState, end_reason
from asyncfilter.custom_labels.lease_table import Leases
from asyncfilter.custom_labels.processes import Host
from asyncfilter.custom_labels.reaper import Reaper
from asyncfilter.custom_labels.states import moment_text

TICK_S = {LeaseKind.TIME: 15.0, LeaseKind.RUN: 2.0}
"""Longest pause between two looks at a lease, seconds: a clock may be set meanwhile, an owner may die."""

SERVICE_LOOK_S = 300.0
"""Pause between two looks at the model of a lease that lasts, seconds."""

LONGEST_PAUSE_S = 300.0
"""Longest pause after failures, seconds."""

Tell = Callable[[str], object]


class Watcher:
    """Watches one lease.

    Args:
        leases: The table.
        reaper: Stops the model.
        host: Reads the clocks, and names this process.
        clock: Waits.
        tell: Writes a line of the log.
    """

    def __init__(self, leases: Leases, reaper: Reaper, host: Host, clock: Clock, *, tell: Tell) -> None:
        self._leases = leases
        self._reaper = reaper
        self._host = host
        self._clock = clock
        self._tell = tell
        self._failures = 0
        self._looked_s = host.boot_s()

    async def watch(self, identifier: str) -> None:
        """Watch a lease until it is released, or another process watches it."""
        claimed = self._leases.claim(identifier)
        if claimed is None:
            self._tell("the lease has ended, or has a watcher")
            return
        self._tell(f"watching {claimed.arn}, at the latest until {moment_text(claimed.expires_at)}")
        while (pause_s := await self._turn(identifier)) is not None:
            await self._clock.sleep(pause_s)

    async def _turn(self, identifier: str) -> float | None:
        """One look; the pause after it, None when there is nothing left to watch."""
        try:
            lease = self._leases.get(identifier)
            if lease is None or not lease.is_open or lease.watcher != self._host.me:
                self._tell(
                    "the lease has ended" if lease is None or not lease.is_open else "another process watches it"
                )
                return None
            await self._attend(lease)
        except Exception as error:  # noqa: BLE001  whatever it is, the model must be stopped in the end
            return self._after_failure(error)
        self._failures = 0
        return self._pause_s(lease)

    async def _attend(self, lease: Lease) -> None:
        if end_reason(lease, self._host) is not None:
            ended = self._reaper.decide(lease)
            if ended is not None and ended.state is LeaseState.STOPPING:
                self._tell(f"stopping {lease.arn}: {ended.reason}")
                await self._reaper.pursue(ended)
        elif self._host.boot_s() - self._looked_s >= SERVICE_LOOK_S:
            self._looked_s = self._host.boot_s()
            await self._reaper.look_after(lease)

    def _pause_s(self, lease: Lease) -> float:
        left_s = lease.expires_at - self._host.unix_s()
        return min(TICK_S[lease.kind], max(0.1, left_s))

    def _after_failure(self, error: Exception) -> float:
        self._failures += 1
        self._tell(f"failed: {type(error).__name__}: {error}; trying again")
        return min(2.0 ** min(self._failures, 10), LONGEST_PAUSE_S)
