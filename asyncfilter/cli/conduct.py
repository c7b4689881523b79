"""Conducting a run: event loop, signals, display, log and event file around the engine's verbs."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import anyio
import typer
from rich.text import Text

from asyncfilter.cli.options import Level, LogFormat
from asyncfilter.cli.signals import Signals
from asyncfilter.cli.terminal import is_live, say, talk
from asyncfilter.engine.ending import Interrupt
from asyncfilter.errors import UsageError
from asyncfilter.events import Emit, Event, RunStarted
from asyncfilter.job.spec import Job
from asyncfilter.model import Progress
from asyncfilter.report.eventfile import EventFile
from asyncfilter.report.plain import LogLines, open_log
from asyncfilter.report.progress import REFRESH_S, LiveDisplay

INTERRUPTED = 75
_SECOND_S = 1.0
_YOUNG_OBJECTS = 1_000
"""New objects, less those let go of, at which the youngest are collected: a millisecond or two of work."""
_YOUNGER_FIRST = (500, 20)
"""Collections of the youngest before one of the next generation, and of that before a full one. Both look at all that
is in flight, for longer than a hundredth of a second, and find hardly any garbage."""


R_co = TypeVar("R_co", covariant=True)
R = TypeVar("R")


class Verb(Protocol[R_co]):
    """``wiring.run`` or another, with everything given but what is due to the conductor."""

    async def __call__(
        self, *, interrupt: Interrupt, on_event: Emit, on_start: Callable[[Callable[[], Progress]], None]
    ) -> R_co:
        """Run to the end."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice:
    """How a run makes itself heard.

    Attributes:
        level: What is logged; None leaves it to where the log goes.
        log_format: Text or JSON; JSON leaves live progress and the summary panel out.
        events: File for events, ``-`` for stdout; None for none.
        pays: False for a run over stored labels.
    """

    level: Level | None = None
    log_format: LogFormat = LogFormat.TEXT
    events: str | None = None
    pays: bool = True


def conduct(job: Job, verb: Verb[R], signals: Signals, voice: Voice) -> R:
    """Carry ``verb`` out and tell what happens meanwhile.

    Raises:
        typer.Exit: With 75 when it was interrupted before anything was begun.
        AsyncFilterError: As the verb does.
        UsageError: The event file cannot be opened.
    """
    with ExitStack() as stack:
        conductor = _Conductor(job, signals, voice, stack)
        try:
            return anyio.run(conductor.conduct, verb)
        finally:
            signals.over()


class _Listener(Protocol):
    def listeners(self) -> Mapping[type[Event], Callable[..., None]]: ...

    def tick(self, progress: Progress | None) -> None: ...


class _Conductor:
    """The parts of one conducted run, opened on ``stack``."""

    def __init__(self, job: Job, signals: Signals, voice: Voice, stack: ExitStack) -> None:
        self._signals = signals
        self._interrupt = Interrupt()
        self._is_begun = False
        self._progress: Callable[[], Progress] | None = None
        self._show_progress: Callable[[], Progress] | None = None
        console = talk()
        self._display: LiveDisplay | None = None
        write: Callable[[str], object] = sys.stderr.write
        if voice.log_format is LogFormat.TEXT and is_live(console):
            self._display = LiveDisplay(console, job, pays=voice.pays)

            def write(line: str) -> None:  # above what is redrawn
                console.print(Text.from_ansi(line.rstrip("\n")), soft_wrap=True)

        level = voice.level or (Level.WARNING if self._display else Level.INFO)
        log = open_log(
            _surely(write),
            level=level.value,
            as_json=voice.log_format is LogFormat.JSON,
            colours=console.color_system is not None and not console.no_color,
        )
        self._lines = LogLines(log, job, level=level.value, brief=self._display is not None)
        self._log = log
        self._events = stack.enter_context(open_events(voice.events))
        stack.enter_context(self._display or nullcontext())

    async def conduct(self, verb: Verb[R]) -> R:
        failure: Exception | None = None
        result: R | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._tick)
            with anyio.CancelScope() as scope:
                self._signals.listen(lambda: self._leave(scope))
                try:
                    result = await verb(interrupt=self._interrupt, on_event=self._emitter(), on_start=self._begun)
                except Exception as error:  # noqa: BLE001  raised again below, outside the task group
                    failure = error
            tasks.cancel_scope.cancel()
        self._told_last()
        if failure is not None:
            raise failure
        if result is None:
            say("interrupted before anything was called")
            raise typer.Exit(INTERRUPTED)
        return result

    def _leave(self, scope: anyio.CancelScope) -> None:
        """A signal: drain what has begun, give up what has not."""
        if self._is_begun:
            self._interrupt.request()
        else:
            scope.cancel()

    def _begun(self, progress: Callable[[], Progress]) -> None:
        spare_collections()
        self._is_begun = True
        self._progress = progress

    def _emitter(self) -> Emit:
        """One function that hands each event to those who listen to its kind."""
        listening: dict[type[Event], list[Callable[..., None]]] = {RunStarted: [self._started]}
        voices: Sequence[_Listener] = [self._lines, *([self._display] if self._display else [])]
        for voice in voices:
            for kind, listener in voice.listeners().items():
                listening.setdefault(kind, []).append(listener)
        write = self._events.listener if self._events else None

        def emit(event: Event) -> None:
            if write is not None:
                write(event)
            for listener in listening.get(type(event), ()):
                listener(event)

        return emit

    def _started(self, _event: RunStarted) -> None:
        self._show_progress = self._progress

    async def _tick(self) -> None:
        """Draw often, log and flush every second, until cancelled."""
        pause_s = REFRESH_S if self._display else _SECOND_S
        next_s = anyio.current_time() + _SECOND_S
        while True:
            await anyio.sleep(pause_s)
            progress = self._show_progress() if self._show_progress else None
            with suppress(OSError):  # a terminal that was closed must not end the run
                if self._display:
                    self._display.tick(progress)
            if anyio.current_time() >= next_s:
                next_s += _SECOND_S
                self._lines.tick(progress)
                if self._events:
                    self._events.flush()

    def _told_last(self) -> None:
        if self._events is not None:
            self._events.flush()
            if self._events.error is not None:
                self._log.error("events_lost", message=str(self._events.error))


def spare_collections() -> None:
    """Have the garbage collector look at what a run makes, seldom, and not at all at what is loaded by now.

    A full collection over a whole program stops the event loop for a tenth of a second, and at 2,000 calls a second
    there is one every few seconds. What a run lets go of has hardly any cycles.
    """
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, *_YOUNGER_FIRST)


def open_events(target: str | None) -> EventFile | nullcontext[None]:
    """The file for events that ``--events`` names; none without.

    Raises:
        UsageError: It cannot be opened.
    """
    if target is None:
        return nullcontext()
    if target == "-":
        return EventFile(open(sys.stdout.fileno(), "wb", closefd=False))
    try:
        return EventFile(Path(target).open("ab"))
    except OSError as error:
        raise UsageError(f"--events {target}: {error.strerror}", hint="Name a file that can be written.") from error


def _surely(write: Callable[[str], object]) -> Callable[[str], object]:
    """Writing that does not fail: a closed terminal must not end the run."""

    def written(line: str) -> None:
        with suppress(OSError):
            write(line)

    return written
