"""Warnings about a job: settings that are allowed but seldom intended."""

from __future__ import annotations

from asyncfilter.job.spec import Job, Order, nested_conditions

PREFIX_IS_NO_SAMPLE = (
    "stop.hit_rate with source.order: listing: images that stand together in a listing are alike, so its beginning is "
    "no sample of the rest; set source.order: random to make the confidence true"
)


def job_warnings(job: Job) -> list[str]:
    """One sentence each; most jobs have none."""
    found = []
    if job.stop.hit_rate is not None and job.source.order is Order.LISTING:
        found.append(PREFIX_IS_NO_SAMPLE)
    least_pct = job.detector.min_confidence_pct
    for index, rule in enumerate(job.rules):
        asked_pct = min(
            (condition.confidence_pct for condition in nested_conditions(rule.conditions)), default=least_pct
        )
        if asked_pct < least_pct:
            found.append(
                f"rules[{index}] asks for labels from confidence {asked_pct:g} on, but detector.min_confidence: "
                f"{least_pct:g} has the service leave out those below it, for this rule and for any later one"
            )
    return found
