"""The budget gate: tasks wait here for the price of their next attempt, and are served in the order of examination.

Invariant: of all tasks that wait, the one whose image has the lowest ``seq`` is served first. So a budget stop is a
prefix of that order.
"""

from __future__ import annotations

import heapq

import anyio

from asyncfilter.engine.core.pending import PendingSignal
from asyncfilter.policy.budget import Budget, Reservation, Room


class BudgetGate:
    """The budget, for tasks that wait.

    Args:
        budget: The arithmetic.
        pending: Set when the next block must be made durable; ``refresh`` is called once it is.
    """

    def __init__(self, budget: Budget, pending: PendingSignal) -> None:
        self.budget = budget
        self._pending = pending
        self._waiting: list[tuple[int, int, _Waiter]] = []
        self._order = 0
        self._is_closed = False

    async def reserve(self, seq: int) -> Reservation | None:
        """Hold the price of one attempt; None when the budget cannot cover it, or the run drains.

        Cancelling while it waits reserves nothing.
        """
        if not self._waiting and not self._is_closed and self.budget.room() is Room.AVAILABLE:
            return self.budget.reserve()
        waiter = _Waiter()
        self._order += 1
        heapq.heappush(self._waiting, (seq, self._order, waiter))
        self.refresh()
        try:
            await waiter.event.wait()
        except BaseException:
            self._give_back(waiter)
            raise
        return waiter.reservation

    def settle(self, reservation: Reservation, *, billed: bool) -> None:
        """Settle one reservation; a released price may serve another task."""
        if billed:
            reservation.commit()
        else:
            reservation.release()
        if self._waiting:
            self.refresh()

    def close(self) -> None:
        """Refuse all tasks that wait, and all later ones."""
        self._is_closed = True
        self.refresh()

    def refresh(self) -> None:
        """Serve waiting tasks as far as the budget allows."""
        while self._waiting:
            room = Room.EXHAUSTED if self._is_closed else self.budget.room()
            if room is Room.UNGRANTED:
                self._pending.set()
                return
            if room is Room.HELD:
                return
            _, _, waiter = heapq.heappop(self._waiting)
            if waiter.is_cancelled:
                continue
            waiter.reservation = self.budget.reserve() if room is Room.AVAILABLE else None
            waiter.event.set()

    def _give_back(self, waiter: _Waiter) -> None:
        waiter.is_cancelled = True
        if waiter.reservation is not None:
            self.settle(waiter.reservation, billed=False)


class _Waiter:
    """A task that waits."""

    __slots__ = ("event", "is_cancelled", "reservation")

    def __init__(self) -> None:
        self.event = anyio.Event()
        self.is_cancelled = False
        self.reservation: Reservation | None = None
