"""The signal between the tasks of a run and its settle loop."""

from __future__ import annotations

import anyio


class PendingSignal:
    """Counts what the settle loop has to look at, and wakes it.

    Every part that changes something which the next round should see calls ``set``. The loop waits for it, notes the
    mark that its round covers, and reports that mark as handled afterwards. So a waiter can tell when everything up to
    now, and everything that followed from it, was handled. Belongs to one event loop.
    """

    def __init__(self) -> None:
        self._noted = 0
        self._handled = 0
        self._raised = anyio.Event()
        self._progress = anyio.Event()
        self._is_closed = False

    def set(self) -> None:
        """Ask for a round."""
        self._noted += 1
        self._raised.set()

    async def wait(self) -> int:
        """Return when a round is asked for, with the mark that the round covers."""
        await self._raised.wait()
        self._raised = anyio.Event()
        return self._noted

    def handle(self, mark: int) -> None:
        """Note that everything up to ``mark`` was handled."""
        self._handled = mark
        self._notify()

    def close(self) -> None:
        """Note that nothing will be handled any more."""
        self._is_closed = True
        self._notify()

    async def wait_handled(self) -> None:
        """Return when nothing is left to be handled, or nothing will be."""
        while not self._is_closed and self._handled < self._noted:
            await self._progress.wait()

    def _notify(self) -> None:
        self._progress.set()
        self._progress = anyio.Event()
