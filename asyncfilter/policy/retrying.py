"""Whether and when a failed attempt is repeated: tenacity's stop, wait and retry strategies, without its loop.

Invariants:

- Only the errors in ``REPEATED`` are repeated; throttles do not count against ``max_attempts``.
- An attempt that was not sent, or was lost with its worker, is repeated at once and counts nowhere.
- Waits are drawn with full jitter: evenly from 0 to a bound that doubles from attempt to attempt.
- The wait is at least the one that the service sent (``retry_after_s``), up to ``CAP_S``.
- A schedule keeps no error. An error refers to its frames, and these refer to the schedule: a reference back would be a
  cycle, and after thousands of throttles the garbage collector would stop the event loop for a fifth of a second.
"""

from __future__ import annotations

from random import Random
from typing import Final

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type
from tenacity.stop import stop_base
from tenacity.wait import wait_base, wait_exponential

from asyncfilter.errors import CallError, LostError, NotSentError, ThrottledError, TransientError

THROTTLE_BASE_S = 1.0
"""First bound after a throttle; botocore's retry mode of 2026 uses the same."""

TRANSIENT_BASE_S = 0.1
"""First bound after a transient fault: the next attempt usually reaches another server."""

CAP_S = 20.0
"""Longest wait, as in botocore's ``standard`` mode."""

PACED_CAP_S = 2.0
"""Longest wait after a throttle where a limiter paces all attempts: it lowers the rate for all calls, and an image with
a longer wait blocks all later ones once the window of admitted images is full."""

REPEATED: Final = (ThrottledError, TransientError)
"""The errors that a repetition may cure; every other error is final."""

_IS_REPEATED = retry_if_exception_type(REPEATED)
"""Made once: the object refers to a method of its own, so that each new one would be a reference cycle."""


class _WaitByError(wait_base):
    """Full jitter, with a longer base after throttles; never shorter than ``retry_after_s``."""

    def __init__(self, rng: Random, throttle_cap_s: float) -> None:
        self._rng = rng
        self._throttle = wait_exponential(multiplier=THROTTLE_BASE_S, max=throttle_cap_s)
        self._transient = wait_exponential(multiplier=TRANSIENT_BASE_S, max=CAP_S)

    def __call__(self, retry_state: RetryCallState) -> float:
        error = _failure(retry_state)
        bound = self._throttle if isinstance(error, ThrottledError) else self._transient
        jittered_s = self._rng.uniform(0.0, bound(retry_state))
        # A wait that the service sent is not jittered: a shorter one would be refused again.
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


class RetrySchedule:
    """Decides, failure by failure, about the repetitions of one call; to be created after the first failure.

    Args:
        max_attempts: Attempts that may fail for another reason than the rate, the first included; at least 1.
        rng: Draws the jitter.
        throttle_cap_s: Longest wait after a throttle, unless ``retry_after_s`` is longer; seconds.
    """

    def __init__(self, *, max_attempts: int, rng: Random, throttle_cap_s: float = CAP_S) -> None:
        self._strategies = AsyncRetrying(
            retry=_IS_REPEATED,
            stop=_StopAfterFaults(max_attempts),
            wait=_WaitByError(rng, throttle_cap_s),
        )
        self._state = RetryCallState(self._strategies, fn=None, args=(), kwargs={})

    def delay_s(self, error: CallError) -> float | None:
        """Count one more failed attempt; the first call is for the first attempt.

        Returns:
            Seconds to wait before the next attempt; None when there is to be none.
        """
        if isinstance(error, NotSentError | LostError):
            return None if isinstance(error, LostError) and error.is_final else 0.0
        state, strategies = self._state, self._strategies
        state.set_exception((type(error), error, error.__traceback__))
        try:
            if not strategies.retry(state) or strategies.stop(state):
                return None
            return float(strategies.wait(state))  # tenacity's bounds may be whole numbers
        finally:
            state.prepare_for_next_attempt()  # counts the attempt, and drops the error


def _failure(retry_state: RetryCallState) -> BaseException | None:
    return retry_state.outcome.exception() if retry_state.outcome else None
