"""What surrounds a verb of the engine while it runs: event loop, signals, event file, and the console on stderr.

``RunConsole`` and ``ApplyConsole`` add the display of the progress.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol, TypeVar, TypeVarTuple, Unpack, cast

import anyio
import typer
from rich.console import Console

from asyncfilter.cli.options import STDOUT
from asyncfilter.cli.result_file import open_appending
from asyncfilter.cli.signals import PROCESS, Signals, show_cursor
from asyncfilter.cli.streams import LOST, stdout_stream
from asyncfilter.cli.terminal import is_live, stderr_console
from asyncfilter.engine.core.stopping import Interrupt
from asyncfilter.errors import ExitCode, OutputError
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
        if self.is_live:
            stack.enter_context(signals.at_end(show_cursor))
        self.event_file = stack.enter_context(open_event_file(events))
        self._signals = signals

    def run(self, main: Callable[[], Awaitable[R]]) -> R:
        """Run ``main`` in an event loop of its own and call ``on_signal`` in it at every signal.

        Once ``main`` has ended, signals have no effect.
        """

        async def to_the_end() -> R:
            with self._signals.listening(self.on_signal):
                try:
                    return await main()
                finally:
                    self._signals.over()

        return _run_loop(to_the_end)

    def on_signal(self) -> None:
        """Request that the verb end."""
        self.interrupt.request()


class DrainingVerb(Protocol[R_co]):
    """A verb with all arguments bound except the interrupt that ends it."""

    async def __call__(self, *, interrupt: Interrupt) -> R_co:
        """Run to the end."""
        ...


def run_async(verb: Callable[[Unpack[Arguments]], Awaitable[R]], *arguments: *Arguments) -> R:
    """Run a verb in an event loop without a console, for verbs that are short; a signal cancels it.

    Raises:
        typer.Exit: With ``ExitCode.INTERRUPTED`` after a signal.
    """
    return _run(lambda: verb(*arguments), anyio.CancelScope.cancel)


def run_draining(verb: DrainingVerb[R]) -> R:
    """Run a paying verb without a console. The first signal drains it, the second cancels it.

    Raises as ``run_async``.
    """
    interrupt = Interrupt()

    def on_signal(scope: anyio.CancelScope) -> None:
        if interrupt.drain.is_set():
            scope.cancel()
        interrupt.request()

    return _run(lambda: verb(interrupt=interrupt), on_signal)


def _run(verb: Callable[[], Awaitable[R]], on_signal: Callable[[anyio.CancelScope], None]) -> R:
    """Run ``verb`` in an event loop, and call ``on_signal`` in it at every signal, with the scope around the verb."""
    before = PROCESS.count

    async def main() -> R | None:
        with anyio.CancelScope() as scope, PROCESS.listening(lambda: on_signal(scope)):
            return await verb()
        return None

    try:
        result = _run_loop(main)
    except Exception:
        if PROCESS.count > before:
            raise typer.Exit(ExitCode.INTERRUPTED) from None
        raise
    if PROCESS.count > before:
        raise typer.Exit(ExitCode.INTERRUPTED)
    return cast("R", result)


def _run_loop(main: Callable[[], Awaitable[R]]) -> R:
    """Run ``main`` in an event loop; stderr belongs to this program's own lines.

    Python prints warnings of other packages' loggers (asyncio, aiohttp, urllib3) on stderr unless there is a handler.
    """
    logging.getLogger().addHandler(_SILENCE)  # adding it again has no effect
    return anyio.run(main)


_SILENCE = logging.NullHandler()


def run_until_signal(server: Callable[[], Awaitable[None]]) -> None:
    """Run ``server``, which never ends by itself, until the first signal."""

    async def main() -> None:
        with anyio.CancelScope() as scope, PROCESS.listening(scope.cancel):
            await server()

    _run_loop(main)
    PROCESS.over()


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
    """Run a verb that lists the source; a live terminal shows how many objects were listed so far.

    Raises:
        typer.Exit: With ``ExitCode.INTERRUPTED`` after a signal.
    """
    console = stderr_console()
    if not is_live(console):
        return run_async(verb)
    with PROCESS.at_end(show_cursor), console.status("checking access") as status:

        def on_listed(listed: int) -> None:
            status.update(f"listing: {count(listed)} objects")

        return run_async(functools.partial(verb, on_listed=on_listed))
