"""SIGINT, SIGTERM and SIGHUP from the first moment of a command to its last.

Before a listener is registered, a signal interrupts the command at once: nothing has been started. After that, each
signal calls the listener. The third signal ends the process at once.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self

import typer

from asyncfilter.errors import ExitCode

MAX_SIGNALS = 3
"""This many signals end the process at once; the first drains, the second aborts."""

_SHOW_CURSOR = "\x1b[?25h\n"


@contextmanager
def interruptible() -> Iterator[Signals]:
    """The signals of one command.

    Raises:
        typer.Exit: With ``ExitCode.INTERRUPTED`` when a signal came before a listener was registered.
    """
    with Signals() as signals:
        try:
            yield signals
        except KeyboardInterrupt:
            raise typer.Exit(ExitCode.INTERRUPTED) from None


class Signals:
    """Receives signals while the context is open."""

    def __init__(self) -> None:
        self.count = 0
        self._notify: Callable[[], object] | None = None
        self._is_over = False
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number is signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
                continue  # started with nohup
            self._previous[number] = signal.signal(number, self._received)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def listen(self, listener: Callable[[], object]) -> None:
        """From now on call ``listener`` in the running event loop at every signal."""
        from asyncio import get_running_loop  # noqa: PLC0415  --help does not need it

        loop = get_running_loop()
        self._notify = lambda: loop.call_soon_threadsafe(listener)

    def over(self) -> None:
        """The command's work has ended: signals have no effect after this."""
        self._is_over = True

    def _received(self, _number: int, _frame: FrameType | None) -> None:
        self.count += 1
        if self._is_over:
            return
        if self.count >= MAX_SIGNALS:
            if sys.stderr.isatty():
                os.write(sys.stderr.fileno(), _SHOW_CURSOR.encode())
            os._exit(ExitCode.ABORTED)
        if self._notify is None:
            raise KeyboardInterrupt
        self._notify()
