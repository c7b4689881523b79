"""Waiting for money and for workers."""

from __future__ import annotations

import anyio
import pytest

from asyncfilter.engine.core.pending import PendingSignal
from asyncfilter.engine.ending import Ending
from asyncfilter.engine.pool import WorkerPool
from asyncfilter.engine.purse import BudgetGate
from asyncfilter.model import StopReason
from asyncfilter.policy.budget import Budget, Reservation
from asyncfilter.testing import run_virtually


def purse_of(calls: int) -> BudgetGate:
    """A purse whose budget covers so many calls at 1 micro-dollar."""
    budget = Budget(limit_micros=calls, price_micros=lambda _nth: 1)
    budget.grant(calls)
    return BudgetGate(budget, PendingSignal())


async def reserved(purse: BudgetGate, seq: int) -> Reservation:
    """A reservation that is known to be had."""
    reservation = await purse.reserve(seq)
    assert reservation is not None
    return reservation


def test_money_given_back_goes_to_the_lowest_seq() -> None:
    """Whoever comes first in the order of examination is served first, not whoever waited longest."""
    served: list[int] = []

    async def wait(purse: BudgetGate, seq: int) -> None:
        if await purse.reserve(seq) is not None:
            served.append(seq)

    async def main() -> None:
        purse = purse_of(2)
        held = [await reserved(purse, 1), await reserved(purse, 2)]
        async with anyio.create_task_group() as tasks:
            for seq in (9, 5, 7):
                tasks.start_soon(wait, purse, seq)
            await anyio.sleep(1)
            for reservation in held:
                purse.settle(reservation, billed=False)
            await anyio.sleep(1)
            purse.close()

    run_virtually(main)
    assert served == [5, 7]


def test_everyone_is_refused_once_nothing_can_be_given_back() -> None:
    """When the last attempt in flight was billed, waiting ends for all."""

    async def main() -> list[Reservation | None]:
        purse = purse_of(1)
        held = await reserved(purse, 1)
        answers: list[Reservation | None] = []

        async def wait(seq: int) -> None:
            answers.append(await purse.reserve(seq))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait, 2)
            tasks.start_soon(wait, 3)
            await anyio.sleep(1)
            assert answers == []
            purse.settle(held, billed=True)
        return answers

    assert run_virtually(main) == [None, None]


def test_cancelled_waiter_takes_nothing() -> None:
    """A reservation that was meant for somebody who left goes to the next."""

    async def main() -> int:
        purse = purse_of(1)
        held = await reserved(purse, 1)
        with anyio.move_on_after(1):
            await purse.reserve(2)
        purse.settle(held, billed=False)
        await reserved(purse, 3)
        return purse.budget.held_calls

    assert run_virtually(main) == 1


@pytest.mark.parametrize("limit", [1, 3, 10])
def test_pool_grows_to_rate_times_latency_and_not_beyond_its_limit(limit: int) -> None:
    """Items every 0.1 s that take 0.5 s need five workers; the pool has them, or its limit."""

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
    """What waits is forgotten, what is being worked on finishes."""

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


def test_first_reason_to_end_wins_and_haste_can_be_added() -> None:
    """A stop keeps its reason when the user then leaves too; only the waiting gets shorter."""

    async def main() -> None:
        ending = Ending()
        told: list[str] = []
        ending.on_request(lambda: told.append("told"))
        ending.request(StopReason.MATCHES)
        assert not ending.is_hasty
        assert not await ending.pause(5)
        ending.request(StopReason.INTERRUPTED)
        assert (ending.reason, ending.is_hasty, told) == (StopReason.MATCHES, True, ["told"])
        assert not await ending.pause_action(5)
        assert anyio.current_time() == 0

    run_virtually(main)
