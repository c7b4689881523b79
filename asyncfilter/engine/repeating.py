"""One attempt, and others after it when it fails in a way that a repetition may cure."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import Random
from typing import TypeVar

from asyncfilter.clock import Clock
from asyncfilter.errors import ThrottledError, TransientError
from asyncfilter.policy.retrying import CAP_S, REPEATED, RetrySchedule

T = TypeVar("T")


class DrainedError(Exception):
    """The run ends while an attempt was waiting for its turn; nothing was sent."""


class Repeater:
    """Repeats attempts, under one policy for detector, listing and sink.

    Args:
        max_attempts: Attempts that may fail for another reason than the rate; at least 1.
        pause: Waits that many seconds before a repetition; False when there shall be none, because the run ends.
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
        self, attempt: Callable[[], Awaitable[T]], on_failure: Callable[[Exception, float], None] | None = None
    ) -> T:
        """Attempt until it succeeds, fails for good, or the run drains.

        A successful first attempt costs a call and nothing else: no schedule is made for it.

        Args:
            attempt: One attempt.
            on_failure: Told the error and the wait in seconds before each repetition.

        Raises:
            DrainedError: The end was requested before the next attempt.
            CallError: The last attempt's error, when there is to be no other.
        """
        try:
            return await attempt()
        except REPEATED as error:
            return await self.again(error, attempt, on_failure)

    async def again(
        self,
        error: ThrottledError | TransientError,
        attempt: Callable[[], Awaitable[T]],
        on_failure: Callable[[Exception, float], None] | None = None,
    ) -> T:
        """Repeat what was attempted once and failed with ``error``; otherwise as a call."""
        schedule = RetrySchedule(max_attempts=self._max_attempts, rng=self._rng, throttle_cap_s=self._throttle_cap_s)
        try:
            while (delay_s := schedule.delay_s(error)) is not None:
                if on_failure is not None:
                    on_failure(error, delay_s)
                if not await self._pause(delay_s):
                    raise DrainedError from error
                try:
                    return await attempt()
                except REPEATED as later:
                    error = later
            raise error
        finally:
            del error  # an error refers to this frame: a reference back would be a circle


def full_pause(clock: Clock) -> Callable[[float], Awaitable[bool]]:
    """A ``pause`` for ``Repeater`` outside of a run, which nothing but cancellation cuts short."""

    async def pause(delay_s: float) -> bool:
        await clock.sleep(delay_s)
        return True

    return pause
