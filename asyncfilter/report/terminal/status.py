"""The content of a checkpoint, for people and for scripts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table

from asyncfilter.checkpoint import RunRecord, Status
from asyncfilter.job.spec import Job
from asyncfilter.model import AnswersState, Counts, Label, LaneCounts, StoreKind, Verdict, Workers
from asyncfilter.policy.answers.following import FILE_IS_MISSING
from asyncfilter.policy.assumed import stored_thresholds_in
from asyncfilter.policy.cautions.label_names import known_names, name_findings
from asyncfilter.policy.counts import counts
from asyncfilter.policy.job_warnings import job_warnings
from asyncfilter.policy.lane_counts import lane_counts
from asyncfilter.report import formatting, messages
from asyncfilter.report.as_json import answers_state_mapping, counts_mapping, lanes_mapping, workers_mapping
from asyncfilter.report.formatting import usd_number
from asyncfilter.report.terminal.facts import Facts
from asyncfilter.report.terminal.people import people_line
from asyncfilter.report.terminal.states import state_line
from asyncfilter.report.terminal.text import Text

if TYPE_CHECKING:
    from asyncfilter.state.status import StateStatus

RUNS_SHOWN = 5
_TABLE_COLUMNS = 64
"""Columns that a table of runs needs."""


def status_counts(status: Status) -> Counts:
    """The counts at the last settled image."""
    return counts(status.watermark.tally, status.totals, overshoot=status.cached)


def status_mapping(
    status: Status,
    path: Path,
    job: Job,
    pending_removals: int = 0,
    labels: Sequence[Label] = (),
    *,
    answers: AnswersState | None = None,
    state: StateStatus | None = None,
    workers: Workers | None = None,
) -> dict[str, object]:
    """The status, with the names of the summary for all that a summary has too.

    Args:
        status: What the checkpoint holds.
        path: The checkpoint.
        job: The job.
        pending_removals: Images that ``apply`` would take out of the source.
        labels: Those of all images.
        answers: The answers file; None where there is none.
        state: The state in S3; None without one.
        workers: Those of a run that goes on with a fleet.
    """
    budget, use = job.limits.budget_micros, status.totals.whole_use
    return {
        "name": status.name,
        "checkpoint": str(path),
        "running": msgspec.to_builtins(status.held_by),
        **counts_mapping(status_counts(status)),
        "budget_usd": None if budget is None else usd_number(budget),
        "reserved_usd": usd_number(status.totals.reserved_micros),
        "billed_month": use.month or None,
        "billed_in_month": use.calls,
        **({"lanes": lanes_mapping(lane_counts(status.totals))} if status.totals.lanes else {}),
        "listing_done": status.watermark.listing_done,
        "cursor": status.watermark.cursor,
        "pending": status.pending,
        "pending_removals": pending_removals,
        "epoch": status.epoch,
        "workers": workers_mapping(workers),
        "state": None if state is None else msgspec.to_builtins(state),
        "answers": answers_state_mapping(answers),
        "thresholds": stored_thresholds_in(job, status.model),
        "cautions": _cautions(status, job, labels, answers),
        "size_bytes": status.size_bytes,
        "identity": dict(status.identity),
        "runs": [_run_mapping(run) for run in status.runs],
    }


def _run_mapping(run: RunRecord) -> dict[str, object]:
    fields = msgspec.structs.asdict(run)
    held = fields.pop("counts")
    return {**fields, "counts": None if held is None else counts_mapping(held)}


def draw_status(
    status: Status,
    path: Path,
    job: Job,
    pending_removals: int = 0,
    labels: Sequence[Label] = (),
    *,
    answers: AnswersState | None = None,
    state: StateStatus | None = None,
) -> RenderableType:
    """A few lines, and a table of the last runs; arguments are those of ``status_mapping``."""
    found = status_counts(status)
    cautions = [("caution", Text(message, "yellow")) for message in _cautions(status, job, labels, answers)]
    line = people_line(found.reviewed, answers)
    people = [("answers", Text(line))] if line else []
    kept = [("state", state_line(state))] if state is not None else []
    facts = Facts([*_rows(status, found, path, job), *kept, *people, *cautions, *_removal_rows(pending_removals)])
    return Group(facts, Text(), _Runs(status.runs)) if status.runs else facts


def _cautions(status: Status, job: Job, labels: Sequence[Label], answers: AnswersState | None) -> list[str]:
    is_own = job.source.store is StoreKind.OWN
    known = known_names(labels, answers=status.answers, is_own=is_own, model=status.model)
    missing = [FILE_IS_MISSING] if status.taken_over is not None and answers is None else []
    return [*job_warnings(job), *name_findings(job, known).values(), *missing]


def _rows(status: Status, found: Counts, path: Path, job: Job) -> list[tuple[str, Text]]:
    state = f"running: {status.held_by}" if status.held_by else "not running"
    listing = "listed to its end" if status.watermark.listing_done else "not yet listed to its end"
    rows = [
        ("job", Text.assemble((status.name, "bold"), f", {state}")),
        ("source", Text(f"{status.identity.get('source.uri', '')}, {listing}")),
        ("images", Text(f"{formatting.count(found.examined)} examined of {formatting.count(found.listed)} listed")),
        ("", _verdicts(found)),
    ]
    rows += [
        (
            "failed" if not index else "",
            Text(f"{formatting.count(number)} {code}: {messages.failure(code).meaning}", "red"),
        )
        for index, (code, number) in enumerate(sorted(found.failed.items(), key=lambda item: -item[1]))
    ]
    done = {"copied": found.copied, "tagged": found.tagged, "moved": found.moved, "deleted": found.deleted}
    rows += [(word, Text(formatting.count(number))) for word, number in done.items() if number]
    if status.pending:
        rows.append(("pending", Text(f"{formatting.count(status.pending)} images whose action is not confirmed yet")))
    if status.cached:
        rows.append(("cached", Text(_cached(status.cached))))
    rows.append(("money", Text(_money(status, job))))
    lanes = lane_counts(status.totals) if status.totals.lanes else {}
    rows += [("lanes" if not index else "", _lane(name, lane)) for index, (name, lane) in enumerate(lanes.items())]
    if thresholds := stored_thresholds_in(job, status.model):
        rows.append(("assumed", Text(formatting.thresholds(thresholds))))
    rows.append(("kept in", Text(f"{path}, {formatting.size(status.size_bytes)}")))
    return rows


def _lane(name: str, lane: LaneCounts) -> Text:
    text = f"{name}: {formatting.count(lane.calls)} calls, {formatting.usd(lane.spent_micros)}"
    if lane.throttled:
        text += f", {formatting.count(lane.throttled)} attempts throttled"
    return Text(f"{text}, model {', '.join(lane.model_versions)}" if lane.model_versions else text)


def _cached(images: int) -> str:
    what = "image has" if images == 1 else "images have"
    return f"{formatting.count(images)} {what} paid labels that are not used yet; free when the listing has the image"


def _removal_rows(pending: int) -> list[tuple[str, Text]]:
    return [("to apply", Text(f"{formatting.count(pending)} images to move or delete"))] if pending else []


def _verdicts(found: Counts) -> Text:
    styles = {Verdict.KEEP: "bold green", Verdict.REVIEW: "yellow", Verdict.REJECT: "blue"}
    parts = []
    for verdict, style in styles.items():
        number = getattr(found, verdict.value)
        parts.append((f"{formatting.count(number)} {verdict.value}", style if number else "dim"))
        parts.append((f" ({formatting.share(number, found.examined)})  ", "dim"))
    return Text.assemble(*parts)


def _money(status: Status, job: Job) -> str:
    totals, budget = status.totals, job.limits.budget_micros
    text = formatting.usd(totals.spent_micros)
    if budget is not None:
        text += f" of {formatting.usd(budget)}"
    text += f" for {formatting.count(totals.billed_calls)} billed calls"
    use = totals.whole_use
    if use.calls != totals.billed_calls and use.month:
        text += f", {formatting.count(use.calls)} of them in {use.month}"
    if totals.reserved_micros:
        what = "reserved" if status.held_by else "reserved by a run that was killed, counted as spent"
        text += f"; {formatting.usd(totals.reserved_micros)} {what}"
    return text


class _Runs:
    """The last runs as a table, or one below the other where the terminal is too narrow for it."""

    def __init__(self, runs: Sequence[RunRecord]) -> None:
        self._rows = [_run_row(run) for run in list(runs)[-RUNS_SHOWN:]]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if options.max_width < _TABLE_COLUMNS:
            yield Facts((run_id, f"{began} UTC, {took}, {outcome}") for run_id, began, took, outcome in self._rows)
            return
        table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
        for heading in ("run", "began (UTC)", "took", "ended"):
            table.add_column(heading, no_wrap=heading != "ended")
        for row in self._rows:
            table.add_row(*row)
        yield table


def _run_row(run: RunRecord) -> tuple[str, str, str, str]:
    began = datetime.fromtimestamp(run.started_unix_s, UTC).strftime("%Y-%m-%d %H:%M:%S")
    ended_s = run.ended_unix_s if run.ended_unix_s is not None else time.time()
    took = formatting.duration(max(0.0, ended_s - run.started_unix_s)) if run.outcome != "died" else "?"
    return run.run_id, began, took, run.outcome.replace("_", " ")
