"""The console of a run: log, live display and event file for one of the engine's verbs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, nullcontext, suppress
from typing import Protocol, TypeVar

import anyio
import structlog
import typer

from asyncfilter.cli.console import VerbConsole
from asyncfilter.cli.options import Level, LogFormat, OutputOptions
from asyncfilter.cli.signals import Signals
from asyncfilter.cli.stderr import print_err
from asyncfilter.engine.core.stopping import Interrupt
from asyncfilter.errors import ExitCode
from asyncfilter.events import Emit, Event, RunStarted
from asyncfilter.interpreter import spare_collections
from asyncfilter.job.spec import Job
from asyncfilter.model import Progress
from asyncfilter.report.logs import LogLines, open_log
from asyncfilter.report.terminal.progress import REFRESH_S, LiveDisplay
from asyncfilter.report.terminal.text import log_line

_SECOND_S = 1.0

R_co = TypeVar("R_co", covariant=True)
R = TypeVar("R")


class RunVerb(Protocol[R_co]):
    """``wiring.run`` or a similar verb with all arguments bound except those that the console gives."""

    async def __call__(
        self, *, interrupt: Interrupt, on_event: Emit, on_start: Callable[[Callable[[], Progress]], None]
    ) -> R_co:
        """Run to the end."""
        ...


def run_with_console(job: Job, verb: RunVerb[R], signals: Signals, options: OutputOptions) -> R:
    """Run ``verb`` and show its progress.

    Raises:
        typer.Exit: With ``ExitCode.INTERRUPTED`` when it was interrupted before it began.
        AsyncFilterError: As the verb does.
        UsageError: The event file cannot be opened.
    """
    with ExitStack() as stack:
        return RunConsole(job, signals, options, stack).run_verb(verb)


class _Listener(Protocol):
    def listeners(self) -> Mapping[type[Event], Callable[..., None]]: ...

    def tick(self, progress: Progress | None) -> None: ...


class RunConsole(VerbConsole):
    """The console of one run, opened on ``stack``: event file, log, and a display on a live terminal."""

    def __init__(self, job: Job, signals: Signals, options: OutputOptions, stack: ExitStack) -> None:
        super().__init__(signals=signals, events=options.events, stack=stack)
        self._is_begun = False
        self._scope: anyio.CancelScope | None = None
        self._progress: Callable[[], Progress] | None = None
        self._shown_progress: Callable[[], Progress] | None = None
        self._display: LiveDisplay | None = None
        if options.log_format is LogFormat.TEXT and self.is_live:
            self._display = LiveDisplay(self.terminal, job, pays=options.pays)
        level = options.level or (Level.WARNING if self._display else Level.INFO)
        self._log = self._open_log(level, options.log_format)
        self._lines = LogLines(self._log, job, level=level.value, brief=self._display is not None)
        stack.enter_context(self._display or nullcontext())
        if job.detector.start is not None:
            stack.enter_context(signals.at_end(_tell_of_watcher))

    def run_verb(self, verb: RunVerb[R]) -> R:
        """Run ``verb``. Raises as ``run_with_console`` does."""

        async def main() -> R:
            return await self._supervise(verb)

        return self.run(main)

    def _open_log(self, level: Level, log_format: LogFormat) -> structlog.typing.FilteringBoundLogger:
        write: Callable[[str], object] = sys.stderr.write
        if self._display is not None:

            def write(line: str) -> None:  # above the live display
                self.terminal.print(log_line(line), soft_wrap=True)

        log: structlog.typing.FilteringBoundLogger = open_log(
            _ignoring_errors(write),
            level=level.value,
            as_json=log_format is LogFormat.JSON,
            colours=self.terminal.color_system is not None and not self.terminal.no_color,
        )
        return log

    async def _supervise(self, verb: RunVerb[R]) -> R:
        failure: Exception | None = None
        result: R | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._tick)
            with anyio.CancelScope() as self._scope:
                try:
                    result = await verb(interrupt=self.interrupt, on_event=self._emitter(), on_start=self._begun)
                except Exception as error:  # noqa: BLE001  raised again below, outside the task group
                    failure = error
            tasks.cancel_scope.cancel()
        self._report_lost_events()
        if failure is not None:
            raise failure
        if result is None:
            print_err("interrupted before the first call")
            raise typer.Exit(ExitCode.INTERRUPTED)
        return result

    def on_signal(self) -> None:
        """Drain the run when it has begun, else cancel the verb."""
        if self._is_begun or self._scope is None:
            self.interrupt.request()
        else:
            self._scope.cancel()
            if self._display is not None:
                self._display.end()

    def _begun(self, progress: Callable[[], Progress]) -> None:
        spare_collections()
        self._is_begun = True
        self._progress = progress

    def _emitter(self) -> Emit:
        """One function that calls, for each event, the listeners of its type."""
        listening: dict[type[Event], list[Callable[..., None]]] = {RunStarted: [self._started]}
        outputs: Sequence[_Listener] = [self._lines, *([self._display] if self._display else [])]
        for output in outputs:
            for kind, listener in output.listeners().items():
                listening.setdefault(kind, []).append(listener)
        write = self.event_file.listener if self.event_file else None

        def emit(event: Event) -> None:
            if write is not None:
                write(event)
            for listener in listening.get(type(event), ()):
                listener(event)

        return emit

    def _started(self, _event: RunStarted) -> None:
        self._shown_progress = self._progress

    async def _tick(self) -> None:
        """Draw often, log and flush every second, until cancelled."""
        pause_s = REFRESH_S if self._display else _SECOND_S
        next_s = anyio.current_time() + _SECOND_S
        while True:
            await anyio.sleep(pause_s)
            progress = self._shown_progress() if self._shown_progress else None
            with suppress(OSError):  # a closed terminal must not end the run
                if self._display:
                    self._display.tick(progress)
            if anyio.current_time() >= next_s:
                next_s += _SECOND_S
                self._lines.tick(progress)
                if self.event_file:
                    self.event_file.flush()

    def _report_lost_events(self) -> None:
        if self.event_file is not None:
            self.event_file.flush()
            if self.event_file.error is not None:
                self._log.error("events_lost", message=str(self.event_file.error))


def _tell_of_watcher() -> None:
    """Say what becomes of the model of a run that a signal ends at once."""
    os.write(
        2,
        b"left at once: a model that this run has started is stopped by its watcher, within minutes; "
        b"to see to it: asyncfilter model stop --expired\n",
    )


def _ignoring_errors(write: Callable[[str], object]) -> Callable[[str], object]:
    """``write`` without its ``OSError``: a closed terminal must not end the run."""

    def written(line: str) -> None:
        with suppress(OSError):
            write(line)

    return written
