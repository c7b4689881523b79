"""The summary at the end of a run, for people: its result, its cost, and what to do next."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table

from asyncfilter.errors import ExitCode
from asyncfilter.job.spec import Job
from asyncfilter.model import ActionKind, Counts, LaneCounts, StopReason, Summary, Verdict, Workers
from asyncfilter.policy.detectors import PROFILES
from asyncfilter.report import formatting, messages
from asyncfilter.report.program import program
from asyncfilter.report.terminal.facts import Facts
from asyncfilter.report.terminal.people import people_line
from asyncfilter.report.terminal.text import Text

WIDEST = 100
_NARROW = 60
_NARROWEST = 30
"""Below this width there is no room for shares."""
_LABEL_COLUMNS = 9
_STYLES = {Verdict.KEEP: "green", Verdict.REVIEW: "yellow", Verdict.REJECT: "blue"}
_EXIT_STYLES: dict[int, str] = {ExitCode.OK: "green", ExitCode.SOME_FAILED: "yellow", ExitCode.INTERRUPTED: "yellow"}


def draw_summary(
    summary: Summary,
    job: Job,
    *,
    width: int,
    dry_run: bool = False,
    ascii_only: bool = False,
    with_steps: bool = True,
) -> RenderableType:
    """The summary as a panel of at most ``WIDEST`` columns.

    Args:
        summary: The summary of the run.
        job: The job of the run; has its targets and limits.
        width: Columns of the terminal.
        dry_run: Nothing was written.
        ascii_only: Draw without bars.
        with_steps: Say what can be done next; False where that is said elsewhere.
    """
    width = min(width, WIDEST)
    style = _EXIT_STYLES.get(summary.exit_code, "red")
    parts: list[RenderableType] = [_headline(summary, job, style), Text(), _verdicts(summary.counts, width, ascii_only)]
    parts += [Text(), Facts(_fact_rows(summary, job, dry_run=dry_run), label_columns=_LABEL_COLUMNS)]
    if summary.counts.failed:
        parts += [Text(), _failures(summary.counts, job, width)]
    steps = next_steps(summary, job, dry_run=dry_run) if with_steps else []
    if steps:
        parts += [
            Text(),
            Facts([("next" if not n else "", step) for n, step in enumerate(steps)], label_columns=_LABEL_COLUMNS),
        ]
    title = Text(f" {job.name} ", style="bold")
    return Panel(Group(*parts), title=title, title_align="left", border_style=style, width=width, padding=(0, 1))


def next_steps(summary: Summary, job: Job, *, dry_run: bool) -> list[str]:
    """What to do next, as commands with a short explanation; the most urgent first."""
    path, reason = shlex.quote(str(job.path or "JOB")), summary.stop_reason
    steps = []
    if reason is StopReason.INTERRUPTED:
        steps.append(f"{program()} run {path}   continues where this run stopped")
    if reason is StopReason.FAILED or (reason is StopReason.ERRORS and job.stop.errors is None):
        steps.append(f"{program()} run {path}   once the cause is removed; nothing is paid twice")
    if reason is StopReason.NOTHING_TO_EXAMINE:
        steps.append(f"{program()} plan {path}   shows what is listed, once the job is corrected")
    if key := messages.LIMITS.get(reason):
        verb = "lower" if reason is StopReason.HIT_RATE else "raise"
        steps.append(f"{verb} {key} and run again to continue")
    if set(summary.counts.failed) - messages.HOPELESS:
        steps.append(f"{program()} run {path} --retry-failed   tries the failed images again")
    if dry_run:
        steps.append(f"{program()} run {path}   carries the actions out; the labels are paid for")
    if summary.pending_removals:
        pending = formatting.count(summary.pending_removals)
        steps.append(f"{program()} apply {path}   shows the {pending} pending images and asks first")
    if not steps and summary.exit_code in (ExitCode.OK, ExitCode.SOME_FAILED):
        steps.append(f"{program()} refilter {path}   applies changed rules at no cost")
    return steps


def _headline(summary: Summary, job: Job, style: str) -> RenderableType:
    lines = [_reason(summary, job, style)]
    if summary.error:
        lines.append(Text(summary.error))
    if summary.hint:
        lines.append(Text(summary.hint, "cyan"))
    return Group(*lines)


def _reason(summary: Summary, job: Job, style: str) -> Text:
    text = Text(messages.STOP_REASONS[summary.stop_reason], f"bold {style}")
    if key := messages.LIMITS.get(summary.stop_reason):
        text.append(f"  ({key}: {_limit(job, summary.stop_reason)})", "dim")
    return text


def _limit(job: Job, reason: StopReason) -> str:
    if reason is StopReason.HIT_RATE and (rare := job.stop.hit_rate) is not None:
        return f"below {100 * rare.below:g} % with {100 * rare.confidence:g} % confidence"
    value = {
        StopReason.MATCHES: job.stop.matches,
        StopReason.MISSES_IN_A_ROW: job.stop.misses_in_a_row,
        StopReason.MAX_IMAGES: job.limits.max_images,
    }.get(reason)
    return formatting.usd(job.limits.budget_micros or 0) if value is None else formatting.count(value)


def _verdicts(counts: Counts, width: int, ascii_only: bool) -> Table:  # noqa: FBT001  one of our own
    """Counts with their shares of the examined images, and a bar for each on a wide terminal."""
    bar_width = 0 if ascii_only or width < _NARROW else min(40, width - 36)
    grid = _grid()
    has_shares = width >= _NARROWEST
    for _ in range(1 + has_shares):
        grid.add_column(justify="right")
    if bar_width:
        grid.add_column(no_wrap=True)
    rows = [(verdict.value, getattr(counts, verdict.value), _STYLES[verdict]) for verdict in Verdict]
    rows.append(("failed", sum(counts.failed.values()), "red"))
    for name, number, style in rows:
        cells = [Text(formatting.count(number), f"bold {style}" if number else "dim")]
        if has_shares:
            cells.append(Text(formatting.share(number, counts.examined), "dim"))
        if bar_width:
            cells.append(Text(formatting.bar(number, counts.examined, bar_width), style))
        grid.add_row(name, *cells)
    return grid


def _fact_rows(summary: Summary, job: Job, *, dry_run: bool) -> Iterable[tuple[str, str]]:
    counts, now = summary.counts, summary.this_run
    yield "images", _images(counts)
    if summary.resumed:
        paid, free = formatting.count(now.calls), formatting.count(now.from_checkpoint)
        yield "this run", f"{formatting.count(now.examined)} examined: {paid} by calls, {free} from the checkpoint"
    if counts.overshoot:
        what = "image was" if counts.overshoot == 1 else "images were"
        yield "overshoot", f"{formatting.count(counts.overshoot)} {what} paid for beyond the stop: kept, free later"
    if counts.duplicates:
        what = "image has" if counts.duplicates == 1 else "images have"
        saved = formatting.usd(counts.saved_micros)
        yield "duplicates", f"{formatting.count(counts.duplicates)} {what} the content of another image: {saved} saved"
    yield from _action_rows(counts, job, dry_run=dry_run)
    if summary.pending_removals:
        yield (
            "pending",
            f"{formatting.count(summary.pending_removals)} to move or delete; only `apply` does that",
        )
    if people := people_line(counts.reviewed, summary.answers):
        yield "answers", people
    yield "money", _money(summary)
    if now.attempts:
        yield "rate", _rate(summary)
    yield from _fleet_rows(summary)
    for index, (name, lane) in enumerate((now.lanes or {}).items()):
        yield "" if index else "lanes", _lane(name, lane)
    yield "time", formatting.duration(summary.wall_s)
    yield from _kept_rows(summary)


def _kept_rows(summary: Summary) -> Iterable[tuple[str, str]]:
    yield "kept in", summary.checkpoint
    if (state := summary.state) is not None:
        behind = f", {formatting.count(state.behind_rows)} rows behind" if state.behind_rows else ""
        yield "state", f"{state.uri}, commit {formatting.count(state.commit)} of epoch {state.epoch}{behind}"
    if summary.cautions:
        yield "cautions", f"{len(summary.cautions)}, in the log of this run"


def _fleet_rows(summary: Summary) -> Iterable[tuple[str, str]]:
    if summary.workers is not None:
        yield "workers", _workers(summary.workers)
    if adopted := summary.counts.adopted:
        yield "adopted", f"{formatting.count(adopted)} answers that workers had kept for a run that died"


def _workers(workers: Workers) -> str:
    parts = [f"{formatting.count(workers.peak)} at most, {workers.engine} at {workers.address}"]
    told = ((workers.lost, "lost"), (workers.left, "left"), (workers.returned_turns, "turns returned"))
    parts += [f"{formatting.count(number)} {what}" for number, what in told if number]
    return ", ".join(parts)


def _images(counts: Counts) -> str:
    text = f"{formatting.count(counts.examined)} examined of {formatting.count(counts.listed)} listed"
    if counts.skipped:
        reasons = sorted(counts.skipped.items(), key=lambda item: -item[1])
        text += "; skipped: " + ", ".join(
            f"{formatting.count(number)} {messages.skip(reason)}" for reason, number in reasons
        )
    return text


def _action_rows(counts: Counts, job: Job, *, dry_run: bool) -> Iterable[tuple[str, str]]:
    if dry_run:
        yield "dry run", "nothing was written to S3"
    targets = {verdict: action.target for verdict, action in job.actions.items() if action.kind is ActionKind.COPY}
    if counts.copied:
        yield "copied", f"{formatting.count(counts.copied)}"
    for verdict in Verdict if counts.copied else ():
        if target := targets.get(verdict):
            yield f"  {verdict.value}", target
    for name, number in (("tagged", counts.tagged), ("moved", counts.moved), ("deleted", counts.deleted)):
        if number:
            yield name, formatting.count(number)
    if counts.stale:
        yield "stale", f"{formatting.count(counts.stale)} copies exist that the rules no longer make (apply --stale)"


def _money(summary: Summary) -> str:
    counts = summary.counts
    text = formatting.usd(counts.spent_micros)
    if summary.budget_micros is not None:
        text += f" of {formatting.usd(summary.budget_micros)}"
    text += f" for {formatting.count(counts.billed_calls)} billed calls"
    if counts.keep:
        text += f", {formatting.usd(counts.spent_micros // counts.keep)} a kept image"
    if summary.resumed:
        text += f"; this run {formatting.usd(summary.this_run.spent_micros)}"
    return text


def _rate(summary: Summary) -> str:
    now, limit = summary.this_run, summary.tps_limit
    text = f"{formatting.tps(round(summary.tps_mean, 1))} attempts a second"
    if limit is not None:
        text += f", limit {formatting.tps(limit)}"
    for number, word in ((now.throttled, "throttled"), (now.retried, "repeated")):
        if number:
            text += f", {formatting.count(number)} {word}"
    return text


def _lane(name: str, lane: LaneCounts) -> str:
    text = f"{name}: {formatting.tps(round(lane.tps_mean or 0.0, 1))} attempts a second"
    if lane.tps_limit is not None:
        text += f", limit {formatting.tps(lane.tps_limit)}"
    text += f", {formatting.usd(lane.spent_micros)}"
    for number, word in ((lane.throttled, "throttled"), (lane.retried, "repeated")):
        if number:
            text += f", {formatting.count(number)} {word}"
    return f"{text}; closed" if lane.closed else text


def _failures(counts: Counts, job: Job, width: int) -> Table:
    """One line for each cause, the most frequent first: how many, what it means, what to do."""
    grid = _grid()
    grid.add_column(justify="right")
    grid.add_column(ratio=1)
    ranked = sorted(counts.failed.items(), key=lambda item: -item[1])
    may_convert = PROFILES[job.detector.kind].is_service and not job.convert
    for index, (code, number) in enumerate(ranked):
        message = messages.failure(code, may_convert=may_convert)
        text = Text.assemble((code, "bold"), f": {message.meaning}. ", (message.remedy, "dim"))
        if width < _NARROW:
            text = Text.assemble((code, "bold"), f": {message.meaning}")
        grid.add_row("" if index else "failed", Text(formatting.count(number), "bold red"), text)
    return grid


def _grid() -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0), expand=False)
    grid.add_column(style="dim", no_wrap=True, min_width=_LABEL_COLUMNS)
    return grid
