"""The crash proxy that other tests use."""

from __future__ import annotations

import anyio
import pytest

from asyncfilter.testing import Crash, CrashPlan
from asyncfilter.testing.crash import crashed, crashing, unless_crashed


class Counter:
    """A port that counts its calls."""

    name = "counter"

    def __init__(self) -> None:
        self.calls = 0

    async def add(self, number: int, *, twice: bool = False) -> int:
        self.calls += 1
        return number * (2 if twice else 1)

    async def fail(self) -> None:
        raise ValueError("full")

    def peek(self) -> int:
        return self.calls


async def test_every_await_has_two_moments() -> None:
    """Arguments, results, errors and plain attributes pass unchanged; crash points are named in order."""
    plan = CrashPlan()
    port = crashing(Counter(), plan)
    assert await port.add(2, twice=True) == 4
    with pytest.raises(ValueError, match="full"):
        await port.fail()
    assert (port.peek(), port.name) == (1, "counter")
    assert plan.moments == ["before add", "after add", "before fail"]


@pytest.mark.parametrize(("at", "calls"), [(1, 0), (2, 1), (3, 1), (4, 2), (5, 2), (0, 2)])
def test_the_process_crashes_at_the_planned_point(at: int, calls: int) -> None:
    """It ends before or after its n-th call, by an exception that no ``except Exception`` catches; no call follows."""
    counter = Counter()

    async def program() -> None:
        port = crashing(counter, CrashPlan(at))
        for _ in range(2):
            try:
                await port.add(1)
            except Exception:  # noqa: BLE001  a crash must pass
                pytest.fail("it was caught")

    assert crashed(anyio.run, program) == (0 < at < 5)
    assert counter.calls == calls


async def test_chosen_methods_alone_have_moments() -> None:
    """``only`` names the methods with crash points."""
    plan = CrashPlan(1)
    port = crashing(Counter(), plan, only={"fail"})
    assert await port.add(1) == 1
    with pytest.raises(Crash, match="before fail"):
        await port.fail()


async def test_crashes_in_a_group_are_crashes_and_errors_are_not() -> None:
    """A task group wraps what its tasks raise; other exceptions are not swallowed."""

    async def program(at: int) -> int:
        port = crashing(Counter(), CrashPlan(at))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(port.add, 1)
        return 7

    assert await unless_crashed(program(2)) is None
    assert await unless_crashed(program(0)) == 7
    with pytest.raises(ValueError, match="full"):
        await unless_crashed(Counter().fail())
    with pytest.raises(ZeroDivisionError):
        crashed(divmod, 1, 0)
