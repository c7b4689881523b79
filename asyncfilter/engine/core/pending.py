"""The signal between the tasks of a run and its settle loop."""

from __future__ import annotations

import anyio


class PendingSignal:
    """Counts the changes that the settle loop has to handle, and wakes the loop.

    Every part that changes something for the next round calls ``set``. ``wait`` gives the loop the mark that its round
    covers: the number of changes so far. The loop reports that mark by ``handle`` when the round is over. Changes that
    a round itself causes are counted too, so ``wait_handled`` returns only when they are handled.
    Belongs to one event loop.
    """

    def __init__(self) -> None:
        self._noted = 0
        self._handled = 0
        self._raised = anyio.Event()
        self._progress = anyio.Event()
        self._is_closed = False

    def set(self) -> None:
        """Count a change, and request a round."""
        self._noted += 1
        self._raised.set()

    async def wait(self) -> int:
        """Return when a round is requested, with the mark that the round covers."""
        await self._raised.wait()
        # Replaced before the round begins: a change during the round requests another round.
        self._raised = anyio.Event()
        return self._noted

    def handle(self, mark: int) -> None:
        """Record that all changes up to ``mark`` were handled."""
        self._handled = mark
        self._notify()

    def close(self) -> None:
        """Record that no further change will be handled."""
        self._is_closed = True
        self._notify()

    async def wait_handled(self) -> None:
        """Return when all changes are handled, or after ``close``."""
        while not self._is_closed and self._handled < self._noted:
            await self._progress.wait()

    def _notify(self) -> None:
        self._progress.set()
        self._progress = anyio.Event()
