"""What only time brings: rate changes to tell, throttling without end, and detectors that are paid by the hour."""

from __future__ import annotations

from asyncfilter.clock import Clock
from asyncfilter.engine.core.backends import Backends
from asyncfilter.engine.ending import Ending
from asyncfilter.errors import AsyncFilterError
from asyncfilter.events import Emit, RateChanged
from asyncfilter.model import StopReason
from asyncfilter.policy.budget import Budget

SUPERVISE_S = 0.25
"""How often it looks."""

THROTTLED_LIMIT_S = 600.0
"""Throttled for this long without one attempt accepted, the run ends (docs/guarantees.md, *The rate holds*)."""

HOURLY_BLOCK_S = 10.0
"""Time of an hourly detector that is made durable as possible spending ahead."""

HOUR_S = 3600


class Supervisor:
    """Looks after a run.

    Args:
        backends: Whose rate changes are reported.
        budget: Charged for time.
        margin_s: How long calls in flight may last once the run drains; their time must fit the budget too.
        ending: Told when the run must end.
        emit: Told of rate changes.
        clock: Time.
    """

    def __init__(
        self,
        *,
        backends: Backends,
        budget: Budget,
        margin_s: float,
        ending: Ending,
        emit: Emit,
        clock: Clock,
    ) -> None:
        self._backends = backends
        self._budget = budget
        self._hourly_micros = backends.hourly_micros
        self._margin_micros = round(self._hourly_micros * (margin_s + SUPERVISE_S) / HOUR_S)
        self._ending = ending
        self._emit = emit
        self._clock = clock
        self._started_s = clock.monotonic()
        self._charged_micros = 0

    @property
    def block_micros(self) -> int:
        """Possible spending on time that must be durable ahead."""
        return round(self._hourly_micros * HOURLY_BLOCK_S / HOUR_S)

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            self._look()
            await self._clock.sleep(SUPERVISE_S)

    def settle(self) -> None:
        """Charge and tell what is left, at the end."""
        self._charge()
        self._tell_changes()

    def _look(self) -> None:
        self.settle()
        if self._hourly_micros and not self._budget.affords(self._margin_micros):
            self._ending.request(StopReason.BUDGET)
        now_s = self._clock.monotonic()
        throttled_s = min(backend.controller.unbroken_throttling_s(now_s) for backend in self._backends)
        if throttled_s >= THROTTLED_LIMIT_S:
            message = f"every attempt was throttled for {throttled_s / 60:.0f} minutes"
            hint = "See who else uses this quota, or set limits.share or limits.tps lower; then run again."
            self._ending.request(StopReason.ERRORS, AsyncFilterError(message, hint=hint))

    def _charge(self) -> None:
        """Charge the time since the last look, whole micro-dollars of the whole time so far."""
        elapsed_s = self._clock.monotonic() - self._started_s
        due_micros = round(self._hourly_micros * elapsed_s / HOUR_S)
        self._budget.charge(due_micros - self._charged_micros)
        self._charged_micros = due_micros

    def _tell_changes(self) -> None:
        for change in [change for backend in self._backends for change in backend.controller.changes()]:
            self._emit(
                RateChanged(
                    at_unix_s=self._clock.unix(),
                    old_tps=change.old_tps,
                    new_tps=change.new_tps,
                    reason=change.reason,
                )
            )
