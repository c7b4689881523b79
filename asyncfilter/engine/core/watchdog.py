"""The checks that depend on time: rate changes to report, throttling that does not end, detectors billed hourly."""

from __future__ import annotations

import math

from asyncfilter.clock import Clock
from asyncfilter.engine.core.backends import Backends
from asyncfilter.engine.core.cautions import Cautions
from asyncfilter.engine.core.stopping import StopSignal
from asyncfilter.errors import AsyncFilterError
from asyncfilter.events import Emit, LaneClosed, RateChanged
from asyncfilter.model import StopReason
from asyncfilter.policy.budget import Budget

WATCH_INTERVAL_S = 0.25
"""Time between two checks."""

THROTTLED_LIMIT_S = 600.0
"""The run ends when no attempt is accepted for this long (docs/guarantees.md, *The rate holds*)."""

STANDSTILL_S = 5.0
"""A check that comes later than this shows that the process stood still (SIGSTOP, a frozen container)."""

HOURLY_BLOCK_S = 10.0
"""Hourly detectors: possible spending is made durable for this time ahead."""

HOUR_S = 3600
MINUTE_S = 60.0

_LEASE_OVER = "the lease of the model is over (detector.start.for)"
_LEASE_HINT = "Run the same command to go on under a new lease; nothing is lost."


class Watchdog:
    """Checks a run at intervals: reports rate changes, charges hourly prices, ends a run that cannot go on.

    Args:
        backends: Their rate changes are reported.
        budget: Charged for the time of hourly detectors.
        margin_s: How long calls in flight may last once the run drains; the budget must cover this time too.
        stop_signal: Ends the run when it cannot go on.
        cautions: Has a sentence about every lane that was closed.
        emit: Called with rate changes.
        clock: Time.
    """

    def __init__(
        self,
        *,
        backends: Backends,
        budget: Budget,
        margin_s: float,
        stop_signal: StopSignal,
        cautions: Cautions,
        emit: Emit,
        clock: Clock,
    ) -> None:
        self._backends = backends
        self._budget = budget
        self._hourly_micros = backends.hourly_micros
        self._held_model = backends.held_model
        # Time costs money until the last call in flight ends, and a check notices the end one interval late. A model
        # that is held costs money by the minute.
        self._margin_s = margin_s + WATCH_INTERVAL_S
        self._margin_micros = round(self._hourly_micros * max(self._margin_s, self._least_s) / HOUR_S)
        self._stop_signal = stop_signal
        self._cautions = cautions
        self._emit = emit
        self._clock = clock
        self._started_s = clock.monotonic()
        self._charged_micros = 0

    @property
    def block_micros(self) -> int:
        """Possible spending on hourly detectors that must be durable ahead."""
        return round(self._hourly_micros * max(HOURLY_BLOCK_S, self._least_s) / HOUR_S)

    @property
    def _least_s(self) -> float:
        """The shortest time that is paid for."""
        return 0.0 if self._held_model is None else MINUTE_S

    async def run(self) -> None:
        """Check until cancelled."""
        while True:
            self._check()
            before_s = self._clock.monotonic()
            await self._clock.sleep(WATCH_INTERVAL_S)
            self._notice_standstill(self._clock.monotonic() - before_s - WATCH_INTERVAL_S)

    def settle(self) -> None:
        """Charge the time and report the rate changes since the last check."""
        self._charge()
        self._report_changes()

    def _check(self) -> None:
        # The time that has passed is charged first, because `affords` has to include it.
        self.settle()
        if self._hourly_micros and not self._budget.affords(self._margin_micros):
            self._stop_signal.request(StopReason.BUDGET)
        if self._held_model is not None and self._held_model.left_s() <= self._margin_s:
            self._stop_signal.request(StopReason.INTERRUPTED, AsyncFilterError(_LEASE_OVER, hint=_LEASE_HINT))
        now_s = self._clock.monotonic()
        self._close_lanes(now_s)
        # The least of all: one backend that accepts attempts is enough to continue.
        throttled_s = min(backend.controller.unbroken_throttling_s(now_s) for backend in self._backends.open_lanes)
        if throttled_s >= THROTTLED_LIMIT_S:
            message = f"every attempt was throttled for {throttled_s / 60:.0f} minutes"
            hint = "Check what else uses this quota, or set limits.share or limits.tps lower; then run again."
            self._stop_signal.request(StopReason.ERRORS, AsyncFilterError(message, hint=hint))

    def _close_lanes(self, now_s: float) -> None:
        """Close the lanes that were throttled for too long, but for the last one."""
        lanes = self._backends.open_lanes
        if not self._backends.are_lanes or len(lanes) == 1:
            return
        for lane in lanes:
            throttled_s = lane.controller.unbroken_throttling_s(now_s)
            if throttled_s < THROTTLED_LIMIT_S or not self._backends.remove(lane):
                continue
            if lane.position is not None:
                self._budget.close(lane.position)
            reason = f"every attempt was throttled for {throttled_s / 60:.0f} minutes"
            self._emit(LaneClosed(at_unix_s=self._clock.unix(), lane=lane.name, reason=reason))
            self._cautions.say(f"the lane {lane.name} was closed: {reason}; the other lanes went on")

    def _notice_standstill(self, late_s: float) -> None:
        """Do not count time in which the process stood still as throttled time; a model costs money all the same."""
        if late_s > STANDSTILL_S:
            for backend in self._backends:
                backend.controller.stood_still(late_s)

    def _charge(self) -> None:
        """Charge the time since the last check; rounded over the whole time, so that rounding errors do not add up."""
        due_micros = round(self._hourly_micros * self._paid_s() / HOUR_S)
        self._budget.charge(due_micros - self._charged_micros)
        self._charged_micros = due_micros

    def _paid_s(self) -> float:
        """Seconds that are paid for so far; of a model that is held, all minutes that were begun."""
        if self._held_model is None:
            return self._clock.monotonic() - self._started_s
        return MINUTE_S * math.ceil(round(self._held_model.ran_s(), 3) / MINUTE_S)

    def _report_changes(self) -> None:
        changes = [(backend.name, change) for backend in self._backends for change in backend.controller.changes()]
        for name, change in changes:
            self._emit(
                RateChanged(
                    at_unix_s=self._clock.unix(),
                    old_tps=change.old_tps,
                    new_tps=change.new_tps,
                    reason=change.reason,
                    lane=name or None,
                )
            )
