"""The guard around the listener to a run's events: when the listener raises, the run drains."""

from __future__ import annotations

from asyncfilter.engine.core.stopping import StopSignal
from asyncfilter.errors import unexpected
from asyncfilter.events import Emit, Event, ignore
from asyncfilter.model import StopReason


class GuardedListener:
    """Passes events to a listener; itself an ``Emit``.

    A listener that raises is not called again, and the run ends: what the listener records is incomplete from then on.

    Args:
        listener: Called with every event.
        stop_signal: Ends the run when the listener raises.
    """

    def __init__(self, listener: Emit, stop_signal: StopSignal) -> None:
        self._listener = listener
        self._stop_signal = stop_signal

    def __call__(self, event: Event) -> None:
        """Pass ``event`` on; never raises."""
        try:
            self._listener(event)
        except Exception as error:  # noqa: BLE001  a listener may raise anything; what is paid must be kept
            self._listener = ignore
            self._stop_signal.request(StopReason.FAILED, unexpected(error, "a listener to events"))
