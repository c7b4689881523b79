"""Warnings about a job: settings that are allowed but seldom intended."""

from __future__ import annotations

from asyncfilter.job.spec import Job, Order, nested_conditions

PREFIX_IS_NO_SAMPLE = (
    "stop.hit_rate with source.order: listing: neighbouring images of a listing are alike, so its beginning is "
    "no random sample of the rest; set source.order: random, for which the confidence holds"
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
                f"rules[{index}] needs labels from confidence {asked_pct:g} on, but with detector.min_confidence: "
                f"{least_pct:g} the service leaves out those below it, for this rule and for any later one"
            )
    return found
