"""Cautions about a job: settings that are allowed but seldom intended. None of them stops a run.

Each is one sentence. ``run``, ``refilter``, ``plan`` and ``status`` show them. What depends on prices, on the
checkpoint or on the account is in ``cautions.at_start``.
"""

from __future__ import annotations

from asyncfilter.job.spec import Job
from asyncfilter.policy.cautions.actions import odd_targets, unreachable_actions
from asyncfilter.policy.cautions.globs import odd_globs
from asyncfilter.policy.cautions.label_names import KnownNames, name_findings
from asyncfilter.policy.cautions.rules import (
    Reachable,
    few_labels,
    least_confidence,
    odd_conditions,
    one_verdict,
    open_areas,
)
from asyncfilter.policy.cautions.settings import (
    odd_limits,
    odd_prices,
    odd_stops,
    unreadable_formats,
)


def warnings_before_answers(job: Job) -> list[str]:
    """All that can be said of a job file alone: also names that are not on the published list of labels."""
    return [*name_findings(job, KnownNames()).values(), *job_warnings(job)]


def job_warnings(job: Job) -> list[str]:
    """One sentence each; most jobs have none."""
    reachable = Reachable(job)
    return [
        *odd_conditions(job),
        *reachable.cautions,
        *one_verdict(reachable),
        *open_areas(job),
        *least_confidence(job),
        *few_labels(job),
        *odd_globs(job),
        *unreadable_formats(job),
        *unreachable_actions(job, reachable.verdicts),
        *odd_targets(job),
        *odd_stops(job, reachable.verdicts),
        *odd_limits(job),
        *odd_prices(job),
    ]
