"""The expected result of a job, for people and for scripts: listing, forecast, and estimates from a sample."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator

from rich.console import RenderableType

from asyncfilter.job.spec import Job
from asyncfilter.model import StopReason
from asyncfilter.policy.by_hand import OWN_SOURCE, PEOPLE, ReviewByPeople
from asyncfilter.policy.forecast import CostForecast, Estimate, Estimates, PlanResult
from asyncfilter.policy.throughput import price_micros
from asyncfilter.policy.units import LIKELY_START_S, compared
from asyncfilter.report import formatting, messages
from asyncfilter.report.as_json import answers_state_mapping, counts_mapping, nothing_mapping
from asyncfilter.report.formatting import usd, usd_number
from asyncfilter.report.program import program
from asyncfilter.report.terminal.facts import Facts
from asyncfilter.report.terminal.people import waiting
from asyncfilter.report.terminal.text import Text

Row = tuple[str, str | Text]

_SAMPLE = 200
"""Images that are suggested for a sample: enough for a hit rate within some seven percent."""

# -- For scripts -------------------------------------------------------------------------------------------------------


def plan_mapping(job: Job, found: PlanResult) -> dict[str, object]:
    """The whole plan, with the names of the summary for all that a summary has too; shares are fractions."""
    survey, terms, checkpoint_totals = (
        found.plan_inputs.survey,
        found.plan_inputs.terms,
        found.plan_inputs.checkpoint_totals,
    )
    forecast, budget, nothing = found.forecast, job.limits.budget_micros, found.plan_inputs.nothing
    return {
        "name": job.name,
        "listed": survey.listed,
        "skipped": survey.skipped,
        "candidates": survey.candidates,
        "size_bytes": survey.size_bytes,
        "known": survey.settled + survey.waiting,
        "unpaid": survey.unpaid,
        "same_content": survey.shared,
        "calls": forecast.calls,
        "cost_usd": usd_number(forecast.cost_micros),
        "hours": None if forecast.duration_s is None else round(forecast.duration_s / 3600, 4),
        "ends": forecast.ends.value,
        "whole_cost_usd": usd_number(forecast.whole_micros),
        "by_hand_usd": [usd_number(micros) for micros in forecast.by_hand.cost_micros],
        "by_hand": _by_hand_mapping(forecast.by_hand),
        "spent_usd": usd_number(checkpoint_totals.spent_micros),
        "budget_usd": None if budget is None else usd_number(budget),
        "max_images": job.limits.max_images,
        "tps": terms.limit_tps,
        "tps_origin": terms.tps_origin,
        "used_this_month": job.pricing.used_this_month,
        "billed_this_month": terms.used,
        "price_source": terms.prices.source,
        "price_is_estimate": terms.prices.is_estimate,
        "thresholds": dict(found.plan_inputs.thresholds_pct),
        "answers": answers_state_mapping(found.plan_inputs.answers),
        **_units_mapping(found),
        **_lanes_mapping(found),
        "cautions": list(found.cautions),
        "nothing_to_examine": None if nothing is None else nothing_mapping(nothing),
        "sample": None if found.sample is None else _sample_mapping(found),
    }


def _lanes_mapping(found: PlanResult) -> dict[str, object]:
    """The lanes, and the cost if the cheapest and if the dearest of them make all calls; nothing without lanes."""
    lanes, forecast = found.plan_inputs.terms.lanes, found.forecast
    if not lanes:
        return {}
    return {
        "cost_interval_usd": [usd_number(forecast.least_micros), usd_number(forecast.cost_micros)],
        "lanes": [
            {
                "name": lane.name,
                "region": lane.region,
                "account": lane.account,
                "tps": lane.tps,
                "origin": lane.origin,
                "by": lane.by,
                "price_usd": usd_number(lane.next_micros),
            }
            for lane in lanes
        ],
    }


def _units_mapping(found: PlanResult) -> dict[str, object]:
    unit = found.plan_inputs.terms.unit
    if unit is None:
        return dict.fromkeys(("unit_tps", "unit_tps_measured", "wanted_tps", "advised_units", "units"))
    return {
        "unit_tps": round(unit.unit_tps, 4),
        "unit_tps_measured": unit.is_measured,
        "wanted_tps": unit.wanted_tps,
        "advised_units": unit.advised_units,
        "units": [
            {
                "units": row.units,
                "tps": round(row.tps, 4),
                "hours": round(row.duration_s / 3600, 4),
                "usd": usd_number(row.cost_micros),
            }
            for row in compared(unit, found.plan_inputs.survey.calls)
        ],
    }


def _by_hand_mapping(review: ReviewByPeople) -> dict[str, object]:
    return {
        "people_per_image": PEOPLE,
        "hours": [round(hours, 2) for hours in review.hours],
        "hour_usd": usd_number(review.terms.hour_micros),
        "images_per_hour": review.terms.images_per_hour,
        "source": "; ".join(review.sources),
    }


def _sample_mapping(found: PlanResult) -> dict[str, object]:
    sample, estimates = found.sample, found.estimates
    if sample is None:
        return {}
    mapping: dict[str, object] = {
        "drawn": len(found.plan_inputs.survey.drawn),
        "stop_reason": sample.stop_reason.value,
        **counts_mapping(sample.this_run),
    }
    if estimates is not None:
        mapping |= {
            "confidence": estimates.confidence,
            "hit_rate": _estimate(estimates.hit_rate, lambda share: round(share, 6)),
            "failure_share": _estimate(estimates.failure_share, lambda share: round(share, 6)),
            "keep_total": _estimate(estimates.keep, round),
            "total_usd": _estimate(estimates.total_micros, _usd),
            "kept_usd": _estimate(estimates.kept_micros, _usd),
            "images_to_matches": None if estimates.to_matches is None else _estimate(estimates.to_matches, round),
        }
    return mapping


def _estimate(estimate: Estimate, number: Callable[[float], object]) -> dict[str, object]:
    return {
        "value": None if estimate.value is None else number(estimate.value),
        "low": number(estimate.low),
        "high": None if estimate.high is None else number(estimate.high),
    }


def _usd(micros: float) -> object:
    return usd_number(round(micros))


# -- For people --------------------------------------------------------------------------------------------------------


def draw_plan(job: Job, found: PlanResult) -> RenderableType:
    """A few lines for each: the listing, cost and time, the estimates from the sample."""
    return Facts(_rows(job, found))


def _rows(job: Job, found: PlanResult) -> Iterator[Row]:
    yield "job", Text.assemble((job.name, "bold"), f", {job.source.described}")
    yield from _listing_rows(found)
    yield from _threshold_rows(found)
    yield "", ""
    yield from _forecast_rows(job, found)
    if found.sample is not None:
        yield "", ""
        yield from _sample_rows(found)
    for message in found.cautions:
        yield "caution", Text(message, "yellow")
    if found.plan_inputs.nothing is not None:
        yield "next", found.plan_inputs.nothing.hint
        return
    path = shlex.quote(str(job.path or "JOB"))
    steps = [f"{program()} run {path}"]
    unpaid = found.plan_inputs.survey.unpaid
    if found.sample is None and unpaid:
        sample = f"{program()} plan {path} --sample {min(_SAMPLE, unpaid)}"
        steps.insert(0, f"{sample}   estimates how many match, before you pay for all")
    yield from zip(("next", ""), steps, strict=False)


def _listing_rows(found: PlanResult) -> Iterator[Row]:
    survey = found.plan_inputs.survey
    yield "listed", f"{formatting.count(survey.listed)} objects"
    for index, (reason, number) in enumerate(sorted(survey.skipped.items(), key=lambda item: -item[1])):
        yield ("skipped" if not index else ""), f"{formatting.count(number)} {messages.skip(reason)}"
    size = f", {formatting.size(survey.size_bytes)}" if survey.size_bytes or not survey.candidates else ""
    yield "images", f"{formatting.count(survey.candidates)}{size}"
    if survey.settled or survey.waiting:
        cached = f"; the labels of {formatting.count(survey.waiting)} are not used yet" if survey.waiting else ""
        yield "", f"{formatting.count(survey.settled + survey.waiting)} in the checkpoint already: free{cached}"
    answers = found.plan_inputs.answers
    if answers is not None:
        yield "answers", f"{waiting(answers) or 'all are taken over'} ({answers.file})"
    if survey.shared:
        yield "", f"{formatting.count(survey.shared)} with the content of another image: free"
    yield "", f"{formatting.count(survey.calls)} to pay for"


def _forecast_rows(job: Job, found: PlanResult) -> Iterator[Row]:
    forecast, terms, checkpoint_totals = found.forecast, found.plan_inputs.terms, found.plan_inputs.checkpoint_totals
    estimate = " (price is an estimate)" if terms.prices.is_estimate else ""
    least = f"{usd(forecast.least_micros)} to " if forecast.least_micros < forecast.cost_micros else ""
    yield (
        "cost",
        Text.assemble(
            least or "at most ",
            (usd(forecast.cost_micros), "bold"),
            f" for {formatting.count(forecast.calls)} calls{estimate}",
        ),
    )
    yield "", Text(f"{_price(found)}; {terms.prices.source}", "dim")
    if job.detector.start is not None:
        begun = usd(price_micros(terms, 0, LIKELY_START_S))
        yield "", f"and while the run starts and stops its model: some {LIKELY_START_S / 60:.0f} minutes, {begun}"
    budget = job.limits.budget_micros
    if budget is not None:
        spent = f", {usd(checkpoint_totals.spent_micros)} of it spent" if checkpoint_totals.spent_micros else ""
        yield "budget", f"{usd(budget)}{spent}{_budget_word(forecast)}"
    if forecast.ends is StopReason.MAX_IMAGES:
        limit = formatting.count(job.limits.max_images or 0)
        all_cost = usd(forecast.whole_micros)
        yield "limit", f"limits.max_images ends the run at {limit} images; all images would cost {all_cost}"
    yield "time", _time(found)
    yield from _lane_rows(found)
    yield from _unit_rows(found)
    yield from _by_hand_rows(forecast.by_hand)


def _lane_rows(found: PlanResult) -> Iterator[Row]:
    """Where the calls may be made, how fast, and at what price."""
    for index, lane in enumerate(found.plan_inputs.terms.lanes):
        rate = (
            "as fast as it allows" if lane.tps is None else f"{formatting.tps(lane.tps)} calls a second ({lane.origin})"
        )
        account = "" if lane.account is None else f", account {lane.account}"
        price = f"{usd(1000 * lane.next_micros)} a thousand from the next image on"
        yield (
            ("" if index else "lanes"),
            Text.assemble((lane.name, "bold"), f": {lane.region}{account}, {rate}, by {lane.by}, {price}"),
        )


def _unit_rows(found: PlanResult) -> Iterator[Row]:
    """What one to five inference units would do and cost."""
    unit = found.plan_inputs.terms.unit
    if unit is None:
        return
    for row in compared(unit, found.plan_inputs.survey.calls):
        count = "1 unit" if row.units == 1 else f"{row.units} units"
        rate = f"{formatting.tps(row.tps)} calls a second"
        line = f"{count}: {rate}, {formatting.duration(row.duration_s)}, {usd(row.cost_micros)}"
        yield ("units" if row.units == 1 else ""), Text(line, "bold" if row.units == unit.units else "")
    yield "", Text(f"{formatting.tps(unit.unit_tps)} calls a second for each unit, {unit.origin}", "dim")
    if unit.advised_units is not None:
        needed = "1 unit" if unit.advised_units == 1 else f"{unit.advised_units} units"
        yield "", f"limits.tps: {formatting.tps(unit.wanted_tps or 0)} calls a second need {needed}"


def _threshold_rows(found: PlanResult) -> Iterator[Row]:
    """What ``confidence: assumed`` stands for."""
    if found.plan_inputs.thresholds_pct:
        yield "assumed", formatting.thresholds(found.plan_inputs.thresholds_pct)


def _by_hand_rows(review: ReviewByPeople) -> Iterator[Row]:
    low, high = review.cost_micros
    people = f"{PEOPLE[0]} to {PEOPLE[1]} people look at each image"
    pace = f"{review.terms.images_per_hour:,.0f} an hour at {usd(review.terms.hour_micros)} an hour"
    yield "by hand", f"{usd(low)} to {usd(high)}, {_work(*review.hours)}: {people}, {pace}"
    own = "" if OWN_SOURCE in review.sources else " (your own: pricing.by_hand)"
    yield "", Text(f"{'; '.join(review.sources)}{own}", "dim")


def _work(least_hours: float, most_hours: float) -> str:
    if most_hours < 1:
        return f"{60 * least_hours:.0f} to {60 * most_hours:.0f} minutes"
    return f"{least_hours:,.1f} to {most_hours:,.1f} hours"


def _price(found: PlanResult) -> str:
    terms = found.plan_inputs.terms
    if terms.hourly_micros:
        return f"{usd(terms.hourly_micros)} an hour while the model runs"
    return f"{usd(1000 * terms.prices.price_micros(terms.used + 1))} a thousand from the next image on"


def _budget_word(forecast: CostForecast) -> str:
    if forecast.ends is StopReason.BUDGET:
        return f": ends the run before the end of the listing; all images would cost {usd(forecast.whole_micros)}"
    return ": enough"


def _time(found: PlanResult) -> str:
    forecast, terms = found.forecast, found.plan_inputs.terms
    if forecast.duration_s is None or terms.limit_tps is None:
        return "as fast as the detector allows"
    rate = f"{formatting.tps(terms.limit_tps)} calls a second ({terms.tps_origin})"
    return f"{formatting.duration(forecast.duration_s)} at {rate}"


def _sample_rows(found: PlanResult) -> Iterator[Row]:
    sample, estimates = found.sample, found.estimates
    if sample is None:
        return
    now, drawn = sample.this_run, len(found.plan_inputs.survey.drawn)
    short = (
        ""
        if now.examined == drawn
        else f" of {formatting.count(drawn)} drawn: {messages.STOP_REASONS[sample.stop_reason]}"
    )
    paid = f"{usd(now.spent_micros)} for {formatting.count(now.calls)} calls" if now.calls else "nothing to pay"
    yield "sample", Text.assemble((f"{formatting.count(now.examined)} images at random", "bold"), f"{short}, {paid}")
    yield "", f"{now.keep} keep, {now.review} review, {now.reject} reject, {sum(now.failed.values())} failed"
    if sample.error:
        yield "", Text(sample.error, "red")
    if estimates is not None:
        yield from _estimate_rows(estimates)


def _estimate_rows(estimates: Estimates) -> Iterator[Row]:
    yield "hit rate", _with_interval(estimates.hit_rate, _percent)
    yield "failures", _with_interval(estimates.failure_share, _percent)
    yield "kept", _with_interval(estimates.keep, lambda number: formatting.count(round(number)))
    yield "total", _with_interval(estimates.total_micros, _money)
    yield "each kept", _with_interval(estimates.kept_micros, _money)
    if estimates.to_matches is not None:
        yield (
            "to matches",
            _with_interval(estimates.to_matches, lambda number: f"{formatting.count(round(number))} images"),
        )
    yield "", Text(f"in parentheses: exact intervals, each with {100 * estimates.confidence:g} % confidence", "dim")


def _with_interval(estimate: Estimate, figure: Callable[[float], str]) -> Text:
    value = "no figure" if estimate.value is None else figure(estimate.value)
    high = "no limit" if estimate.high is None else figure(estimate.high)
    return Text.assemble((value, "bold"), f"  ({figure(estimate.low)} to {high})")


def _percent(share: float) -> str:
    return formatting.share(share, 1)


def _money(micros: float) -> str:
    return usd(round(micros))
