"""The console of a removal: progress, failures and event file around ``apply`` or ``undo``."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Protocol

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from asyncfilter.cli.console import VerbConsole
from asyncfilter.cli.signals import Signals
from asyncfilter.cli.stderr import print_err
from asyncfilter.engine.core.stopping import Interrupt
from asyncfilter.events import ActionDone, Emit, Event, ImageFailed
from asyncfilter.policy.removal_plan import RemovalSummary
from asyncfilter.report.terminal.text import Text

SHOWN_FAILURES = 10
"""How many failed images are shown one by one; the summary counts them all."""

PLAIN_EVERY = 10_000
"""Without a live display, one line is printed each time this many images are done."""


class RemovalVerb(Protocol):
    """``wiring.apply`` or ``wiring.undo`` with all arguments bound except those that the console gives."""

    async def __call__(self, *, interrupt: Interrupt, on_event: Emit) -> RemovalSummary:
        """Run to the end."""
        ...


def remove_with_console(verb: RemovalVerb, images: int, signals: Signals, events: str | None) -> RemovalSummary:
    """Run ``verb`` on ``images`` images, and show its progress.

    Raises:
        AsyncFilterError: As the verb does.
        UsageError: The event file cannot be opened.
    """
    with ExitStack() as stack:
        return ApplyConsole(images, signals, events, stack).run_verb(verb)


class ApplyConsole(VerbConsole):
    """The console of one removal, opened on ``stack``: event file, and a progress bar on a live terminal."""

    def __init__(self, images: int, signals: Signals, events: str | None, stack: ExitStack) -> None:
        super().__init__(signals=signals, events=events, stack=stack)
        self._images = images
        self._done = 0
        self._failed = 0
        self._progress: Progress | None = None
        if self.is_live and images:
            columns = (TextColumn("images"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._progress = stack.enter_context(Progress(*columns, console=self.terminal, transient=True))
            self._progress.add_task("images", total=images)

    def run_verb(self, verb: RemovalVerb) -> RemovalSummary:
        """Run ``verb``; raises as it does."""

        async def main() -> RemovalSummary:
            return await verb(interrupt=self.interrupt, on_event=self._on_event)

        return self.run(main)

    def _on_event(self, event: Event) -> None:
        if self.event_file is not None:
            self.event_file.listener(event)
        if isinstance(event, ImageFailed):
            self._show_failure(event)
        if isinstance(event, ActionDone | ImageFailed):
            self._count()

    def _show_failure(self, event: ImageFailed) -> None:
        self._failed += 1
        if self._failed > SHOWN_FAILURES:
            return
        line = f"left: {event.code}  {event.message}"
        if self._progress is not None:
            self._progress.console.print(Text(line), soft_wrap=True)
        else:
            print_err(line)

    def _count(self) -> None:
        self._done += 1
        if self._progress is not None:
            self._progress.update(self._progress.task_ids[0], completed=self._done)
        elif self._done % PLAIN_EVERY == 0:
            print_err(f"{self._done:,} of {self._images:,} images")
