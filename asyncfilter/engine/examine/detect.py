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
from asyncfilter.engine.examine.model_versions import ModelVersions
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
from asyncfilter.policy.provenance import add_lane
from asyncfilter.ports.examine import Detector, Prepared
from asyncfilter.records.progress import LaneTotals, Totals


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
        model_versions: ModelVersions,
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
        self._model_versions = model_versions
        self._stop_signal = stop_signal
        self._emit = emit
        self._clock = clock
        self._capacity = capacity
        self._breaker = Breaker()
        self._lane_breakers = {backend: Breaker() for backend in backends}

    async def examine(self, item: WorkItem) -> bool:
        """Examine one image; the committer gets the outcome.

        The first attempt uses the reservation and the permit that admission put into the item; where there are none,
        and for repetitions, both are taken here.

        Returns:
            True when there is an outcome; False when the run ends before there is one.
        """
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
            at_lane = error if item.lane is None else error.at_lane(item.lane.name)
            self._stop_signal.request(StopReason.FAILED, at_lane)
            return False
        except ImageError as error:
            self._fail(item, error)
        except TransientError as error:
            code = WORKER_LOST if isinstance(error, LostError) else "unavailable"
            self._fail(item, ImageError(error.message, code=code))
        except Exception as error:  # noqa: BLE001  a detector may raise anything; what is paid must be kept
            self._stop_signal.request(StopReason.FAILED, _unexpected(error))
            return False
        else:
            self._breaker.success()
            if item.lane is not None:
                self._lane_breakers[item.lane].success()
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
            try:
                return await self._attempt(item, repeats=is_repetition)
            except NotSentError:
                attempts -= 1
                raise

        def report(error: Exception, delay_s: float) -> float:
            if isinstance(error, NotSentError):
                return delay_s
            wait_s = delay_s if item.lane is None else self._wait_s(item, error, delay_s)
            self._emit(
                AttemptFailed(
                    at_unix_s=self._clock.unix(),
                    key=item.image.key,
                    attempt=attempts,
                    reason=str(error),
                    delay_s=wait_s,
                    lane=None if item.lane is None else item.lane.name,
                )
            )
            return wait_s

        try:
            return await self._repeat.again(error, attempt, report)
        finally:
            del error  # as in ``Repeater.again``: the traceback of an error raised there refers to this frame

    def _wait_s(self, item: WorkItem, error: Exception, delay_s: float) -> float:
        """How long an image waits before its next attempt, where there are lanes.

        The wait after a throttle is one of its lane: until it is over that lane does not take the image again, another
        one may at once. That after a transient fault is one of the image.
        """
        if not isinstance(error, ThrottledError) or item.lane is None:
            return delay_s
        now_s = self._clock.monotonic()
        barred_s = item.barred_s = item.barred_s or {}
        barred_s[item.lane] = now_s + delay_s
        return max(0.0, min(barred_s.get(lane, 0.0) for lane in self._backends.open_lanes) - now_s)

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
            backend = await self._backends.acquire(item.barred_s)
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

    async def _attempt(self, item: WorkItem, *, repeats: bool = False) -> Detection:
        reservation, backend = item.reservation, item.backend
        if reservation is None or backend is None:
            reservation, backend = await self._placed(item)
        # Used up: a repetition needs its own.
        item.reservation = item.backend = None
        totals, sums = self._totals, backend.sums
        totals.attempts += 1
        if repeats:
            totals.retried += 1
        else:
            totals.calls += 1
        if sums is not None:
            item.lane = backend
            _count(sums, 1, repeats=repeats)
        sent_s = self._clock.monotonic()
        # Until the result shows otherwise; so a call that is cancelled counts as billed.
        may_be_billed = True
        try:
            detector = backend.detector if item.prepared is None else _prepared(item.prepared, backend)
            detection = await detector.detect(item.image)
        except ThrottledError as error:
            may_be_billed = error.may_be_billed
            self._throttled(backend, error, sent_s)
            raise
        except NotSentError:
            may_be_billed = False
            _count(totals, -1, repeats=repeats)
            if sums is not None:
                _count(sums, -1, repeats=repeats)
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
            return detection if sums is None else self._noted(item, sums, detection)
        finally:
            self._budget_gate.settle(reservation, billed=may_be_billed, position=backend.position)

    def _throttled(self, backend: PacedBackend, error: ThrottledError, sent_s: float) -> None:
        self._totals.throttled += 1
        if backend.sums is not None:
            backend.sums.throttled += 1
        backend.limiter.throttled(error.cause, sent_s)

    def _noted(self, item: WorkItem, sums: LaneTotals, detection: Detection) -> Detection:
        """The answer of a lane, with its name; an answer that must not be judged is marked as withheld."""
        name = item.lane.name if item.lane is not None else ""
        item.answered_by = name
        item.is_withheld = self._model_versions.note(sums, detection.model_version)
        return add_lane(detection, name)

    def _fail(self, item: WorkItem, error: ImageError) -> None:
        item.failure = Failure(error.code, error.message)
        lane = item.lane
        # Of its own: the successes of other lanes say nothing about what this one may do.
        if lane is not None and self._lane_breakers[lane].failure(error):
            self._stop_signal.request(StopReason.ERRORS, shared_cause(error, lane.name))
        if self._breaker.failure(error):
            self._stop_signal.request(StopReason.ERRORS, shared_cause(error))


def _prepared(prepared: Prepared, backend: PacedBackend) -> Detector:
    """The detector that examines a prepared image at a backend."""
    return prepared.detector if prepared.at_lane is None else prepared.at_lane(backend.name)


def _count(sums: Totals | LaneTotals, by: int, *, repeats: bool) -> None:
    """Count an attempt; ``by`` is -1 to take back one that was not sent."""
    sums.attempts += by
    if repeats:
        sums.retried += by
    else:
        sums.calls += by


def _unexpected(error: Exception) -> AsyncFilterError:
    if isinstance(error, AsyncFilterError):
        return error
    return unexpected(error, "the detector")
