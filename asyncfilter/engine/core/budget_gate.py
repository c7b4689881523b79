"""The budget gate: reserves the price of each attempt; waiting tasks are served in the order of examination.

Invariants:

- Of all waiting tasks, the one whose image has the lowest ``seq`` is served first. So the images that a budget pays for
  are a prefix of that order.
- After each reservation, what is left covers one more attempt of every image in flight with a lower ``seq``. So the
  number in flight shrinks towards the end of a budget, and no image is left without money for its first repetition by
  images behind it.
- The image in flight with the lowest ``seq`` waits for nothing but attempts that were sent. So the wait for money ends.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

import anyio

from asyncfilter.engine.core.pending import PendingSignal
from asyncfilter.policy.budget import Availability, Budget, Reservation
from asyncfilter.policy.price_position import PricePosition


class BudgetGate:
    """Reserves money from a ``Budget``, and makes tasks wait until it can be reserved.

    Args:
        budget: Does the arithmetic.
        pending: Set when the next block of money must be made durable; ``refresh`` is called once it is.

    Attributes:
        on_uncommitted: Called when tasks wait for a commit to the state in S3; ``refresh`` is called after it.
    """

    def __init__(self, budget: Budget, pending: PendingSignal) -> None:
        self.budget = budget
        self._pending = pending
        self._waiting: list[tuple[int, int, _Waiter]] = []
        self._in_flight: set[int] = set()
        self._order = 0
        self._is_closed = False
        self.on_uncommitted: Callable[[], None] = lambda: None

    async def reserve(self, seq: int) -> Reservation | None:
        """Reserve the price of one attempt; None when the budget does not cover it, or the run drains.

        A call that is cancelled while it waits reserves nothing.
        """
        # While others wait, the queue decides, because one of them may have a lower `seq`.
        if not self._waiting and self._availability(seq) is Availability.AVAILABLE:
            return self.budget.reserve()
        waiter = _Waiter()
        self._order += 1
        # The order of arrival makes entries of one `seq` comparable; waiters are not.
        heapq.heappush(self._waiting, (seq, self._order, waiter))
        self.refresh()
        try:
            await waiter.event.wait()
        except BaseException:
            self._give_back(waiter)
            raise
        return waiter.reservation

    def enter(self, seq: int) -> None:
        """Count an image as in flight, until ``leave``: it may need further attempts."""
        self._in_flight.add(seq)

    def leave(self, seq: int, *, successor: int | None = None) -> None:
        """Count an image as no longer in flight; its ``successor``, where it has one, takes its place."""
        self._in_flight.discard(seq)
        if successor is not None:
            self._in_flight.add(successor)
        if self._waiting:
            self.refresh()

    def settle(self, reservation: Reservation, *, billed: bool, position: PricePosition | None = None) -> None:
        """Commit or release one reservation; released money can be reserved by a waiting task.

        Args:
            reservation: Of one attempt.
            billed: Whether the attempt was billed, or may have been.
            position: Of the lane that was called; None without lanes.
        """
        if billed:
            reservation.commit(position)
        else:
            reservation.release()
        if self._waiting:
            self.refresh()

    def close(self) -> None:
        """Refuse all waiting and all later callers: ``reserve`` returns None."""
        self._is_closed = True
        self.refresh()

    def refresh(self) -> None:
        """Serve waiting tasks, lowest ``seq`` first, as far as the budget allows."""
        while self._waiting:
            availability = self._availability(self._waiting[0][0])
            if availability is Availability.UNGRANTED:
                self._pending.set()
                return
            if availability is Availability.UNCOMMITTED:
                self.on_uncommitted()
                return
            if availability is Availability.HELD:
                # An image in flight calls this method again, when it settles a reservation or leaves.
                return
            _, _, waiter = heapq.heappop(self._waiting)
            if waiter.is_cancelled:
                # It stayed in the heap when it was cancelled: to remove it there would take a search.
                continue
            waiter.reservation = self.budget.reserve() if availability is Availability.AVAILABLE else None
            waiter.event.set()

    def _availability(self, seq: int) -> Availability:
        """Whether an attempt of the image ``seq`` can be paid, beside one more of each image in flight before it."""
        if self._is_closed:
            return Availability.EXHAUSTED
        # Most often what is left covers all images in flight, and those before this one need not be counted.
        availability = self.budget.availability(spare_calls=len(self._in_flight))
        if availability is not Availability.HELD:
            return availability
        return self.budget.availability(spare_calls=sum(other < seq for other in self._in_flight))

    def _give_back(self, waiter: _Waiter) -> None:
        waiter.is_cancelled = True
        if waiter.reservation is not None:
            # It may have been served in the same iteration of the loop in which its task was cancelled.
            self.settle(waiter.reservation, billed=False)


class _Waiter:
    """A waiting call of ``reserve``."""

    __slots__ = ("event", "is_cancelled", "reservation")

    def __init__(self) -> None:
        self.event = anyio.Event()
        self.is_cancelled = False
        self.reservation: Reservation | None = None
