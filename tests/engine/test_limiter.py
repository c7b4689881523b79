"""The limiter under a stepped clock: order, rate, cancellation, closing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio.abc import TaskGroup

from asyncfilter.engine.core.limiter import RateLimiter
from asyncfilter.errors import ThrottleCause
from asyncfilter.policy.rate import RateController
from asyncfilter.testing.clock import ManualClock


class Queue:
    """A limiter, its clock, and the answers that its waiters got, with times."""

    def __init__(self, tasks: TaskGroup, limit_tps: float) -> None:
        self.clock = ManualClock()
        self.limiter = RateLimiter(RateController(limit_tps, start_tps=limit_tps), self.clock, first_s=0.0)
        self.answers: list[tuple[object, bool]] = []
        self.times_s: list[float] = []
        self._tasks = tasks

    async def join(self, *names: object) -> list[anyio.CancelScope]:
        """Start waiters with these names, in this order."""
        scopes = [anyio.CancelScope() for _ in names]
        for name, scope in zip(names, scopes, strict=True):
            self._tasks.start_soon(self.wait, name, scope)
        await self.clock.settle()
        return scopes

    async def wait(self, name: object, scope: anyio.CancelScope) -> None:
        with scope:
            self.answers.append((name, await self.limiter.acquire()))
            self.times_s.append(self.clock.monotonic())

    @property
    def served(self) -> list[object]:
        return [name for name, granted in self.answers if granted]


@asynccontextmanager
async def queue(limit_tps: float) -> AsyncIterator[Queue]:
    """A queue whose waiters end with the block."""
    async with anyio.create_task_group() as tasks:
        yield Queue(tasks, limit_tps)
        tasks.cancel_scope.cancel()


async def test_permits_are_given_in_the_order_of_requests() -> None:
    """Waiters are served in the order of arrival, at the rate."""
    async with queue(10) as line:
        await line.join(*range(25))
        await line.clock.advance(1.0)
        assert line.served == list(range(len(line.served)))
        assert 10 <= len(line.served) <= 11
        await line.clock.advance(2.0)
        assert line.served == list(range(25))


@pytest.mark.parametrize("limit_tps", [0.5, 3, 700, 5000])
async def test_no_second_has_more_than_the_rate_allows(limit_tps: float) -> None:
    """Attempts of an endless queue stay within 105 % of the rate + 1 in every second, and use .98 of it."""
    async with queue(limit_tps) as line:
        seconds = max(2.0, 20 / limit_tps)
        await line.join(*range(int(limit_tps * seconds * 1.2) + 2))
        await line.clock.advance(seconds)
        windows = [
            sum(1 for at_s in line.times_s if start <= at_s < start + 1)
            for start in line.times_s[:: max(1, int(limit_tps / 10))]
        ]
        assert max(windows) <= 1.05 * limit_tps + 1
        assert len(line.times_s) >= 0.98 * limit_tps * seconds


async def test_one_sleeper_serves_the_whole_queue() -> None:
    """The clock has one timer, of at least a millisecond, for any number of waiters."""
    async with queue(5000) as line:
        await line.join(*range(400))
        assert line.clock.sleeping == 1
        assert line.clock.next_wake_s == pytest.approx(line.clock.monotonic() + 0.001)


async def test_a_grant_to_a_cancelled_waiter_goes_to_the_next() -> None:
    """A cancelled waiter, first or not, uses no permit: the others are served as if it had not waited."""
    async with queue(1) as line:
        assert line.limiter.acquire_nowait()
        scopes = await line.join("a", "b", "c", "d")
        scopes[0].cancel()
        scopes[2].cancel()
        await line.clock.settle()
        assert line.limiter.statistics().waiting == 2
        await line.clock.advance(1.02)
        assert line.served == ["b"]
        await line.clock.advance(1.02)
        assert line.served == ["b", "d"]


async def test_a_permit_granted_at_a_cancellation_goes_to_the_next() -> None:
    """A grant to a waiter cancelled at that moment is void (asyncio's cancellation; anyio delivers it later)."""
    assert await serve_beside_a_cancelled_waiter(with_cancelled=True) == await serve_beside_a_cancelled_waiter(
        with_cancelled=False
    )


async def serve_beside_a_cancelled_waiter(*, with_cancelled: bool) -> list[object]:
    """The waiters served within 9 ms; with ``cancelled``, a waiter ahead of them is cancelled at its grant."""
    async with queue(3000) as line, anyio.create_task_group() as tasks:
        while line.limiter.acquire_nowait():
            pass
        waiters: list[asyncio.Task[object] | None] = []

        async def lead() -> None:
            assert await line.limiter.acquire()
            for waiter in waiters:
                assert waiter is not None
                assert waiter.cancel()  # it was given a permit in the same batch, but has not run since

        async def follow() -> None:
            waiters.append(asyncio.current_task())
            with pytest.raises(asyncio.CancelledError):
                await line.limiter.acquire()

        tasks.start_soon(lead)
        await line.clock.settle()
        if with_cancelled:
            tasks.start_soon(follow)
            await line.clock.settle()
        await line.join(*range(100))
        await line.clock.advance(0.0095)
        assert line.served == list(range(len(line.served)))
    return line.served


async def test_no_newcomer_overtakes_the_queue() -> None:
    """A permit that is due belongs to the first waiter even before the timer wakes it; a newcomer does not get it."""
    async with queue(3000) as line:
        while line.limiter.acquire_nowait():
            pass
        await line.join("a")
        await line.clock.advance(0.0009)
        assert not line.limiter.acquire_nowait()
        assert line.limiter.statistics().waiting == 1
        await line.clock.advance(0.0001)
        assert line.served == ["a"]
        assert line.limiter.acquire_nowait()


async def test_idleness_saves_up_no_permits() -> None:
    """After an hour without attempts one permit is free, not a burst."""
    async with queue(1000) as line:
        await line.clock.advance(3600)
        assert sum(line.limiter.acquire_nowait() for _ in range(100)) == 1


async def test_close_refuses_all_who_wait_and_all_who_come() -> None:
    """Closing releases the leader and the others at once, without a permit and without delay."""
    async with queue(0.05) as line:
        assert line.limiter.acquire_nowait()
        await line.join("a", "b", "c")
        line.limiter.close()
        await line.clock.settle()
        assert set(line.answers) == {("a", False), ("b", False), ("c", False)}
        assert line.clock.sleeping == 0
        assert not await line.limiter.acquire()
        assert not line.limiter.acquire_nowait()
        assert line.limiter.statistics().closed


async def test_a_throttle_slows_the_queue_at_once_and_acceptance_raises_the_ramp() -> None:
    """Feedback reaches the controller with the clock's time; the spacing follows its rate."""
    clock = ManualClock()
    limiter = RateLimiter(RateController(40), clock, first_s=0.0)
    assert limiter.statistics().rate_tps == 5
    for _ in range(40):
        if limiter.acquire_nowait():
            limiter.accepted(clock.monotonic())
        await clock.advance(0.1)
    assert limiter.statistics().rate_tps == 40
    limiter.throttled(ThrottleCause.RATE, clock.monotonic())
    assert limiter.statistics().rate_tps < 40
    assert limiter.statistics().limit_tps == 40


async def test_statistics_count_the_attempts_of_the_last_second() -> None:
    """The statistics hold the permits of the last second and the number of waiters."""
    async with queue(50) as line:
        await line.join(*range(120))
        await line.clock.advance(2.0)
        now = line.limiter.statistics()
        assert 49 <= now.attempts_last_s <= 51
        assert now.waiting == 120 - len(line.served)
        await line.clock.advance(3.0)
        assert line.limiter.statistics().attempts_last_s == 0
