"""The stepped clock that other tests use."""

from __future__ import annotations

import anyio
import pytest

from asyncfilter.clock import Clock
from asyncfilter.testing.clock import ManualClock


async def test_sleepers_wake_in_the_order_of_their_times_and_see_those_times() -> None:
    """One long step executes every wake-up in between, ties in the order of their sleeps."""
    clock: Clock = ManualClock(100.0)
    manual = clock
    assert isinstance(manual, ManualClock)
    woken: list[tuple[str, float]] = []

    async def sleeper(name: str, *delays_s: float) -> None:
        for delay_s in delays_s:
            await clock.sleep(delay_s)
            woken.append((name, clock.monotonic()))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sleeper, "often", 1.0, 1.0, 1.0)
        tasks.start_soon(sleeper, "late", 2.5)
        tasks.start_soon(sleeper, "tie", 1.0)
        await manual.advance(3.0)
    assert woken == [("often", 101.0), ("tie", 101.0), ("often", 102.0), ("late", 102.5), ("often", 103.0)]
    assert manual.monotonic() == 103.0


async def test_no_sleep_ends_early() -> None:
    """A step that is too short changes nothing but the time."""
    clock = ManualClock()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(clock.sleep, 1.0)
        await clock.advance(0.999)
        assert (clock.sleeping, clock.next_wake_s) == (1, 1.0)
        await clock.advance(0.001)
        assert (clock.sleeping, clock.next_wake_s) == (0, None)


async def test_a_cancelled_sleeper_is_forgotten() -> None:
    """A cancelled sleep leaves no entry in the clock."""
    clock = ManualClock()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(clock.sleep, 1.0)
        await clock.settle()
        tasks.cancel_scope.cancel()
    assert clock.sleeping == 0


async def test_both_times_move_together() -> None:
    """The wall-clock time advances with the monotonic time."""
    clock = ManualClock(5.0, unix_s=1_000.0)
    await clock.advance(2.5)
    assert (clock.monotonic(), clock.unix()) == (7.5, 1_002.5)


@pytest.mark.parametrize("delay_s", [0.0, -1.0])
async def test_no_delay_is_no_sleep(delay_s: float) -> None:
    """A sleep of zero returns without a step of the clock."""
    await ManualClock().sleep(delay_s)
