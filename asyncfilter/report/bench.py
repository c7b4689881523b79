"""What a bench measured, for people and for scripts: rate beside quota, settings for the job, a quota request."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from textwrap import wrap

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.table import Table
from rich.text import Text

from asyncfilter.aws import SERVICE_CODE
from asyncfilter.job.spec import Job
from asyncfilter.model import StopReason, uri_of
from asyncfilter.policy.advice import SPREAD_S, Demand, Settings, demand, is_as_told, settings
from asyncfilter.policy.capacity import Bound, Capacity, Measurement, Trial
from asyncfilter.policy.detectors import PROFILES
from asyncfilter.policy.rate import START_TPS
from asyncfilter.report import figures, words
from asyncfilter.report.figures import usd, usd_number
from asyncfilter.report.program import program

Row = tuple[str, str | Text]

PRACTICES = (
    "calls are spaced evenly, also those that are repeated",
    f"the rate starts at {START_TPS:g} a second and doubles every second at the most",
    "a throttle lowers the rate at once; repetitions back off exponentially, with jitter",
)
"""What AWS asks applicants to do first (Rekognition guide, *Guidelines and quotas*), and every run does."""


def question(trial: Trial) -> str:
    """What is asked before an account pays."""
    return (
        f"This makes up to {figures.tps(trial.ceiling_tps)} calls a second for {figures.duration(trial.seconds_s)}, "
        f"which others of the account cannot make then. It costs {usd(trial.told_micros)} at the quota that is told, "
        f"at most {usd(trial.allowance_micros)}; the labels are kept, free for the job's run. Pay for it?"
    )


# -- For scripts -------------------------------------------------------------------------------------------------------


def bench_mapping(job: Job, found: Measurement, within_s: float | None = None) -> dict[str, object]:
    """Everything; shares are fractions, and what is not known is null."""
    trial, reading, now = found.trial, found.reading, found.summary.this_run
    advised, demanded = settings(found, job.limits), None if within_s is None else demand(found, within_s)
    return {
        "name": job.name,
        "operation": PROFILES[job.detector.kind].operation,
        "region": trial.region or None,
        "ended": "seconds" if found.is_time_up else found.summary.stop_reason.value,
        "seconds": trial.seconds_s,
        "ceiling_tps": trial.ceiling_tps,
        "quota_tps": trial.quota and trial.quota.tps,
        "quota_origin": trial.quota and trial.quota.origin.value,
        "quota_reason": trial.quota and trial.quota.reason,
        **_capacity_mapping(found.capacity),
        "calls": now.calls,
        "attempts": now.attempts,
        "throttled": now.throttled,
        "accepted_by_second": [second.accepted for second in reading.seconds],
        "mean_image_bytes": round(reading.mean_bytes),
        "labels_kept": reading.latencies.total(),
        "refused": reading.refused,
        "unanswered": reading.unanswered,
        "billed_calls": now.billed_calls,
        "spent_usd": usd_number(now.spent_micros),
        "allowance_usd": usd_number(trial.allowance_micros),
        "settings": None if advised is None else _settings_mapping(advised),
        "settings_yaml": None if advised is None else settings_yaml(job, found, advised),
        "request": None if trial.quota is None else _request_mapping(job, found, demanded),
        "demand": None if demanded is None else _demand_mapping(demanded),
        "error": found.summary.error,
        "hint": found.summary.hint,
    }


def _capacity_mapping(capacity: Capacity | None) -> dict[str, object]:
    if capacity is None:
        names = ("accepted_tps", "steady_s", "is_steady", "bound", "throttled_share", "in_flight", "latency_ms")
        return dict.fromkeys(names)
    return {
        "accepted_tps": round(capacity.accepted_tps, 2),
        "steady_s": capacity.window_s,
        "is_steady": capacity.is_steady,
        "bound": capacity.bound.value,
        "throttled_share": round(capacity.throttled_share, 6),
        "in_flight": {
            "mean": round(capacity.in_flight, 1),
            "peak": capacity.peak_in_flight,
            "enough": capacity.concurrency,
        },
        "latency_ms": {
            "p50": capacity.p50_ms,
            "p90": capacity.p90_ms,
            "p99": capacity.p99_ms,
            "slowest": capacity.slowest_ms,
        },
    }


def _settings_mapping(advised: Settings) -> dict[str, object]:
    return {
        "tps": advised.tps or "auto",
        "concurrency": advised.concurrency or "auto",
        "timeout_s": advised.timeout_s,
    }


def _request_mapping(job: Job, found: Measurement, demanded: Demand | None) -> dict[str, object]:
    is_more = demanded is not None and not (demanded.is_met or demanded.is_told)
    wanted_tps = demanded.needed_tps if demanded is not None and is_more else None
    return {
        "service_code": SERVICE_CODE,
        "quota_code": PROFILES[job.detector.kind].quota_code,
        "operation": PROFILES[job.detector.kind].operation,
        "region": found.trial.region,
        "current_tps": found.trial.quota and found.trial.quota.tps,
        "wanted_tps": wanted_tps,
        "peak_calls": None if wanted_tps is None else wanted_tps * SPREAD_S,
        "spread_s": SPREAD_S,
        "mean_image_bytes": round(found.reading.mean_bytes),
        "practices": PRACTICES,
    }


def _demand_mapping(demanded: Demand) -> dict[str, object]:
    return {
        "images": demanded.images,
        "within_hours": demanded.within_s / 3600,
        "needed_tps": demanded.needed_tps,
        "is_met": demanded.is_met,
        "is_told": demanded.is_told,
        "hours": round(demanded.duration_s / 3600, 4),
    }


# -- Settings ----------------------------------------------------------------------------------------------------------


def settings_yaml(job: Job, found: Measurement, advised: Settings, width: int = 100) -> str:
    """``limits`` of a job file, each key under the reason for it; no comment is wider than ``width``."""
    lines = ["limits:"]
    for reason, key, value in _reasons(job, found, advised):
        lines += [f"  # {line}" for line in wrap(reason, max(20, width - 4))]
        lines.append(f"  {key}: {value}")
    return "\n".join(lines) + "\n"


def _reasons(job: Job, found: Measurement, advised: Settings) -> Iterator[tuple[str, str, str]]:
    capacity = found.capacity
    if capacity is None:
        return
    share = "" if job.limits.share == 1 else f"; limits.share takes {job.limits.share:g} of it"
    yield _rate_reason(capacity, found.trial) + share, "tps", _number(advised.tps)
    enough = f"{figures.count(capacity.concurrency)} calls in flight are enough: the rate times the p99 latency"
    yield enough, "concurrency", _number(advised.concurrency)
    if advised.timeout_s != job.limits.timeout_s:
        slowest = f"the slowest answer took {capacity.slowest_ms / 1000:.1f} s of {job.limits.timeout_s:g}"
        yield slowest, "timeout_s", _number(advised.timeout_s)


def _rate_reason(capacity: Capacity, trial: Trial) -> str:
    accepted = f"{figures.tps(capacity.accepted_tps)} a second were accepted"
    told = "" if trial.quota is None else f"Service Quotas says {figures.tps(trial.quota.tps)} ({trial.quota.origin})"
    if is_as_told(capacity, trial):
        doubt = {Bound.QUOTA: "", Bound.CEILING: ", and no more were tried", Bound.CLIENT: ", and no more were made"}
        return f"{told}; {accepted}{doubt[capacity.bound]}"
    least = "at least: the limit was not reached, " if capacity.bound is not Bound.QUOTA else ""
    return f"{least}{accepted}{told and f', though {told}'}"


def _number(value: float | None) -> str:
    return "auto" if value is None else f"{value:g}"


# -- For people --------------------------------------------------------------------------------------------------------


def draw_bench(job: Job, found: Measurement, within_s: float | None = None) -> RenderableType:
    """A few lines for each: what was measured, what to set, what to ask for."""
    advised = settings(found, job.limits)
    parts: list[RenderableType] = [_grid(_measured_rows(job, found))]
    if advised is not None:
        parts += [Text("\nfor the job file", "bold"), _Snippet(job, found, advised)]
    demanded = None if within_s is None else demand(found, within_s)
    if found.trial.quota is not None and found.capacity is not None:
        parts += [Text("\nfor a quota request", "bold"), _grid(_request_rows(job, found, demanded))]
    parts.append(Text())
    parts.append(_grid([("next", f"{program()} run {shlex.quote(str(job.path or 'JOB'))}")]))
    return Group(*parts)


class _Snippet:
    """The settings, as wide as there is room."""

    def __init__(self, job: Job, found: Measurement, advised: Settings) -> None:
        self._job = job
        self._found = found
        self._advised = advised

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        del console
        text = settings_yaml(self._job, self._found, self._advised, width=min(options.max_width, 100))
        yield Text(text.rstrip(), no_wrap=True, overflow="ignore")


def _grid(rows: Iterator[Row] | list[Row]) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True, min_width=10)
    grid.add_column(overflow="fold")
    for label, text in rows:
        grid.add_row(label, text)
    return grid


def _measured_rows(job: Job, found: Measurement) -> Iterator[Row]:
    now, trial, capacity = found.summary.this_run, found.trial, found.capacity
    yield "job", Text.assemble((job.name, "bold"), f", {uri_of(job.source.bucket, job.source.prefix)}")
    paid = f", {usd(now.spent_micros)}" if now.spent_micros else ""
    yield "measured", f"{figures.count(now.calls)} calls in {figures.duration(_measured_s(found))}{paid}"
    refused = f"; {figures.count(found.reading.refused)} images refused" if found.reading.refused else ""
    if found.reading.seconds:
        yield "", f"labels of {figures.count(found.reading.latencies.total())} images kept, free for the run{refused}"
    if (early := _early(found)) is not None:
        yield "", Text(early, "yellow")
    if found.summary.error:
        yield "", Text(found.summary.error, "red")
    yield "", ""
    if trial.quota is not None:
        yield "told", f"{figures.tps(trial.quota.tps)} calls a second ({trial.quota.origin})"
        if trial.quota.reason:
            yield "", Text(trial.quota.reason, "dim")
    if capacity is None:
        yield "accepted", "no figure: too few calls were made"
    else:
        yield from _capacity_rows(found, capacity)


def _capacity_rows(found: Measurement, capacity: Capacity) -> Iterator[Row]:
    at_least = "at least " if capacity.bound is not Bound.QUOTA else ""
    yield (
        "accepted",
        Text.assemble(
            at_least,
            (figures.tps(capacity.accepted_tps), "bold"),
            f" calls a second, the mean of the last {capacity.window_s} s",
        ),
    )
    if capacity.is_steady:
        yield "", Text(_bound_word(capacity, found.trial), "dim")
    else:
        yield "", Text("not steady: that was too short to find the rate", "yellow")
    throttled = figures.share(capacity.throttled_share, 1)
    yield "throttled", f"{throttled} of the attempts then, {figures.count(found.summary.this_run.throttled)} in all"
    if found.reading.unanswered:
        yield "failed", f"{figures.count(found.reading.unanswered)} attempts timed out, or failed in passing"
    yield "latency", f"{capacity.p50_ms} ms (p50), {capacity.p90_ms} ms (p90), {capacity.p99_ms} ms (p99)"
    yield "in flight", f"{capacity.in_flight:.1f} on average, {figures.count(capacity.peak_in_flight)} at the most"


def _bound_word(capacity: Capacity, trial: Trial) -> str:
    if capacity.bound is Bound.QUOTA:
        return f"more was throttled; {figures.tps(trial.ceiling_tps)} were tried at the most"
    if capacity.bound is Bound.CEILING:
        return f"the limit was not reached: --tps {2 * trial.ceiling_tps:g} tries more"
    return "the limit was not reached: no more calls were made; see limits.concurrency, and this machine's load"


def _measured_s(found: Measurement) -> float:
    return found.trial.seconds_s if found.is_time_up else float(len(found.reading.seconds))


def _early(found: Measurement) -> str | None:
    """Why it did not last as long as it should; None when it did."""
    if found.is_time_up:
        return None
    reason = found.summary.stop_reason
    if reason is StopReason.COMPLETED:
        known = found.summary.this_run.from_checkpoint
        known_too = f"; {figures.count(known)} were known already, which proves nothing" if known else ""
        return f"too few images: the listing ended before its {figures.duration(found.trial.seconds_s)}{known_too}"
    if reason is StopReason.BUDGET:
        return f"the money ended it before its {figures.duration(found.trial.seconds_s)}"
    return words.STOP_REASONS[reason]


def _request_rows(job: Job, found: Measurement, demanded: Demand | None) -> Iterator[Row]:
    trial = found.trial
    profile = PROFILES[job.detector.kind]
    yield "service", f"{SERVICE_CODE}, quota {profile.quota_code}, {profile.operation}"
    yield "region", trial.region
    yield "now", f"{figures.tps(trial.quota.tps) if trial.quota else 'no'} calls a second"
    if demanded is None:
        yield "wanted", "--within HOURS tells what this job needs"
    else:
        yield from _demand_rows(demanded)
    yield "image size", f"{figures.size(round(found.reading.mean_bytes))} on average"
    for place, practice in enumerate(PRACTICES):
        yield ("practices" if not place else ""), practice


def _demand_rows(demanded: Demand) -> Iterator[Row]:
    hours = figures.duration(demanded.within_s)
    needed = f"{figures.count(demanded.needed_tps)} calls a second"
    of_all = f"{figures.count(demanded.images)} images left, in {hours}"
    if demanded.is_met:
        yield "wanted", f"no more: {of_all} take {needed}"
    elif demanded.is_told:
        yield "wanted", f"no more: {of_all} take {needed}, which the quota allows; who else uses it?"
    else:
        yield "wanted", Text.assemble((needed, "bold"), f": {of_all}")
        yield "peak", f"{figures.count(demanded.peak_calls)} calls, spread over {SPREAD_S} s"
    yield "", f"{figures.duration(demanded.duration_s)} at the rate accepted now"
