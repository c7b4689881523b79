"""The paid call: reserve money, wait for a permit, attempt, settle the money; repeat under the same limiters.

Invariants: every attempt has a reservation of its own and settles it exactly once, also when it is cancelled; every
attempt has a permit; an attempt that may have been billed counts as billed.
"""

from __future__ import annotations

from asyncfilter.clock import Clock
from asyncfilter.engine.core.backends import Backends, PacedBackend
from asyncfilter.engine.core.budget_gate import BudgetGate
from asyncfilter.engine.core.capacity import Capacity
from asyncfilter.engine.core.memory_limit import MemoryLimit
from asyncfilter.engine.core.month_watch import MonthWatch
from asyncfilter.engine.core.retry import DrainedError, Repeater
from asyncfilter.engine.core.stopping import StopSignal
from asyncfilter.engine.core.work_item import WorkItem
from asyncfilter.engine.settle.committer import GroupCommitter
from asyncfilter.errors import (
    WORKER_LOST,
    AccessError,
    AsyncFilterError,
    ImageError,
    LostError,
    NotSentError,
    ThrottledError,
    TransientError,
    unexpected,
)
from asyncfilter.events import AttemptFailed, Emit
from asyncfilter.model import Detection, Failure, StopReason
from asyncfilter.policy.breaker import Breaker, shared_cause
from asyncfilter.policy.budget import Reservation
from asyncfilter.policy.certain_stop import CertainStop
from asyncfilter.policy.outcome import Outcomes
from asyncfilter.records.progress import Totals


class _UnpaidError(Exception):
    """The budget does not cover the attempt that is needed."""


class PaidCalls:
    """Examines images, with one call for each."""

    def __init__(
        self,
        *,
        backends: Backends,
        outcomes: Outcomes,
        budget_gate: BudgetGate,
        month_watch: MonthWatch,
        certain_stop: CertainStop,
        committer: GroupCommitter,
        memory_limit: MemoryLimit,
        repeat: Repeater,
        totals: Totals,
        stop_signal: StopSignal,
        emit: Emit,
        clock: Clock,
        capacity: Capacity | None = None,
    ) -> None:
        self._backends = backends
        self._outcomes = outcomes
        self._budget_gate = budget_gate
        self._month_watch = month_watch
        self._certain_stop = certain_stop
        self._committer = committer
        self._memory_limit = memory_limit
        self._repeat = repeat
        self._totals = totals
        self._stop_signal = stop_signal
        self._emit = emit
        self._clock = clock
        self._capacity = capacity
        self._breaker = Breaker()

    async def examine(self, item: WorkItem) -> bool:
        """Examine one image; the committer gets the outcome.

        The first attempt uses the reservation and the permit that admission put into the item; where there are none,
        and for repetitions, both are taken here.

        Returns:
            True when there is an outcome; False when the run ends before there is one.
        """
        self._totals.calls += 1
        try:
            try:
                item.detection = await self._attempt(item)
            except (ThrottledError, TransientError) as error:
                item.detection = await self._again(item, error)
        except DrainedError:
            return False
        except _UnpaidError:
            item.is_unpaid = True
            self._committer.ready(item)
            return True
        except AccessError as error:
            self._stop_signal.request(StopReason.FAILED, error)
            return False
        except ImageError as error:
            self._fail(item, error)
        except LostError as error:
            self._fail(item, ImageError(error.message, code=WORKER_LOST))
        except TransientError as error:
            self._fail(item, ImageError(error.message, code="unavailable"))
        except Exception as error:  # noqa: BLE001  a detector may raise anything; what is paid must be kept
            self._stop_signal.request(StopReason.FAILED, _unexpected(error))
            return False
        else:
            self._breaker.success()
            item.decision = self._outcomes.decide(item.detection, item.answer)
        finally:
            # On every path, also without an outcome: the prefetch may be waiting for this memory.
            self._memory_limit.clear(item)
        self._committer.record(item)
        return True

    async def _again(self, item: WorkItem, error: ThrottledError | TransientError) -> Detection:
        """Repeat a failed first attempt until one succeeds or fails permanently; apart, since few calls need it."""
        # An attempt that was not sent counts nowhere, neither here nor as a repetition.
        attempts = 0 if isinstance(error, NotSentError) else 1

        async def attempt() -> Detection:
            nonlocal attempts
            is_repetition = attempts > 0
            attempts += 1
            self._totals.retried += is_repetition
            try:
                return await self._attempt(item)
            except NotSentError:
                attempts -= 1
                self._totals.retried -= is_repetition
                raise

        def report(error: Exception, delay_s: float) -> None:
            if isinstance(error, NotSentError):
                return
            self._emit(
                AttemptFailed(
                    at_unix_s=self._clock.unix(),
                    key=item.image.key,
                    attempt=attempts,
                    reason=str(error),
                    delay_s=delay_s,
                )
            )

        try:
            return await self._repeat.again(error, attempt, report)
        finally:
            del error  # as in ``Repeater.again``: the traceback of an error raised there refers to this frame

    async def _placed(self, item: WorkItem) -> tuple[Reservation, PacedBackend]:
        """As ``_wait_for_permit``, once there is room for the attempt where it is made."""
        if self._capacity is None:
            return await self._wait_for_permit(item)
        async with self._capacity.place() as is_open:
            if not is_open:
                raise DrainedError
            return await self._wait_for_permit(item)

    async def _wait_for_permit(self, item: WorkItem) -> tuple[Reservation, PacedBackend]:
        """Reserve money and wait for a permit for an attempt; the money is released when there is no permit.

        An image that is certainly behind the stop position gets neither: it stays without an outcome.
        """
        if self._certain_stop.is_behind(item.image.seq):
            raise DrainedError
        reservation = await self._budget_gate.reserve(item.image.seq)
        if reservation is None:
            raise DrainedError if self._stop_signal.is_requested else _UnpaidError
        backend = None
        try:
            backend = await self._backends.acquire()
            # A stop may have become certain meanwhile.
            if self._certain_stop.is_behind(item.image.seq):
                backend = None
        finally:
            if backend is None:
                self._budget_gate.settle(reservation, billed=False)
        if backend is None:
            raise DrainedError
        if not self._month_watch.is_current(reservation):
            self._budget_gate.settle(reservation, billed=False)
            return await self._wait_for_permit(item)
        return reservation, backend

    async def _attempt(self, item: WorkItem) -> Detection:
        reservation, backend = item.reservation, item.backend
        if reservation is None or backend is None:
            reservation, backend = await self._placed(item)
        # Used up: a repetition needs its own.
        item.reservation = item.backend = None
        self._totals.attempts += 1
        sent_s = self._clock.monotonic()
        # Until the result shows otherwise; so a call that is cancelled counts as billed.
        may_be_billed = True
        try:
            detector = backend.detector if item.prepared is None else item.prepared.detector
            detection = await detector.detect(item.image)
        except ThrottledError as error:
            may_be_billed = error.may_be_billed
            self._totals.throttled += 1
            backend.limiter.throttled(error.cause, sent_s)
            raise
        except NotSentError:
            may_be_billed = False
            self._totals.attempts -= 1
            raise
        except TransientError as error:
            # The limiter gets no report: without a response, the rate was neither accepted nor refused.
            may_be_billed = error.may_be_billed
            raise
        except (ImageError, AccessError):
            # The service responded with a modelled 4xx, which is not billed, and it did not throttle.
            may_be_billed = False
            backend.limiter.accepted(sent_s)
            raise
        else:
            backend.limiter.accepted(sent_s)
            return detection
        finally:
            self._budget_gate.settle(reservation, billed=may_be_billed)

    def _fail(self, item: WorkItem, error: ImageError) -> None:
        item.failure = Failure(error.code, error.message)
        if self._breaker.failure(error):
            self._stop_signal.request(StopReason.ERRORS, shared_cause(error))


def _unexpected(error: Exception) -> AsyncFilterError:
    if isinstance(error, AsyncFilterError):
        return error
    return unexpected(error, "the detector")
