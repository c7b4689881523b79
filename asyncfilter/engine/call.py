"""The paid call: reserve, wait for a permit, attempt, settle; repeat under the same limiters.

Invariants: every attempt has a reservation of its own and settles it exactly once, also when it is cancelled; every
attempt passed the limiter; an attempt that may have been billed counts as billed.
"""

from __future__ import annotations

from asyncfilter.clock import Clock
from asyncfilter.engine.core.backends import Backends, PacedBackend
from asyncfilter.engine.ending import Ending
from asyncfilter.engine.journal import GroupCommitter
from asyncfilter.engine.passage import Passage
from asyncfilter.engine.preparing import Shelf
from asyncfilter.engine.purse import BudgetGate
from asyncfilter.engine.repeating import DrainedError, Repeater
from asyncfilter.errors import AccessError, AsyncFilterError, ImageError, ThrottledError, TransientError
from asyncfilter.events import AttemptFailed, Emit
from asyncfilter.model import Detection, Failure, StopReason
from asyncfilter.policy.breaker import Breaker, shared_cause
from asyncfilter.policy.budget import Reservation
from asyncfilter.policy.outcome import Outcomes
from asyncfilter.ports import Totals


class _UnpaidError(Exception):
    """The budget does not cover the attempt that is needed."""


class PaidCalls:
    """Examines images, one call each."""

    def __init__(
        self,
        *,
        backends: Backends,
        outcomes: Outcomes,
        budget_gate: BudgetGate,
        committer: GroupCommitter,
        shelf: Shelf,
        repeat: Repeater,
        totals: Totals,
        ending: Ending,
        emit: Emit,
        clock: Clock,
    ) -> None:
        self._backends = backends
        self._outcomes = outcomes
        self._budget_gate = budget_gate
        self._committer = committer
        self._shelf = shelf
        self._repeat = repeat
        self._totals = totals
        self._ending = ending
        self._emit = emit
        self._clock = clock
        self._breaker = Breaker()

    async def examine(self, passage: Passage) -> bool:
        """Examine one image; the committer gets the outcome.

        An image that comes with a reservation has its permit too; one without takes both first.

        Returns:
            Whether there is an outcome; False when the run ends before.
        """
        self._totals.calls += 1
        try:
            try:
                passage.detection = await self._attempt(passage)
            except (ThrottledError, TransientError) as error:
                passage.detection = await self._again(passage, error)
        except DrainedError:
            return False
        except _UnpaidError:
            passage.is_unpaid = True
            self._committer.ready(passage)
            return True
        except AccessError as error:
            self._ending.request(StopReason.FAILED, error)
            return False
        except ImageError as error:
            self._fail(passage, error)
        except TransientError as error:
            self._fail(passage, ImageError(error.message, code="unavailable"))
        except Exception as error:  # noqa: BLE001  a foreign detector may raise anything; what is paid must be kept
            self._ending.request(StopReason.FAILED, _unexpected(error))
            return False
        else:
            self._breaker.success()
            passage.decision = self._outcomes.decide(passage.detection)
        finally:
            self._shelf.clear(passage)
        self._committer.record(passage)
        return True

    async def _again(self, passage: Passage, error: ThrottledError | TransientError) -> Detection:
        """Attempt what failed once, until it succeeds or fails for good; apart, since few calls come here."""
        attempts = 1

        async def attempt() -> Detection:
            nonlocal attempts
            attempts += 1
            self._totals.retried += 1
            return await self._attempt(passage)

        def tell(error: Exception, delay_s: float) -> None:
            self._emit(
                AttemptFailed(
                    at_unix_s=self._clock.unix(),
                    key=passage.image.key,
                    attempt=attempts,
                    reason=str(error),
                    delay_s=delay_s,
                )
            )

        try:
            return await self._repeat.again(error, attempt, tell)
        finally:
            del error  # as in ``again``: an error that comes out at once refers to this frame

    async def _wait_for_permit(self, passage: Passage) -> tuple[Reservation, PacedBackend]:
        """Get money and a permit for an attempt."""
        reservation = await self._budget_gate.reserve(passage.image.seq)
        if reservation is None:
            raise DrainedError if self._ending.is_requested else _UnpaidError
        backend = None
        try:
            backend = await self._backends.acquire()
        finally:
            if backend is None:
                self._budget_gate.settle(reservation, billed=False)
        if backend is None:
            raise DrainedError
        return reservation, backend

    async def _attempt(self, passage: Passage) -> Detection:
        reservation, backend = passage.reservation, passage.backend
        if reservation is None or backend is None:
            reservation, backend = await self._wait_for_permit(passage)
        passage.reservation = passage.backend = None
        self._totals.attempts += 1
        sent_s = self._clock.monotonic()
        may_be_billed = True
        try:
            detector = backend.detector if passage.prepared is None else passage.prepared.detector
            detection = await detector.detect(passage.image)
        except ThrottledError as error:
            may_be_billed = error.may_be_billed
            self._totals.throttled += 1
            backend.limiter.throttled(error.cause, sent_s)
            raise
        except TransientError as error:
            may_be_billed = error.may_be_billed
            raise
        except (ImageError, AccessError):
            may_be_billed = False
            backend.limiter.accepted(sent_s)
            raise
        else:
            backend.limiter.accepted(sent_s)
            return detection
        finally:
            self._budget_gate.settle(reservation, billed=may_be_billed)

    def _fail(self, passage: Passage, error: ImageError) -> None:
        passage.failure = Failure(error.code, error.message)
        if self._breaker.failure(error):
            self._ending.request(StopReason.ERRORS, shared_cause(error))


def _unexpected(error: Exception) -> AsyncFilterError:
    if isinstance(error, AsyncFilterError):
        return error
    wrapped = AsyncFilterError(f"the detector raised {type(error).__name__}: {error}")
    wrapped.__cause__ = error
    return wrapped
