"""Whether and when a failed attempt is repeated.

Built from tenacity's strategies and entered only after a first failure, since tenacity costs more than the rest of a
successful attempt. Invariants:

- Only ``ThrottledError`` and ``TransientError`` are repeated; throttles do not count against ``max_attempts``.
- Waits are drawn with full jitter: evenly from 0 to a bound that doubles from attempt to attempt.
- What the service asks for (``retry_after_s``) is waited, up to ``CAP_S``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import Random
from typing import Self

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type
from tenacity.stop import stop_base
from tenacity.wait import wait_base, wait_exponential

from asyncfilter.errors import CallError, ThrottledError, TransientError

THROTTLE_BASE_S = 1.0
"""First bound after a throttle; botocore's retry mode of 2026 uses the same."""

TRANSIENT_BASE_S = 0.1
"""First bound after a transient fault: the next attempt mostly meets another server."""

CAP_S = 20.0
"""Longest wait, as in botocore's ``standard`` mode."""

PACED_CAP_S = 2.0
"""Longest wait after a throttle where a limiter paces all attempts: it lowers the rate for everybody, and an image that
waits for longer holds up all that come after it once the window of admitted images is full."""


_REPEATED = retry_if_exception_type((ThrottledError, TransientError))


class _WaitByError(wait_base):
    """Full jitter, with a longer base after throttles; never shorter than the service asked for."""

    def __init__(self, rng: Random, throttle_cap_s: float) -> None:
        self._rng = rng
        self._throttle = wait_exponential(multiplier=THROTTLE_BASE_S, max=throttle_cap_s)
        self._transient = wait_exponential(multiplier=TRANSIENT_BASE_S, max=CAP_S)

    def __call__(self, retry_state: RetryCallState) -> float:
        error = _failure(retry_state)
        bound = self._throttle if isinstance(error, ThrottledError) else self._transient
        jittered_s = self._rng.uniform(0.0, bound(retry_state))
        asked_s = getattr(error, "retry_after_s", None) or 0.0
        return max(jittered_s, min(asked_s, CAP_S))


class _StopAfterFaults(stop_base):
    """Stops at the ``max_attempts``-th attempt that failed for another reason than the rate."""

    def __init__(self, max_attempts: int) -> None:
        self._left = max_attempts

    def __call__(self, retry_state: RetryCallState) -> bool:
        if not isinstance(_failure(retry_state), ThrottledError):
            self._left -= 1
        return self._left <= 0


class AfterFailure(AsyncRetrying):
    """``AsyncRetrying`` whose first attempt lies behind it and failed; made by ``retrying``."""

    first_error: CallError | None

    def __aiter__(self) -> Self:
        super().__aiter__()
        if (error := self.first_error) is not None:
            self._retry_state.set_exception((type(error), error, error.__traceback__))
        return self

    def forget(self) -> None:
        """Let go of what was repeated, in the end: errors hold frames, frames hold this, and this holds errors.

        Thousands of throttles would else leave the garbage collector a fifth of a second of work at a time.
        """
        self.iter_state.reset()
        self._retry_state.outcome = None
        del self._retry_state
        self.first_error = None


def retrying(
    first_error: CallError,
    *,
    max_attempts: int,
    rng: Random,
    throttle_cap_s: float = CAP_S,
    sleep: Callable[[float], Awaitable[None]],
) -> AfterFailure:
    """Repeat what has failed once.

    Use it so that the usual, successful attempt never enters it::

        try:
            return await attempt()
        except (ThrottledError, TransientError) as error:
            retries = retrying(error, max_attempts=8, rng=rng, sleep=clock.sleep)
            try:
                async for again in retries:
                    with again:
                        return await attempt()
            finally:
                retries.forget()

    Args:
        first_error: How the first attempt failed; counted like the later ones.
        max_attempts: Attempts that may fail for another reason than the rate, the first included; at least 1.
        rng: Draws the jitter.
        throttle_cap_s: Longest wait after a throttle, unless the service asks for more.
        sleep: How to wait, seconds.

    Returns:
        An iterator of attempts. It waits before each, and raises the last error itself when there is to be none, at
        once for an error that is not to be repeated.
    """
    again = AfterFailure(
        sleep=sleep,
        stop=_StopAfterFaults(max_attempts),
        wait=_WaitByError(rng, throttle_cap_s),
        retry=_REPEATED,
        reraise=True,
    )
    again.first_error = first_error
    return again


def _failure(retry_state: RetryCallState) -> BaseException | None:
    return retry_state.outcome.exception() if retry_state.outcome else None
