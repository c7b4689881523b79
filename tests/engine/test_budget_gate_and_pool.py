"""Waiting for the budget and for workers."""

from __future__ import annotations

import anyio
import pytest

from asyncfilter.engine.core.budget_gate import BudgetGate
from asyncfilter.engine.core.pending import PendingSignal
from asyncfilter.engine.core.pool import WorkerPool
from asyncfilter.engine.core.stopping import StopSignal
from asyncfilter.model import StopReason
from asyncfilter.policy.budget import Budget, Reservation
from asyncfilter.testing import run_virtually


def budget_gate_of(calls: int) -> BudgetGate:
    """A budget gate whose budget covers ``calls`` calls at 1 micro-dollar each."""
    budget = Budget(limit_micros=calls, price_micros=lambda _nth: 1)
    budget.grant(calls)
    return BudgetGate(budget, PendingSignal())


async def reserved(budget_gate: BudgetGate, seq: int) -> Reservation:
    """A reservation that must succeed."""
    reservation = await budget_gate.reserve(seq)
    assert reservation is not None
    return reservation


def test_a_released_reservation_goes_to_the_lowest_seq() -> None:
    """Waiters are served in the order of examination, not in the order of their arrival."""
    served: list[int] = []

    async def wait(budget_gate: BudgetGate, seq: int) -> None:
        if await budget_gate.reserve(seq) is not None:
            served.append(seq)

    async def main() -> None:
        budget_gate = budget_gate_of(2)
        held = [await reserved(budget_gate, 1), await reserved(budget_gate, 2)]
        async with anyio.create_task_group() as tasks:
            for seq in (9, 5, 7):
                tasks.start_soon(wait, budget_gate, seq)
            await anyio.sleep(1)
            for reservation in held:
                budget_gate.settle(reservation, billed=False)
            await anyio.sleep(1)
            budget_gate.close()

    run_virtually(main)
    assert served == [5, 7]


def test_everyone_is_refused_once_nothing_can_be_given_back() -> None:
    """When the last attempt in flight was billed, all waiters are refused."""

    async def main() -> list[Reservation | None]:
        budget_gate = budget_gate_of(1)
        held = await reserved(budget_gate, 1)
        answers: list[Reservation | None] = []

        async def wait(seq: int) -> None:
            answers.append(await budget_gate.reserve(seq))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait, 2)
            tasks.start_soon(wait, 3)
            await anyio.sleep(1)
            assert answers == []
            budget_gate.settle(held, billed=True)
        return answers

    assert run_virtually(main) == [None, None]


def test_cancelled_waiter_takes_nothing() -> None:
    """A reservation granted to a cancelled waiter goes to the next one."""

    async def main() -> int:
        budget_gate = budget_gate_of(1)
        held = await reserved(budget_gate, 1)
        with anyio.move_on_after(1):
            await budget_gate.reserve(2)
        budget_gate.settle(held, billed=False)
        await reserved(budget_gate, 3)
        return budget_gate.budget.held_calls

    assert run_virtually(main) == 1


@pytest.mark.parametrize("limit", [1, 3, 10])
def test_pool_grows_to_rate_times_latency_and_not_beyond_its_limit(limit: int) -> None:
    """Items every 0.1 s that take 0.5 s need five workers; the pool starts them, up to its limit."""

    async def main() -> tuple[int, list[int]]:
        finished: list[int] = []

        async def work(item: int) -> None:
            await anyio.sleep(0.49)
            finished.append(item)

        async with anyio.create_task_group() as tasks:
            pool: WorkerPool[int] = WorkerPool(work, limit)
            pool.start(tasks)
            for item in range(40):
                await pool.wait_room()
                pool.submit(item)
                await anyio.sleep(0.1)
            await pool.wait_done()
            tasks.cancel_scope.cancel()
        return pool.peak, finished

    peak, finished = run_virtually(main)
    assert peak == min(limit, 5)
    assert finished == list(range(40))


def test_abandoned_items_are_not_worked_on() -> None:
    """Waiting items are dropped, items in work finish."""

    async def main() -> list[int]:
        finished: list[int] = []

        async def work(item: int) -> None:
            await anyio.sleep(1)
            finished.append(item)

        async with anyio.create_task_group() as tasks:
            pool: WorkerPool[int] = WorkerPool(work, 2)
            pool.start(tasks)
            for item in range(5):
                pool.submit(item)
            pool.abandon()
            await pool.wait_done()
            tasks.cancel_scope.cancel()
        return finished

    assert run_virtually(main) == [0, 1]


def test_first_stop_reason_wins_and_a_stop_can_become_immediate() -> None:
    """An interrupt after a stop keeps the stop's reason; only the wait becomes shorter."""

    async def main() -> None:
        stop_signal = StopSignal()
        reported: list[str] = []
        stop_signal.on_request(lambda: reported.append("told"))
        stop_signal.request(StopReason.MATCHES)
        assert not stop_signal.is_immediate
        assert not await stop_signal.pause(5)
        stop_signal.request(StopReason.INTERRUPTED)
        assert (stop_signal.reason, stop_signal.is_immediate, reported) == (StopReason.MATCHES, True, ["told"])
        assert not await stop_signal.pause_action(5)
        assert anyio.current_time() == 0

    run_virtually(main)
