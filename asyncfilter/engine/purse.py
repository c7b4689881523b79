"""Waiting for money: reservations are handed out in the order of examination.

Invariant: of all who wait, the image with the lowest ``seq`` is served first, so that a budget stop is a prefix of that
order.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

import anyio

from asyncfilter.policy.budget import Budget, Reservation, Room


class Purse:
    """The budget, for tasks that wait.

    Args:
        budget: The arithmetic.
        ask_grant: Called when the next block must be made durable; ``refresh`` is called once it is.
    """

    def __init__(self, budget: Budget, ask_grant: Callable[[], None]) -> None:
        self.budget = budget
        self._ask_grant = ask_grant
        self._waiting: list[tuple[int, int, _Turn]] = []
        self._order = 0
        self._is_closed = False

    async def reserve(self, seq: int) -> Reservation | None:
        """Hold the price of one attempt; None when the budget cannot cover it, or the run drains.

        Cancelling while it waits reserves nothing.
        """
        if not self._waiting and not self._is_closed and self.budget.room() is Room.AVAILABLE:
            return self.budget.reserve()
        turn = _Turn()
        self._order += 1
        heapq.heappush(self._waiting, (seq, self._order, turn))
        self.refresh()
        try:
            await turn.event.wait()
        except BaseException:
            self._give_back(turn)
            raise
        return turn.reservation

    def settle(self, reservation: Reservation, *, billed: bool) -> None:
        """Settle one reservation; what it gives back may serve another."""
        if billed:
            reservation.commit()
        else:
            reservation.release()
        if self._waiting:
            self.refresh()

    def close(self) -> None:
        """Refuse everyone who waits, and everyone who comes."""
        self._is_closed = True
        self.refresh()

    def refresh(self) -> None:
        """Serve those who wait as far as there is room."""
        while self._waiting:
            room = Room.EXHAUSTED if self._is_closed else self.budget.room()
            if room is Room.UNGRANTED:
                self._ask_grant()
                return
            if room is Room.HELD:
                return
            _, _, turn = heapq.heappop(self._waiting)
            if turn.is_cancelled:
                continue
            turn.reservation = self.budget.reserve() if room is Room.AVAILABLE else None
            turn.event.set()

    def _give_back(self, turn: _Turn) -> None:
        turn.is_cancelled = True
        if turn.reservation is not None:
            self.settle(turn.reservation, billed=False)


class _Turn:
    """One who waits."""

    __slots__ = ("event", "is_cancelled", "reservation")

    def __init__(self) -> None:
        self.event = anyio.Event()
        self.is_cancelled = False
        self.reservation: Reservation | None = None
