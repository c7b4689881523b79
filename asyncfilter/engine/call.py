"""The paid call: reserve, wait for the rate, attempt, settle; repeat under the same limiter.

Invariants: every attempt has a reservation of its own and settles it exactly once, also when it is cancelled; every
attempt passed the limiter; an attempt that may have been billed counts as billed.
"""

from __future__ import annotations

from collections.abc import Callable

from asyncfilter.clock import Clock
from asyncfilter.engine.ending import Ending
from asyncfilter.engine.journal import Journal
from asyncfilter.engine.limiter import RateLimiter
from asyncfilter.engine.passage import Passage
from asyncfilter.engine.preparing import Shelf
from asyncfilter.engine.purse import Purse
from asyncfilter.engine.repeating import DrainedError, Repeater
from asyncfilter.errors import AccessError, AsyncFilterError, ImageError, ThrottledError, TransientError
from asyncfilter.events import AttemptFailed, Emit
from asyncfilter.model import Detection, Failure, StopReason
from asyncfilter.policy.breaker import Breaker, shared_cause
from asyncfilter.policy.budget import Reservation
from asyncfilter.policy.rules import Ruleset
from asyncfilter.ports import Detector, Totals


class _UnpaidError(Exception):
    """The budget does not cover the attempt that is needed."""


class PaidCalls:
    """Examines images, one call each."""

    def __init__(
        self,
        *,
        detector: Detector,
        rules: Ruleset,
        purse: Purse,
        limiter: RateLimiter,
        journal: Journal,
        shelf: Shelf,
        repeat: Repeater,
        totals: Totals,
        examined: Callable[[Passage], None],
        ending: Ending,
        emit: Emit,
        clock: Clock,
    ) -> None:
        self._detector = detector
        self._rules = rules
        self._purse = purse
        self._limiter = limiter
        self._journal = journal
        self._shelf = shelf
        self._repeat = repeat
        self._totals = totals
        self._examined = examined
        self._ending = ending
        self._emit = emit
        self._clock = clock
        self._breaker = Breaker()

    async def examine(self, passage: Passage) -> None:
        """Examine one image; the journal gets the outcome, then ``examined`` is told.

        An image that comes with a reservation has its turn too; one without takes both first.
        """
        self._totals.calls += 1
        try:
            try:
                passage.detection = await self._attempt(passage)
            except (ThrottledError, TransientError) as error:
                passage.detection = await self._again(passage, error)
        except DrainedError:
            return
        except _UnpaidError:
            passage.is_unpaid = True
            self._journal.ready(passage)
            self._examined(passage)
            return
        except AccessError as error:
            self._ending.request(StopReason.FAILED, error)
            return
        except ImageError as error:
            self._fail(passage, error)
        except TransientError as error:
            self._fail(passage, ImageError(error.message, code="unavailable"))
        except Exception as error:  # noqa: BLE001  a foreign detector may raise anything; what is paid must be kept
            self._ending.request(StopReason.FAILED, _unexpected(error))
            return
        else:
            self._breaker.success()
            passage.decision = self._rules.decide(passage.detection)
        finally:
            self._shelf.clear(passage)
        self._journal.record(passage)
        self._examined(passage)

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

    async def _take_turn(self, passage: Passage) -> Reservation:
        """Get money and a turn for an attempt."""
        reservation = await self._purse.reserve(passage.image.seq)
        if reservation is None:
            raise DrainedError if self._ending.is_requested else _UnpaidError
        granted = False
        try:
            granted = await self._limiter.acquire()
        finally:
            if not granted:
                self._purse.settle(reservation, billed=False)
        if not granted:
            raise DrainedError
        return reservation

    async def _attempt(self, passage: Passage) -> Detection:
        reservation = passage.reservation or await self._take_turn(passage)
        passage.reservation = None
        self._totals.attempts += 1
        sent_s = self._clock.monotonic()
        may_be_billed = True
        try:
            detector = self._detector if passage.prepared is None else passage.prepared.detector
            detection = await detector.detect(passage.image)
        except ThrottledError as error:
            may_be_billed = error.may_be_billed
            self._totals.throttled += 1
            self._limiter.throttled(error.cause, sent_s)
            raise
        except TransientError as error:
            may_be_billed = error.may_be_billed
            raise
        except (ImageError, AccessError):
            may_be_billed = False
            self._limiter.accepted(sent_s)
            raise
        else:
            self._limiter.accepted(sent_s)
            return detection
        finally:
            self._purse.settle(reservation, billed=may_be_billed)

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
