"""The listener to a run's events, whose failure ends the run in order."""

from __future__ import annotations

from asyncfilter.engine.ending import Ending
from asyncfilter.errors import AsyncFilterError
from asyncfilter.events import Emit, Event, ignore
from asyncfilter.model import StopReason


class GuardedListener:
    """Passes events to a listener; itself an ``Emit``.

    A listener that raises is not called again and ends the run: what it was to keep is incomplete from then on.

    Args:
        listener: Called with every event.
        ending: Told when the listener failed.
    """

    def __init__(self, listener: Emit, ending: Ending) -> None:
        self._listener = listener
        self._ending = ending

    def __call__(self, event: Event) -> None:
        """Pass ``event`` on; never raises."""
        try:
            self._listener(event)
        except Exception as error:  # noqa: BLE001  whatever a listener raises, what is paid must be kept
            self._listener = ignore
            wrapped = AsyncFilterError(f"a listener to events raised {type(error).__name__}: {error}")
            wrapped.__cause__ = error
            self._ending.request(StopReason.FAILED, wrapped)
