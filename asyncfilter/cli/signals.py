"""SIGINT, SIGTERM and SIGHUP, from the first line of the program to the end of its process.

No signal raises an exception: an exception in the middle of an import, a destructor or a callback would be lost, or
become another error. What a signal does depends on what the command has begun:

- Nothing yet (imports, job file, a question): the process ends at once, with ``ExitCode.INTERRUPTED``.
- A verb of the engine: the verb's listener is called in its event loop. It drains, aborts or cancels.
- The result is there and being printed: signals have no effect, and the exit code is the result's.

The third signal ends the process at once, in every state. Signals that come within ``ECHO_S`` count once: ``timeout``
sends what it gets to its child and to the group of processes in which this child is too.

This module needs only the standard library, so that ``install`` can come before every other import; ``end_with`` says
with which codes the process ends.
"""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

MAX_SIGNALS = 3
"""This many signals end the process at once; the first drains, the second aborts."""

ECHO_S = 0.1
"""A signal that comes so soon after another, in seconds, is an echo of it; nobody presses Ctrl-C as fast."""

_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Signals:
    """Receives the signals of the process, and acts as described above.

    Attributes:
        count: How many signals came.
    """

    def __init__(self) -> None:
        self.count = 0
        self._counted_s = -math.inf
        self._act: Callable[[], object] = self._end
        self._last_acts: list[Callable[[], object]] = []
        self._interrupted: int | None = None
        self._aborted: int | None = None

    def install(self) -> None:
        """Receive signals from now on; SIGHUP only where it is not ignored, as it is under nohup.

        Until ``end_with`` they are only counted.
        """
        for number in _NUMBERS:
            if number is not signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._received)

    def end_with(self, *, interrupted: int, aborted: int) -> None:
        """Set the exit codes of a process that a signal ends, and end it if a signal came before."""
        self._interrupted, self._aborted = interrupted, aborted
        if self.count:
            self._act()

    @property
    def is_installed(self) -> bool:
        """True in the program; False where its functions are called by another one."""
        return signal.getsignal(signal.SIGTERM) == self._received

    @contextmanager
    def listening(self, listener: Callable[[], object]) -> Iterator[None]:
        """Call ``listener`` in the running event loop at every signal; after the context a signal ends the process.

        A signal may come between the last turn of the loop and the end of the context: compare ``count``.
        """
        from asyncio import get_running_loop  # noqa: PLC0415  --help does not need it

        loop = get_running_loop()

        def act() -> None:
            loop.call_soon_threadsafe(listener)

        with self._waking():
            self._act = act
            try:
                yield
            finally:
                if self._act is act:  # not after ``over``
                    self._act = self._end

    def over(self) -> None:
        """The command's work has ended: signals have no effect after this, except the third."""
        self._act = _nothing

    def ignore(self) -> None:
        """Ignore all signals: for the end of the interpreter, which takes handlers away before it is done."""
        for number in _NUMBERS:
            signal.signal(number, signal.SIG_IGN)

    @contextmanager
    def at_end(self, act: Callable[[], object]) -> Iterator[None]:
        """Call ``act`` before a signal ends the process at once; it must not wait."""
        self._last_acts.append(act)
        try:
            yield
        finally:
            self._last_acts.remove(act)

    @contextmanager
    def _waking(self) -> Iterator[None]:
        """Wake the running event loop at every signal.

        Without this, a signal that comes just before the loop waits is acted upon only when the wait ends.
        """
        from asyncio import get_running_loop  # noqa: PLC0415  --help does not need it
        from socket import socketpair  # noqa: PLC0415  likewise

        if not self.is_installed:
            yield
            return
        loop = get_running_loop()
        reader, writer = socketpair()
        with reader, writer:
            reader.setblocking(False)
            writer.setblocking(False)
            loop.add_reader(reader, _read_all, reader.fileno())
            before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
            try:
                yield
            finally:
                signal.set_wakeup_fd(before)
                loop.remove_reader(reader)

    def _received(self, _number: int, _frame: FrameType | None) -> None:
        now_s = time.monotonic()
        if now_s - self._counted_s < ECHO_S:
            return
        self._counted_s = now_s
        self.count += 1
        if self.count >= MAX_SIGNALS:
            self._leave(self._aborted)
        self._act()

    def _end(self) -> None:
        self._leave(self._interrupted)

    def _leave(self, code: int | None) -> None:
        """End the process with ``code``; None, where the codes are not set yet, has no effect."""
        if code is None:
            return
        for act in reversed(self._last_acts):
            with suppress(Exception):
                act()
        os._exit(code)


PROCESS = Signals()
"""The signals of this process; ``asyncfilter.__main__`` installs them."""


@contextmanager
def interruptible() -> Iterator[Signals]:
    """The signals of this process around one command; after it they have no effect."""
    try:
        yield PROCESS
    finally:
        PROCESS.over()


def show_cursor() -> None:
    """Show the cursor of the terminal on stderr, which a live display hides."""
    os.write(2, b"\x1b[?25h\n")


def _nothing() -> None:
    """What a signal does after the end of the work."""


def _read_all(descriptor: int) -> None:
    with suppress(BlockingIOError):
        while len(os.read(descriptor, 4096)) == 4096:
            pass
