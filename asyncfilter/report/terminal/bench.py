"""The result of a bench, for people and for scripts: rate and quota, settings for the job, a quota request."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from textwrap import wrap

from rich.console import Console, ConsoleOptions, Group, RenderableType

from asyncfilter.aws import SERVICE_CODE
from asyncfilter.job.spec import Job
from asyncfilter.model import StopReason
from asyncfilter.policy.detectors import PROFILES
from asyncfilter.policy.quota_advice import SPREAD_S, AdvisedSettings, Demand, demand, is_as_quota, settings
from asyncfilter.policy.rate import START_TPS
from asyncfilter.policy.throughput import BenchPlan, Bound, Measurement, Throughput
from asyncfilter.policy.units import units_for
from asyncfilter.report import formatting, messages
from asyncfilter.report.formatting import usd, usd_number
from asyncfilter.report.program import program
from asyncfilter.report.terminal.facts import Facts
from asyncfilter.report.terminal.text import Text

Row = tuple[str, str | Text]

PRACTICES = (
    "calls are spaced evenly, also those that are repeated",
    f"the rate starts at {START_TPS:g} a second and doubles every second at the most",
    "a throttle lowers the rate at once; retries back off exponentially, with jitter",
)
"""What AWS recommends before a quota request (Rekognition guide, *Guidelines and quotas*); every run follows it."""


def question(bench_plan: BenchPlan) -> str:
    """The question before an account is billed."""
    rate, time = formatting.tps(bench_plan.ceiling_tps), formatting.duration(bench_plan.seconds_s)
    return (
        f"This makes up to {rate} calls a second for {time}; other programs of the account cannot use that quota "
        f"meanwhile. It costs {usd(bench_plan.quota_micros)} at the quota of Service Quotas, "
        f"at most {usd(bench_plan.allowance_micros)}. The labels are kept, and are free for the job's run. Pay for it?"
    )


# -- For scripts -------------------------------------------------------------------------------------------------------


def bench_mapping(job: Job, found: Measurement, within_s: float | None = None) -> dict[str, object]:
    """The whole result; shares are fractions, and unknown values are null."""
    bench_plan, samples, now = found.bench_plan, found.samples, found.summary.this_run
    advised, demanded = _advised(job, found), None if within_s is None else demand(found, within_s)
    return {
        "name": job.name,
        "operation": PROFILES[job.detector.kind].operation or None,
        "region": bench_plan.region or None,
        "ended": "seconds" if found.is_time_up else found.summary.stop_reason.value,
        "seconds": bench_plan.seconds_s,
        "ceiling_tps": bench_plan.ceiling_tps,
        "quota_tps": bench_plan.quota and bench_plan.quota.tps,
        "quota_origin": bench_plan.quota and bench_plan.quota.origin.value,
        "quota_reason": bench_plan.quota and bench_plan.quota.reason,
        **_throughput_mapping(found.throughput),
        "calls": now.calls,
        "attempts": now.attempts,
        "throttled": now.throttled,
        "accepted_by_second": [second.accepted for second in samples.seconds],
        "mean_image_bytes": round(samples.mean_bytes),
        "labels_kept": samples.latencies.total(),
        "refused": samples.refused,
        "unanswered": samples.unanswered,
        "billed_calls": now.billed_calls,
        "spent_usd": usd_number(now.spent_micros),
        "allowance_usd": usd_number(bench_plan.allowance_micros),
        "settings": None if advised is None else _settings_mapping(advised),
        "settings_yaml": None if advised is None else settings_yaml(job, found, advised),
        "request": None if bench_plan.quota is None else _request_mapping(job, found, demanded),
        "demand": None if demanded is None else _demand_mapping(demanded),
        "model": _model_mapping(found, demanded),
        "error": found.summary.error,
        "hint": found.summary.hint,
    }


def _throughput_mapping(throughput: Throughput | None) -> dict[str, object]:
    if throughput is None:
        names = ("accepted_tps", "steady_s", "is_steady", "bound", "throttled_share", "in_flight", "latency_ms")
        return dict.fromkeys(names)
    return {
        "accepted_tps": round(throughput.measured_tps, 2),
        "steady_s": throughput.window_s,
        "is_steady": throughput.is_steady,
        "bound": throughput.bound.value,
        "throttled_share": round(throughput.throttled_share, 6),
        "in_flight": {
            "mean": round(throughput.in_flight, 1),
            "peak": throughput.peak_in_flight,
            "enough": throughput.concurrency,
        },
        "latency_ms": {
            "p50": throughput.p50_ms,
            "p90": throughput.p90_ms,
            "p99": throughput.p99_ms,
            "slowest": throughput.slowest_ms,
        },
    }


def _settings_mapping(advised: AdvisedSettings) -> dict[str, object]:
    return {
        "tps": advised.tps or "auto",
        "concurrency": advised.concurrency or "auto",
        "timeout_s": advised.timeout_s,
    }


def _request_mapping(job: Job, found: Measurement, demanded: Demand | None) -> dict[str, object]:
    is_more = demanded is not None and not (demanded.is_met or demanded.is_within_quota)
    wanted_tps = demanded.needed_tps if demanded is not None and is_more else None
    return {
        "service_code": SERVICE_CODE,
        "quota_code": PROFILES[job.detector.kind].quota_code,
        "operation": PROFILES[job.detector.kind].operation,
        "region": found.bench_plan.region,
        "current_tps": found.bench_plan.quota and found.bench_plan.quota.tps,
        "wanted_tps": wanted_tps,
        "peak_calls": None if wanted_tps is None else wanted_tps * SPREAD_S,
        "spread_s": SPREAD_S,
        "mean_image_bytes": round(found.samples.mean_bytes),
        "practices": PRACTICES,
    }


def _demand_mapping(demanded: Demand) -> dict[str, object]:
    return {
        "images": demanded.images,
        "within_hours": demanded.within_s / 3600,
        "needed_tps": demanded.needed_tps,
        "is_met": demanded.is_met,
        "is_told": demanded.is_within_quota,
        "hours": round(demanded.duration_s / 3600, 4),
    }


def _model_mapping(found: Measurement, demanded: Demand | None) -> dict[str, object] | None:
    """What a unit takes, and what a wanted rate needs; null for detectors without a model."""
    unit, unit_tps = found.bench_plan.unit, found.unit_tps
    if unit is None:
        return None
    wanted_tps = _wanted_tps(found, demanded)
    wanted_units = None if wanted_tps is None or unit_tps is None else units_for(wanted_tps, unit_tps)
    return {
        "units": unit.units,
        "unit_tps": None if unit_tps is None else round(unit_tps, 2),
        "is_limit": found.is_unit_limit,
        "wanted_tps": wanted_tps,
        "wanted_units": wanted_units,
        "wanted_usd_per_hour": None if wanted_units is None else usd_number(wanted_units * unit.hour_micros),
    }


def _wanted_tps(found: Measurement, demanded: Demand | None) -> float | None:
    """The rate that ``--within`` needs, else that of ``limits.tps``; None without either."""
    if demanded is not None:
        return float(demanded.needed_tps)
    return None if found.bench_plan.unit is None else found.bench_plan.unit.wanted_tps


# -- Settings ----------------------------------------------------------------------------------------------------------


def _advised(job: Job, found: Measurement) -> AdvisedSettings | None:
    """What the job file should say; None for a model on this machine, which needs no limit."""
    return settings(found, job.limits) if PROFILES[job.detector.kind].is_service else None


def settings_yaml(job: Job, found: Measurement, advised: AdvisedSettings, width: int = 100) -> str:
    """``limits`` of a job file, each key below a comment with its reason; no comment is wider than ``width``."""
    lines = ["limits:"]
    for reason, key, value in _reasons(job, found, advised):
        lines += [f"  # {line}" for line in wrap(reason, max(20, width - 4))]
        lines.append(f"  {key}: {value}")
    return "\n".join(lines) + "\n"


def _reasons(job: Job, found: Measurement, advised: AdvisedSettings) -> Iterator[tuple[str, str, str]]:
    throughput = found.throughput
    if throughput is None:
        return
    share = "" if job.limits.share == 1 else f"; limits.share takes {job.limits.share:g} of it"
    yield _rate_reason(throughput, found.bench_plan) + share, "tps", _number(advised.tps)
    enough = f"{formatting.count(throughput.concurrency)} calls in flight are enough: the rate times the p99 latency"
    yield enough, "concurrency", _number(advised.concurrency)
    if advised.timeout_s != job.limits.timeout_s:
        slowest = f"the slowest response took {throughput.slowest_ms / 1000:.1f} s of {job.limits.timeout_s:g}"
        yield slowest, "timeout_s", _number(advised.timeout_s)


def _rate_reason(throughput: Throughput, bench_plan: BenchPlan) -> str:
    accepted = f"{formatting.tps(throughput.measured_tps)} a second were accepted"
    quota = (
        ""
        if bench_plan.quota is None
        else f"the quota is {formatting.tps(bench_plan.quota.tps)} ({bench_plan.quota.origin})"
    )
    if is_as_quota(throughput, bench_plan):
        limit = {Bound.QUOTA: "", Bound.CEILING: ", and no more were tried", Bound.CLIENT: ", and no more were made"}
        return f"{quota}; {accepted}{limit[throughput.bound]}"
    least = "at least: the limit was not reached, " if throughput.bound is not Bound.QUOTA else ""
    return f"{least}{accepted}{quota and f', though {quota}'}"


def _number(value: float | None) -> str:
    return "auto" if value is None else f"{value:g}"


# -- For people --------------------------------------------------------------------------------------------------------


def draw_bench(job: Job, found: Measurement, within_s: float | None = None) -> RenderableType:
    """A few lines for each: the measurement, the settings, the figures of a quota request."""
    advised = _advised(job, found)
    demanded = None if within_s is None else demand(found, within_s)
    parts: list[RenderableType] = [Facts(_measured_rows(job, found, demanded))]
    if advised is not None:
        parts += [Text(), Text("for the job file", "bold"), _Snippet(job, found, advised)]
    # Where the units are the limit, a higher quota would change nothing.
    if found.bench_plan.quota is not None and found.throughput is not None and not found.is_unit_limit:
        parts += [Text(), Text("for a quota request", "bold"), Facts(_request_rows(job, found, demanded))]
    parts.append(Text())
    parts.append(Facts([("next", f"{program()} run {shlex.quote(str(job.path or 'JOB'))}")]))
    return Group(*parts)


class _Snippet:
    """The settings, as wide as the terminal, at most 100 columns."""

    def __init__(self, job: Job, found: Measurement, advised: AdvisedSettings) -> None:
        self._job = job
        self._found = found
        self._advised = advised

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        del console
        text = settings_yaml(self._job, self._found, self._advised, width=min(options.max_width, 100))
        for line in text.splitlines():
            yield Text(line, no_wrap=True, overflow="ignore")


def _measured_rows(job: Job, found: Measurement, demanded: Demand | None) -> Iterator[Row]:
    now, bench_plan, throughput = found.summary.this_run, found.bench_plan, found.throughput
    yield "job", Text.assemble((job.name, "bold"), f", {job.source.described}")
    paid = f", {usd(now.spent_micros)}" if now.spent_micros else ""
    yield "measured", f"{formatting.count(now.calls)} calls in {formatting.duration(_measured_s(found))}{paid}"
    refused = f"; {formatting.count(found.samples.refused)} images refused" if found.samples.refused else ""
    if found.samples.seconds:
        yield (
            "",
            f"labels of {formatting.count(found.samples.latencies.total())} images kept, free for the run{refused}",
        )
    if (early := _early(found)) is not None:
        yield "", Text(early, "yellow")
    if found.summary.error:
        yield "", Text(found.summary.error, "red")
    yield "", ""
    if bench_plan.quota is not None:
        yield "quota", f"{formatting.tps(bench_plan.quota.tps)} calls a second ({bench_plan.quota.origin})"
        if bench_plan.quota.reason:
            yield "", Text(bench_plan.quota.reason, "dim")
    if throughput is None:
        yield "accepted", "not known: too few calls were made"
    else:
        yield from _throughput_rows(found, throughput)
        yield from _unit_rows(found, demanded)


def _unit_rows(found: Measurement, demanded: Demand | None) -> Iterator[Row]:
    """What an inference unit of the model takes, and how many a wanted rate needs."""
    unit, unit_tps = found.bench_plan.unit, found.unit_tps
    if unit is None or unit_tps is None:
        return
    count = "1 unit" if unit.units == 1 else f"{unit.units} units"
    at_least = "" if found.is_unit_limit else "at least "
    yield "units", Text.assemble(f"{count} x {at_least}", (formatting.tps(unit_tps), "bold"), " calls a second")
    if not found.is_unit_limit:
        yield "", Text("the units were not the limit: a unit may take more", "dim")
    wanted_tps = _wanted_tps(found, demanded)
    if wanted_tps is not None:
        needed = units_for(wanted_tps, unit_tps)
        price = f"{usd(needed * unit.hour_micros)} an hour"
        units = "1 unit" if needed == 1 else f"{'' if found.is_unit_limit else 'at most '}{needed} units"
        yield "", f"{formatting.tps(wanted_tps)} calls a second need {units}, {price}"


def _throughput_rows(found: Measurement, throughput: Throughput) -> Iterator[Row]:
    at_least = "at least " if throughput.bound is not Bound.QUOTA else ""
    yield (
        "accepted",
        Text.assemble(
            at_least,
            (formatting.tps(throughput.measured_tps), "bold"),
            f" calls a second, the mean of the last {throughput.window_s} s",
        ),
    )
    if throughput.is_steady:
        yield "", Text(_bound_word(throughput, found.bench_plan), "dim")
    else:
        yield "", Text("not steady: the measurement was too short to find the rate", "yellow")
    throttled = formatting.share(throughput.throttled_share, 1)
    yield (
        "throttled",
        f"{throttled} of the attempts in that time, {formatting.count(found.summary.this_run.throttled)} in total",
    )
    if found.samples.unanswered:
        yield "failed", f"{formatting.count(found.samples.unanswered)} attempts timed out or had a transient error"
    yield "latency", f"{throughput.p50_ms} ms (p50), {throughput.p90_ms} ms (p90), {throughput.p99_ms} ms (p99)"
    yield (
        "in flight",
        f"{throughput.in_flight:.1f} on average, {formatting.count(throughput.peak_in_flight)} at most",
    )


def _bound_word(throughput: Throughput, bench_plan: BenchPlan) -> str:
    if throughput.bound is Bound.QUOTA:
        return f"higher rates were throttled; the highest rate tried was {formatting.tps(bench_plan.ceiling_tps)}"
    if throughput.bound is Bound.CEILING:
        return f"the limit was not reached: try a higher rate with --tps {2 * bench_plan.ceiling_tps:g}"
    return "the limit was not reached: no more calls were made; check limits.concurrency, and this machine's load"


def _measured_s(found: Measurement) -> float:
    return found.bench_plan.seconds_s if found.is_time_up else float(len(found.samples.seconds))


def _early(found: Measurement) -> str | None:
    """Why the measurement ended before its time; None when it did not."""
    if found.is_time_up:
        return None
    reason = found.summary.stop_reason
    if reason is StopReason.COMPLETED:
        known = found.summary.this_run.from_checkpoint
        known_too = f"; {formatting.count(known)} had labels already and are not counted" if known else ""
        return (
            f"too few images: the listing ended before its {formatting.duration(found.bench_plan.seconds_s)}{known_too}"
        )
    if reason is StopReason.BUDGET:
        return f"the budget was spent before its {formatting.duration(found.bench_plan.seconds_s)}"
    return messages.STOP_REASONS[reason]


def _request_rows(job: Job, found: Measurement, demanded: Demand | None) -> Iterator[Row]:
    bench_plan = found.bench_plan
    profile = PROFILES[job.detector.kind]
    yield "service", f"{SERVICE_CODE}, quota {profile.quota_code}, {profile.operation}"
    yield "region", bench_plan.region
    yield "now", f"{formatting.tps(bench_plan.quota.tps) if bench_plan.quota else 'no'} calls a second"
    if demanded is None:
        yield "wanted", "--within HOURS shows the rate that this job needs"
    else:
        yield from _demand_rows(demanded)
    yield "image size", f"{formatting.size(round(found.samples.mean_bytes))} on average"
    for index, practice in enumerate(PRACTICES):
        yield ("practices" if not index else ""), practice


def _demand_rows(demanded: Demand) -> Iterator[Row]:
    hours = formatting.duration(demanded.within_s)
    needed = f"{formatting.count(demanded.needed_tps)} calls a second"
    of_all = f"{formatting.count(demanded.images)} images left, in {hours}"
    if demanded.is_met:
        yield "wanted", f"no more: {of_all}, need {needed}"
    elif demanded.is_within_quota:
        yield "wanted", f"no more: {of_all}, need {needed}, which the quota allows; other programs may use it"
    else:
        yield "wanted", Text.assemble((needed, "bold"), f": {of_all}")
        yield "peak", f"{formatting.count(demanded.peak_calls)} calls, spread over {SPREAD_S} s"
    yield "", f"{formatting.duration(demanded.duration_s)} at the rate accepted now"
