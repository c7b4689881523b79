"""Live progress on a terminal: a few lines that are redrawn in place and removed when the run ends.

Drawing is a pure function of a ``DisplayState`` and a width, so that it can be tested without a terminal. On a narrow
terminal the least important parts are left out first; no line is ever wider than the terminal.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live

from asyncfilter.events import Draining, Event, FleetAwaited, RateChanged, RunStarted
from asyncfilter.job.spec import Job
from asyncfilter.model import Counts, Progress, StopReason, Workers
from asyncfilter.report import formatting, messages
from asyncfilter.report.terminal.eta import Eta, EtaEstimator
from asyncfilter.report.terminal.text import Text

REFRESH_S = 0.2
"""Time between two drawings."""

LONGEST_SPARKLINE_S = 60
_LABEL_WIDTH = 8
_WIDEST = 110
_ECHO_WIDTH = 3
_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_SPINNER_ASCII = "|/-\\"


@dataclass(slots=True)
class DisplayState:
    """All that one drawing shows.

    Attributes:
        name: Name of the job.
        phase: The current phase of the run, in a word or two.
        progress: The progress; None before the first call can be made.
        rates: Attempts in each of the last seconds, oldest first.
        forecast: The earliest end that can be estimated; None without one.
        note: The last change of the rate.
        frame: Number of this drawing.
        pays: False leaves out rate and money.
    """

    name: str
    phase: str = "checking access"
    progress: Progress | None = None
    rates: Sequence[float] = field(default_factory=list)
    forecast: Eta | None = None
    note: str = ""
    frame: int = 0
    pays: bool = True


def draw(view: DisplayState, width: int, *, ascii_only: bool = False) -> RenderableType:
    """The view in ``width`` columns, of which the last few are left free for the ``^C`` that a terminal echoes."""
    width = min(width - _ECHO_WIDTH, _WIDEST)
    room = width - _LABEL_WIDTH - 1
    spinner = _SPINNER_ASCII if ascii_only else _SPINNER
    head = fit([Text(f"{spinner[view.frame % len(spinner)]} {view.name}", "bold"), Text(view.phase, "cyan")], width)
    if view.progress is None:
        return head
    progress = view.progress
    rows = [("time", _time(view, progress))]
    if view.pays:
        rows.append(("rate", _rate(view, progress, room, ascii_only=ascii_only)))
        rows.append(("money", _money(progress, room, ascii_only=ascii_only)))
    rows += [("images", _verdicts(progress.counts)), ("", _flow(progress))]
    if progress.workers is not None:
        rows.append(("workers", _workers(progress.workers)))
    if view.note:
        rows.append(("", [Text(view.note, "dim")]))
    lines = [Text.assemble((f"{label:<{_LABEL_WIDTH}} ", "dim"), fit(parts, room)) for label, parts in rows]
    return Group(head, *lines)


def fit(parts: Sequence[Text], width: int, gap: str = "  ") -> Text:
    """As many of ``parts`` as fit on one line of ``width`` columns; the first part is cut when it is too long."""
    line = Text(no_wrap=True, overflow="ellipsis")
    for part in parts:
        if not line:
            line.append_text(part)
            line.truncate(width, overflow="ellipsis")
        elif line.cell_len + len(gap) + part.cell_len <= width:
            line.append(gap).append_text(part)
        else:
            break
    return line


def _time(view: DisplayState, progress: Progress) -> list[Text]:
    parts = [Text(formatting.clock(progress.elapsed_s))]
    if view.forecast is not None:
        parts.append(Text(f"about {formatting.clock(view.forecast.left_s)} left", "bold"))
        parts.append(Text(f"until {messages.ENDINGS[view.forecast.reason]}", "dim"))
    return parts


def _rate(view: DisplayState, progress: Progress, room: int, *, ascii_only: bool) -> list[Text]:
    rate = Text.assemble(
        (f"{formatting.tps(progress.rate_tps)}/s", "bold"), f" of {formatting.tps(progress.limit_tps)}"
    )
    parts = [rate]
    if not ascii_only and (seconds := min(LONGEST_SPARKLINE_S, room - rate.cell_len - 2)) >= 8:
        recent = list(view.rates)[-seconds:]
        parts.append(Text(formatting.sparkline(recent, progress.limit_tps), "cyan"))
    if progress.counts.throttled:
        parts.append(Text(f"{formatting.count(progress.counts.throttled)} throttled", "yellow"))
    return parts


def _money(progress: Progress, room: int, *, ascii_only: bool) -> list[Text]:
    spent, budget = progress.counts.spent_micros, progress.budget_micros
    if budget is None:
        parts = [Text.assemble((formatting.usd(spent), "bold"), " spent")]
    else:
        sums = Text.assemble((formatting.usd(spent), "bold"), f" of {formatting.usd(budget)}")
        parts = [sums]
        if not ascii_only and (width := min(24, room - sums.cell_len - 10)) >= 8:
            style = "red" if spent >= 0.9 * budget else "green"
            parts.append(Text(formatting.bar(spent, budget, width), f"{style} on grey23"))
        parts.append(Text(formatting.share(spent, budget), "dim"))
    if progress.counts.keep:
        parts.append(Text(f"{formatting.usd(spent // progress.counts.keep)} a kept image", "dim"))
    return parts


def _verdicts(counts: Counts) -> list[Text]:
    failed = sum(counts.failed.values())
    return [
        Text(f"{formatting.count(number)} {name}", style if number else "dim")
        for name, number, style in (
            ("keep", counts.keep, "bold green"),
            ("review", counts.review, "yellow"),
            ("reject", counts.reject, "blue"),
            ("failed", failed, "bold red"),
        )
        if number or name == "keep"
    ]


def _workers(workers: Workers) -> list[Text]:
    parts = [Text(formatting.count(workers.now), "bold" if workers.now else "bold red")]
    if workers.lost:
        parts.append(Text(f"{formatting.count(workers.lost)} lost", "yellow"))
    if workers.left:
        parts.append(Text(f"{formatting.count(workers.left)} left", "dim"))
    if workers.returned_turns:
        parts.append(Text(f"{formatting.count(workers.returned_turns)} turns returned", "dim"))
    parts.append(Text(f"{workers.engine} at {workers.address}", "dim"))
    return parts


def _flow(progress: Progress) -> list[Text]:
    counts = progress.counts
    parts = [f"{formatting.count(progress.in_flight)} in flight", f"{formatting.count(counts.listed)} listed"]
    if progress.expected is not None:
        parts.append(f"{formatting.count(counts.examined)} of {formatting.count(progress.expected)} images")
    if progress.actions:
        parts.insert(1, f"{formatting.count(progress.actions)} copying")
    if skipped := sum(counts.skipped.values()):
        parts.append(f"{formatting.count(skipped)} skipped")
    if counts.from_checkpoint:
        parts.append(f"{formatting.count(counts.from_checkpoint)} from checkpoint")
    return [Text(part, "dim") for part in parts]


class LiveDisplay:
    """Shows the progress of one run on a terminal while the context is open; the terminal is restored after it.

    Args:
        console: The console of the terminal; other lines printed on it appear above the display.
        job: The job that is run.
        pays: False for a run over stored labels, which has neither rate nor cost.
    """

    def __init__(self, console: Console, job: Job, *, pays: bool = True) -> None:
        self.view = DisplayState(name=job.name, pays=pays)
        self._console = console
        self._forecaster = EtaEstimator(job)
        self._rates: deque[float] = deque(maxlen=LONGEST_SPARKLINE_S)
        self._second = 0
        self._live = Live(
            console=console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
        )

    def __enter__(self) -> Self:
        self._live.start()
        self.tick(None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def listeners(self) -> dict[type[Event], Callable[..., None]]:
        """The listener of each event type."""
        return {
            FleetAwaited: self._fleet_awaited,
            RunStarted: self._started,
            RateChanged: self._rate_changed,
            Draining: self._draining,
        }

    def tick(self, progress: Progress | None) -> None:
        """Redraw the display; ``progress`` is None before there is any."""
        view = self.view
        view.frame += 1
        if progress is not None:
            view.progress = progress
            view.forecast = self._forecaster.see(progress)
            self._sample(progress)
            view.rates = self._rates
        ascii_only = not self._console.encoding.lower().startswith("utf")
        self._live.update(draw(view, self._console.width, ascii_only=ascii_only), refresh=True)

    def _sample(self, progress: Progress) -> None:
        if int(progress.elapsed_s) > self._second:
            self._second = int(progress.elapsed_s)
            self._rates.append(progress.rate_tps)

    def end(self) -> None:
        """Show that the run ends before it has begun."""
        self.view.phase = "ending"

    def _fleet_awaited(self, event: FleetAwaited) -> None:
        self.view.phase = event.message

    def _started(self, event: RunStarted) -> None:
        self.view.phase = "examining, nothing is written" if event.dry_run else "examining"

    def _rate_changed(self, event: RateChanged) -> None:
        lane = "" if event.lane is None else f" of {event.lane}"
        change = f"{formatting.tps(event.old_tps)} → {formatting.tps(event.new_tps)}"
        self.view.note = f"rate{lane} {change}: {event.reason}"

    def _draining(self, event: Draining) -> None:
        ending = messages.ENDINGS[StopReason(event.reason)]
        again = "; Ctrl-C again aborts" if event.reason == StopReason.INTERRUPTED else ""
        self.view.phase = f"finishing: {ending}{again}"
        self.view.note = ""
