"""Retries: an attempt that was throttled or failed transiently is repeated, after a pause."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import Random
from typing import TypeVar

from asyncfilter.clock import Clock
from asyncfilter.errors import ThrottledError, TransientError
from asyncfilter.policy.retrying import CAP_S, REPEATED, RetrySchedule

T = TypeVar("T")


class DrainedError(Exception):
    """The run ends before an attempt was sent: while it waited, or before it was repeated."""


class Repeater:
    """Repeats attempts by one retry policy, which detector, listing and sink share.

    Args:
        max_attempts: Attempts that may fail for a reason other than throttling; at least 1.
        pause: Waits the given seconds before a repetition; returns False when the run ends and there must be none.
        rng: Draws the jitter.
        throttle_cap_s: See ``RetrySchedule``.
    """

    def __init__(
        self,
        *,
        max_attempts: int,
        pause: Callable[[float], Awaitable[bool]],
        rng: Random,
        throttle_cap_s: float = CAP_S,
    ) -> None:
        self._throttle_cap_s = throttle_cap_s
        self._max_attempts = max_attempts
        self._pause = pause
        self._rng = rng

    async def __call__(
        self, attempt: Callable[[], Awaitable[T]], on_failure: Callable[[Exception, float], float | None] | None = None
    ) -> T:
        """Attempt until an attempt succeeds or fails permanently, or the run drains.

        A first attempt that succeeds costs one function call: no retry schedule is made for it.

        Args:
            attempt: One attempt.
            on_failure: Called before each repetition with the error and the wait in seconds; may return another wait.

        Raises:
            DrainedError: The end was requested before the next attempt.
            CallError: The error of the last attempt, when there is no further one.
        """
        try:
            return await attempt()
        except REPEATED as error:
            return await self.again(error, attempt, on_failure)

    async def again(
        self,
        error: ThrottledError | TransientError,
        attempt: Callable[[], Awaitable[T]],
        on_failure: Callable[[Exception, float], float | None] | None = None,
    ) -> T:
        """Repeat ``attempt``, which was made once and failed with ``error``; otherwise as ``__call__``."""
        schedule = RetrySchedule(max_attempts=self._max_attempts, rng=self._rng, throttle_cap_s=self._throttle_cap_s)
        try:
            while (delay_s := schedule.delay_s(error)) is not None:
                if on_failure is not None:
                    wait_s = on_failure(error, delay_s)
                    delay_s = delay_s if wait_s is None else wait_s
                if not await self._pause(delay_s):
                    raise DrainedError from error
                try:
                    return await attempt()
                except REPEATED as later:
                    # The former error is dropped: one error is held, however often the attempt is repeated.
                    error = later
            raise error
        finally:
            del error  # the traceback refers to this frame: a reference back would be a cycle


def full_pause(clock: Clock) -> Callable[[float], Awaitable[bool]]:
    """A ``pause`` for ``Repeater`` outside of a run: only cancellation ends it early."""

    async def pause(delay_s: float) -> bool:
        await clock.sleep(delay_s)
        return True

    return pause
