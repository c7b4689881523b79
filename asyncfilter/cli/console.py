"""What surrounds a verb of the engine while it runs: event loop, signals, event file, and the console on stderr.

``RunConsole`` and ``ApplyConsole`` add the display of the progress.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol, TypeVar, TypeVarTuple, Unpack

import anyio
from rich.console import Console

from asyncfilter.cli.options import STDOUT
from asyncfilter.cli.result_file import open_appending
from asyncfilter.cli.signals import Signals
from asyncfilter.cli.streams import LOST, stdout_stream
from asyncfilter.cli.terminal import is_live, stderr_console
from asyncfilter.engine.core.stopping import Interrupt
from asyncfilter.errors import OutputError
from asyncfilter.report.event_file import EventFile
from asyncfilter.report.formatting import count

Arguments = TypeVarTuple("Arguments")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class VerbConsole:
    """The parts of a console that every verb needs; they are opened on ``stack`` and closed with it.

    Attributes:
        interrupt: Given to the verb; requests that it end.
        terminal: The console on stderr.
        is_live: True when text can be redrawn in place on it.
        event_file: The file that ``--events`` names; None without.

    Raises:
        UsageError: The event file cannot be opened.
    """

    def __init__(self, *, signals: Signals, events: str | None, stack: ExitStack) -> None:
        self.interrupt = Interrupt()
        self.terminal: Console = stderr_console()
        self.is_live = is_live(self.terminal)
        self.event_file = stack.enter_context(open_event_file(events))
        self._signals = signals

    def run(self, main: Callable[[], Awaitable[R]]) -> R:
        """Run ``main`` in an event loop of its own; once it has ended, signals have no effect."""
        try:
            return anyio.run(main)
        finally:
            self._signals.over()

    def on_signal(self, listener: Callable[[], object]) -> None:
        """From now on call ``listener`` in the running event loop at every signal."""
        self._signals.listen(listener)


def run_async(verb: Callable[[Unpack[Arguments]], Awaitable[R]], *arguments: *Arguments) -> R:
    """Run a verb in an event loop without a console: for verbs that are short."""
    return anyio.run(verb, *arguments)


@contextmanager
def open_event_file(target: str | None) -> Iterator[EventFile | None]:
    """The file for events that ``--events`` names; None without the option. Lost events are on record in ``LOST``.

    Raises:
        UsageError: The file cannot be opened.
    """
    if target is None:
        yield None
        return
    file = EventFile(stdout_stream() if target == STDOUT else open_appending("--events", Path(target)))
    try:
        with file:
            yield file
    finally:
        if file.error is not None and target != STDOUT:
            LOST.append(OutputError(f"--events {target}: {file.error.strerror or file.error}"))


class ListingVerb(Protocol[R_co]):
    """A verb that lists the source first, with all arguments bound except the listener for its progress."""

    async def __call__(self, *, on_listed: Callable[[int], object] | None = None) -> R_co:
        """Run to the end."""
        ...


def run_listing(verb: ListingVerb[R]) -> R:
    """Run a verb that lists the source; a live terminal shows how many objects were listed so far."""
    console = stderr_console()
    if not is_live(console):
        return anyio.run(verb)
    with console.status("checking access") as status:

        def on_listed(listed: int) -> None:
            status.update(f"listing: {count(listed)} objects")

        return anyio.run(functools.partial(verb, on_listed=on_listed))
