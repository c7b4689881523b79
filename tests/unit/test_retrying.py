"""Repetitions of attempts: which errors, how often, and after which wait."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Awaitable, Callable
from random import Random

import pytest

from asyncfilter.engine.core.retry import DrainedError, Repeater
from asyncfilter.errors import ImageError, PermissionDeniedError, ThrottleCause, ThrottledError, TransientError
from asyncfilter.policy.retrying import CAP_S, THROTTLE_BASE_S, TRANSIENT_BASE_S, RetrySchedule


def throttled(retry_after_s: float | None = None) -> ThrottledError:
    """The error of the service at too high a rate."""
    return ThrottledError("slow down", cause=ThrottleCause.RATE, retry_after_s=retry_after_s)


def transient(retry_after_s: float | None = None) -> TransientError:
    """The error of a broken connection."""
    return TransientError("reset", may_be_billed=True, retry_after_s=retry_after_s)


class Service:
    """Returns results and raises errors in the given order."""

    def __init__(self, *answers: Exception | str) -> None:
        self.answers = list(answers)
        self.attempts = 0
        self.waits_s: list[float] = []

    async def pause(self, delay_s: float) -> bool:
        self.waits_s.append(delay_s)
        return True

    async def attempt(self) -> str:
        self.attempts += 1
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def call(self, *, max_attempts: int = 8, rng: Random | None = None) -> str:
        """Attempt and repeat as the engine does."""
        return await Repeater(max_attempts=max_attempts, pause=self.pause, rng=rng or Random(1))(self.attempt)


class Highest(Random):
    """Draws the upper bound, so that bounds can be checked."""

    def uniform(self, a: float, b: float) -> float:
        return b


async def test_a_success_after_failures_is_returned() -> None:
    """Throttles and transient faults are repeated until the answer comes."""
    service = Service(throttled(), transient(), "labels")
    assert await service.call() == "labels"
    assert service.attempts == 3
    assert len(service.waits_s) == 2


async def test_max_attempts_counts_the_first_failure() -> None:
    """With four attempts the fourth transient fault is the last, and is raised unchanged."""
    last = transient()
    service = Service(transient(), transient(), transient(), last)
    with pytest.raises(TransientError) as caught:
        await service.call(max_attempts=4)
    assert caught.value is last
    assert service.attempts == 4


async def test_one_attempt_means_no_repetition() -> None:
    """``max_attempts: 1`` raises at once, without a wait."""
    service = Service(transient())
    with pytest.raises(TransientError):
        await service.call(max_attempts=1)
    assert (service.attempts, service.waits_s) == (1, [])


async def test_throttles_do_not_count() -> None:
    """A hundred throttles and two faults do not exceed three attempts."""
    service = Service(*[throttled() for _ in range(100)], transient(), transient(), "labels")
    assert await service.call(max_attempts=3) == "labels"


@pytest.mark.parametrize("error", [ImageError("too small", code="too_small"), PermissionDeniedError("denied")])
async def test_what_a_repetition_cannot_cure_is_not_repeated(error: Exception) -> None:
    """An error of the image or the account is raised at once, also after a repetition."""
    service = Service(transient(), error)
    with pytest.raises(type(error)) as caught:
        await service.call()
    assert caught.value is error
    assert service.attempts == 2


async def test_a_first_error_that_cannot_be_cured_is_raised_without_a_wait() -> None:
    """An image error at the first attempt is raised at once, and no schedule is made."""
    error = ImageError("too small", code="too_small")
    service = Service(error)
    with pytest.raises(ImageError):
        await service.call()
    assert (service.attempts, service.waits_s) == (1, [])
    assert RetrySchedule(max_attempts=8, rng=Random(1)).delay_s(error) is None


async def test_bounds_double_up_to_the_cap() -> None:
    """The longest possible waits: throttles start higher than faults, both double, neither exceeds the cap."""
    service = Service(*[throttled() for _ in range(8)], "labels")
    await service.call(rng=Highest())
    assert service.waits_s == [min(THROTTLE_BASE_S * 2**n, CAP_S) for n in range(8)]
    service = Service(*[transient() for _ in range(9)], "labels")
    await service.call(rng=Highest(), max_attempts=99)
    assert service.waits_s == [min(TRANSIENT_BASE_S * 2**n, CAP_S) for n in range(9)]


async def test_waits_are_drawn_from_zero_to_the_bound() -> None:
    """Full jitter: first waits of many calls spread over the whole range, the same for the same seed."""

    async def first_waits(seed: int) -> list[float]:
        rng, waits_s = Random(seed), []
        for _ in range(200):
            service = Service(throttled(), "labels")
            await service.call(rng=rng)
            waits_s += service.waits_s
        return waits_s

    waits_s = await first_waits(7)
    assert min(waits_s) < 0.05 * THROTTLE_BASE_S
    assert 0.95 * THROTTLE_BASE_S < max(waits_s) <= THROTTLE_BASE_S
    assert waits_s == await first_waits(7)


@pytest.mark.parametrize(("requested_s", "waited_s"), [(3.0, 3.0), (3600.0, CAP_S)])
@pytest.mark.parametrize("error", [throttled, transient])
async def test_the_retry_after_of_the_service_is_respected(
    error: Callable[[float], Exception], requested_s: float, waited_s: float
) -> None:
    """``retry_after_s`` is honoured, up to the cap."""
    service = Service(error(requested_s), "labels")
    await service.call()
    assert service.waits_s == [waited_s]


async def test_the_whole_wait_and_its_error_are_reported_before_it() -> None:
    """``on_failure`` is called once a repetition, with the error that caused it and the seconds that follow."""
    errors = [throttled(3.0), transient(1.5)]
    service = Service(*errors, "labels")
    reported: list[tuple[Exception, float]] = []
    repeat = Repeater(max_attempts=8, pause=service.pause, rng=Random(1))
    await repeat(service.attempt, lambda error, delay_s: reported.append((error, delay_s)))
    assert reported == list(zip(errors, service.waits_s, strict=True))


async def test_a_run_that_drains_ends_the_repetitions() -> None:
    """If the pause reports that the run ends, nothing more is attempted, and the last error is the cause."""
    last = throttled()
    service = Service(transient(), last, "labels")

    async def pause(_delay_s: float) -> bool:
        return service.attempts < 2

    with pytest.raises(DrainedError) as caught:
        await Repeater(max_attempts=8, pause=pause, rng=Random(1))(service.attempt)
    assert caught.value.__cause__ is last
    assert service.attempts == 2


async def test_a_success_at_once_makes_no_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tenacity is used after a first failure only: it costs more than the rest of a successful attempt."""
    monkeypatch.setattr("asyncfilter.engine.core.retry.RetrySchedule", None)
    assert await Service("labels").call() == "labels"


async def garbage_of(attempt: Callable[[], Awaitable[str]], *, max_attempts: int = 8, drains: bool = False) -> int:
    """The number of objects that one call leaves to the garbage collector."""

    async def pause(_delay_s: float) -> bool:
        return not drains

    repeat = Repeater(max_attempts=max_attempts, pause=pause, rng=Random(0))
    gc.collect()
    gc.disable()
    try:
        with contextlib.suppress(TransientError, ThrottledError, ImageError, DrainedError):
            await repeat(attempt)
        return gc.collect()
    finally:
        gc.enable()


@pytest.mark.parametrize("failures", [1, 2, 5, 9])
async def test_nothing_is_left_to_the_garbage_collector(failures: int) -> None:
    """Errors, frames and repetitions form no cycle: thousands of throttles cause no later pause for collection."""
    left = failures

    async def attempt() -> str:
        nonlocal left
        left -= 1
        if left < 0:
            return "labels"
        raise transient() if left % 2 else throttled()

    assert await garbage_of(attempt) == 0
    assert left == -1


@pytest.mark.parametrize("max_attempts", [1, 2, 5])
async def test_exhausted_repetitions_leave_nothing_either(max_attempts: int) -> None:
    """An image that fails for good causes no later pause for collection."""

    async def attempt() -> str:
        raise transient()

    assert await garbage_of(attempt, max_attempts=max_attempts) == 0


@pytest.mark.parametrize("failures", [0, 1, 3])
async def test_a_final_error_and_a_drained_run_leave_nothing(failures: int) -> None:
    """The other two ends of the repetitions leave no cycle either."""
    left = failures

    async def attempt() -> str:
        nonlocal left
        left -= 1
        if left < 0:
            raise ImageError("too small", code="too_small")
        raise throttled()

    assert await garbage_of(attempt) == 0
    left = failures
    assert await garbage_of(attempt, drains=True) == 0
