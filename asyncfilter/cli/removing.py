"""Carrying out a removal: event loop, signals, progress and event file around it."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Protocol

import anyio
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from asyncfilter.cli.conduct import open_events
from asyncfilter.cli.signals import Signals
from asyncfilter.cli.terminal import is_live, say, talk
from asyncfilter.engine.ending import Interrupt
from asyncfilter.events import ActionDone, Emit, Event, ImageFailed
from asyncfilter.policy.removal import RemovalSummary
from asyncfilter.report.eventfile import EventFile
from asyncfilter.report.removal import shown

TOLD_FAILURES = 10
"""Images that failed are told one by one up to here; the summary counts them all."""

PLAIN_EVERY = 10_000
"""Without a live display, a line for so many images."""


class Verb(Protocol):
    """``wiring.apply`` or ``wiring.undo``, with everything given but what is due here."""

    async def __call__(self, *, interrupt: Interrupt, on_event: Emit) -> RemovalSummary:
        """Run to the end."""
        ...


def conduct(verb: Verb, images: int, signals: Signals, events: str | None) -> RemovalSummary:
    """Carry ``verb`` out on ``images`` images, and tell what happens meanwhile. Raises as the verb does."""
    with ExitStack() as stack:
        told = _Told(images, stack.enter_context(open_events(events)))
        console = talk()
        if is_live(console) and images:
            columns = (TextColumn("images"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            told.progress = stack.enter_context(Progress(*columns, console=console, transient=True))
            told.progress.add_task("images", total=images)

        async def live() -> RemovalSummary:
            interrupt = Interrupt()
            signals.listen(interrupt.request)
            return await verb(interrupt=interrupt, on_event=told)

        try:
            return anyio.run(live)
        finally:
            signals.over()


class _Told:
    """A listener to events."""

    def __init__(self, images: int, file: EventFile | None) -> None:
        self.progress: Progress | None = None
        self._images = images
        self._file = file
        self._done = 0
        self._failed = 0

    def __call__(self, event: Event) -> None:
        if self._file is not None:
            self._file.listener(event)
        if isinstance(event, ImageFailed):
            self._tell(event)
        if isinstance(event, ActionDone | ImageFailed):
            self._done += 1
            if self.progress is not None:
                self.progress.update(self.progress.task_ids[0], completed=self._done)
            elif self._done % PLAIN_EVERY == 0:
                say(f"{self._done:,} of {self._images:,} images")

    def _tell(self, event: ImageFailed) -> None:
        self._failed += 1
        if self._failed <= TOLD_FAILURES:
            line = f"left: {event.code}  {shown(event.message)}"
            (self.progress.console.print(line, markup=False) if self.progress else say(line))
