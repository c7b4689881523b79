"""The turnstile: permits of several lanes for one queue of tasks, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import anyio
import anyio.lowlevel
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncfilter.engine.core.limiter import RateLimiter
from asyncfilter.engine.core.turnstile import Turnstile
from asyncfilter.policy.rate import RateController
from asyncfilter.testing import LoopClock, run_virtually


class Lane:
    """A lane at a steady rate."""

    def __init__(self, name: str, tps: float) -> None:
        self.name = name
        self.limiter = RateLimiter(RateController(tps, start_tps=tps), LoopClock(), first_s=0.0)


class Gate:
    """A turnstile, and what it gave to whom."""

    def __init__(self, **tps: float) -> None:
        self.lanes = {name: Lane(name, rate) for name, rate in tps.items()}
        self.turnstile = Turnstile(self.lanes.values(), LoopClock())
        self.given: list[tuple[float, str, str]] = []

    async def take(self, who: str, barred: Mapping[str, float] | None = None) -> str | None:
        """Wait for a permit; ``barred`` has seconds from now by lane."""
        now_s = anyio.current_time()
        bars = {self.lanes[name]: now_s + wait_s for name, wait_s in (barred or {}).items()}
        lane = await self.turnstile.acquire(bars)
        if lane is None:
            return None
        self.given.append((anyio.current_time(), who, lane.name))
        return lane.name


def virtually(test: Callable[[], Awaitable[None]]) -> None:
    """Run a test in virtual time."""
    run_virtually(test)


def test_the_lane_that_is_due_first_gives_the_permit() -> None:
    """With two lanes of 10 and 1 a second, nearly ten of eleven permits are of the first."""

    async def main() -> None:
        gate = Gate(fast=10.0, slow=1.0)
        for number in range(44):
            await gate.take(str(number))
        names = [name for _, _, name in gate.given]
        assert 3 <= names.count("slow") <= 5
        assert gate.given[-1][0] - gate.given[0][0] < 44 / 11 * 1.1

    virtually(main)


def test_waiters_are_served_in_their_order() -> None:
    """Who came first has the first permit, whatever lane gives it."""

    async def main() -> None:
        gate = Gate(a=10.0, b=4.0)
        async with anyio.create_task_group() as tasks:
            for number in range(30):
                tasks.start_soon(gate.take, f"{number:02d}")
                await anyio.lowlevel.checkpoint()
        assert [who for _, who, _ in gate.given] == sorted(who for _, who, _ in gate.given)

    virtually(main)


def test_a_barred_waiter_delays_nobody_and_keeps_its_place() -> None:
    """It is passed by at the lane it is barred from, and gets the first permit of another."""

    async def main() -> None:
        gate = Gate(a=10.0, b=0.5)
        for _ in range(2):
            await gate.take("before")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(gate.take, "barred", {"a": 60.0})
            await anyio.lowlevel.checkpoint()
            for number in range(10):
                tasks.start_soon(gate.take, str(number))
                await anyio.lowlevel.checkpoint()
        times = {who: (time_s, name) for time_s, who, name in gate.given}
        assert times["barred"][1] == "b"
        assert times["9"][0] - gate.given[0][0] < 1.5
        assert times["barred"][0] - gate.given[0][0] < 2.5

    virtually(main)


def test_a_bar_ends() -> None:
    """Who is barred from every lane waits until the first bar is over, and no longer."""

    async def main() -> None:
        gate = Gate(a=10.0, b=10.0)
        start_s = anyio.current_time()
        assert await gate.take("one", {"a": 7.0, "b": 3.0}) == "b"
        assert 3.0 <= anyio.current_time() - start_s < 3.01

    virtually(main)


def test_a_newcomer_is_served_while_the_head_of_the_queue_is_barred() -> None:
    """The sleep of the whole queue ends when somebody comes who may use what is free."""

    async def main() -> None:
        gate = Gate(a=10.0, b=10.0)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(gate.take, "barred", {"a": 20.0, "b": 20.0})
            await anyio.sleep(1.2)  # the sleeper looks at the rate each half second
            start_s = anyio.current_time()
            await gate.take("free")
            assert anyio.current_time() - start_s < 0.01
        assert [who for _, who, _ in gate.given] == ["free", "barred"]

    virtually(main)


def test_a_removed_lane_gives_no_permit_and_its_waiters_go_elsewhere() -> None:
    """Waiters that hoped for it take the lanes that are left."""

    async def main() -> None:
        gate = Gate(a=1.0, b=0.2)
        for _ in range(2):
            await gate.take("before")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(gate.take, "one")
            await anyio.sleep(0.1)
            gate.turnstile.remove(gate.lanes["a"])
        assert gate.given[-1][1:] == ("one", "b")

    virtually(main)


def test_a_permit_that_a_cancelled_task_got_is_used_by_another() -> None:
    """A task that is cancelled after its permit was given, and before it runs, gives it back."""

    async def main() -> None:
        gate = Gate(a=1.0, b=0.01)
        for _ in range(2):
            await gate.take("before")
        leader = asyncio.create_task(gate.take("leader", {"a": 100.0}))
        await anyio.lowlevel.checkpoint()
        gone, last = (asyncio.create_task(gate.take(who)) for who in ("gone", "last"))
        await anyio.lowlevel.checkpoint()
        assert gate.turnstile.waiting == 3
        start_s, due_s = anyio.current_time(), gate.lanes["a"].limiter.due_s()
        # Just before the leader wakes, so that the permit is given here.
        await anyio.sleep(due_s - start_s - 1e-6)
        gate.lanes["a"].limiter._pacer._next_s -= 1e-5
        gate.turnstile._grant()
        assert gate.turnstile.waiting == 2
        gone.cancel()
        await last
        assert anyio.current_time() - start_s < 1.5
        assert gone.cancelled()
        leader.cancel()

    virtually(main)


def test_a_closed_turnstile_refuses_all() -> None:
    """Waiting and later callers get nothing."""

    async def main() -> None:
        gate = Gate(a=0.1, b=0.1)
        for _ in range(2):
            await gate.take("before")
        found: list[str | None] = []

        async def wait() -> None:
            found.append(await gate.take("late"))

        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(wait)
            await anyio.sleep(0.1)
            gate.turnstile.close()
        assert [*found, await gate.take("later")] == [None] * 4

    virtually(main)


@settings(max_examples=60, deadline=None)
@given(
    rates=st.lists(st.floats(1.0, 60.0), min_size=1, max_size=4),
    callers=st.lists(
        st.tuples(
            st.floats(0.0, 2.0),
            st.one_of(st.none(), st.floats(0.0, 1.5)),
            st.dictionaries(st.integers(0, 3), st.floats(0.0, 3.0), max_size=3),
        ),
        min_size=1,
        max_size=60,
    ),
)
def test_no_permit_is_lost_or_given_too_early(
    rates: list[float], callers: list[tuple[float, float | None, dict[int, float]]]
) -> None:
    """Whoever comes, leaves and is barred: who stays is served, at no barred lane, at no rate too high."""

    async def main() -> None:
        gate = Gate(**{f"lane{index}": rate for index, rate in enumerate(rates)})
        served: list[int] = []

        async def call(number: int, delay_s: float, patience_s: float | None, bars: dict[int, float]) -> None:
            await anyio.sleep(delay_s)
            begin_s = anyio.current_time()
            barred = {f"lane{index}": wait_s for index, wait_s in bars.items() if index < len(rates)}
            with anyio.move_on_after(patience_s):
                name = await gate.take(str(number), barred)
                assert name is not None
                assert anyio.current_time() >= begin_s + barred.get(name, 0.0) - 1e-9
                served.append(number)

        async with anyio.create_task_group() as tasks:
            for number, caller in enumerate(callers):
                tasks.start_soon(call, number, *caller)
        assert {number for number, caller in enumerate(callers) if caller[1] is None} <= set(served)
        for index, rate in enumerate(rates):
            times = [time_s for time_s, _, name in gate.given if name == f"lane{index}"]
            for start_s in times:
                assert sum(start_s <= time_s < start_s + 1.0 for time_s in times) <= 1.05 * rate + 1
        assert gate.turnstile.waiting == 0

    virtually(main)
