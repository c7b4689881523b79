"""The rules that an audit measures: keep rules by number, each with its floor and a digest of its population."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence

import msgspec

from asyncfilter.errors import NothingToWorkOnError, UsageError
from asyncfilter.job.fingerprint import identity
from asyncfilter.job.spec import Assumed, Condition, Job, Rule, nested_conditions
from asyncfilter.model import Verdict
from asyncfilter.policy.scores import one_threshold, why_no_score
from asyncfilter.records.draws import MeasuredRule

_REQUEST = frozenset(
    f"detector.{key}"
    for key in (
        *("kind", "model", "min_confidence", "max_labels", "features"),
        *("labels", "preprocess", "output", "scores"),  # of a model of one's own alone
    )
)
"""What the labels of an image depend on, and so its scores; not the region."""


def measured_rules(
    job: Job, known: Job, *, numbers: Sequence[int] | None = None, floor: float | None = None
) -> tuple[MeasuredRule, ...]:
    """The rules to measure, by number.

    Args:
        job: As in its file.
        known: The same with names in place of references, and with thresholds in place of ``confidence: assumed``.
        numbers: Those of the rules, from 0; None for every keep rule that has a score.
        floor: In place of each rule's own; percent.

    Raises:
        UsageError: A number is that of no keep rule, or the floor does not fit a rule.
        NothingToWorkOnError: No keep rule has a score.
    """
    if numbers is None:
        numbers = [number for number, rule in enumerate(job.rules) if _is_measured(rule)]
        if not numbers:
            raise _nothing_to_measure(job)
    return tuple(_measured(job, known, number, floor) for number in sorted(set(numbers)))


def _is_measured(rule: Rule) -> bool:
    return rule.verdict is Verdict.KEEP and why_no_score(rule) is None


def _measured(job: Job, known: Job, number: int, floor: float | None) -> MeasuredRule:
    rule = _keep_rule(job, number)
    present, asks = _present(known.rules[number]), _asking(job, number)
    why = why_no_score(rule)
    if floor is not None and why is not None:
        raise UsageError(f"--floor: rules[{number}] {why}, so that it has no score", hint="Leave out --floor.")
    if floor is not None and floor > present:
        raise UsageError(
            f"--floor: expected at most the confidence of rules[{number}], {present:g}, found {floor:g}",
            hint="Give a lower floor: images below it are not asked as candidates for the rule.",
        )
    lowest = present if asks is None or why is not None else min(present, _present(job.rules[asks]))
    return MeasuredRule(
        rule=number,
        population=population_digest(known, number),
        present=present,
        floor=lowest if floor is None else floor,
        has_score=why is None,
        asks=None if why is not None else asks,
    )


def _keep_rule(job: Job, number: int) -> Rule:
    if not 0 <= number < len(job.rules):
        last = len(job.rules) - 1
        raise UsageError(f"--rule: expected a number from 0 to {last}, found {number}", hint="Rules count from 0.")
    if job.rules[number].verdict is not Verdict.KEEP:
        keep = [str(index) for index, rule in enumerate(job.rules) if rule.verdict is Verdict.KEEP]
        raise UsageError(
            f"--rule {number}: expected a keep rule, found {job.rules[number].verdict}",
            hint=f"The keep rules are {', '.join(keep)}." if keep else "The job has no keep rule.",
        )
    return job.rules[number]


def _present(rule: Rule) -> float:
    """The rule's threshold; of several the lowest."""
    only = one_threshold(rule)
    if only is not None:
        return only
    found: list[float] = []
    for condition in nested_conditions(rule.conditions):
        pct = condition.confidence_pct
        found += [of for _, of in pct.thresholds_pct or ()] if isinstance(pct, Assumed) else [pct]
    return min(found, default=0.0)


def _asking(job: Job, number: int) -> int | None:
    """The later review rule with the same condition; of several that with the lowest threshold."""
    wanted = without_confidence(job.rules[number].conditions)
    found = [
        (threshold, index)
        for index, rule in enumerate(job.rules)
        if index > number and rule.verdict is Verdict.REVIEW and without_confidence(rule.conditions) == wanted
        if (threshold := one_threshold(rule)) is not None
    ]
    return min(found)[1] if found else None


def without_confidence(conditions: Sequence[Condition]) -> tuple[Condition, ...]:
    """The conditions with the same confidence in all, to compare what else they say."""
    return tuple(
        dataclasses.replace(condition, confidence_pct=0.0, not_=without_confidence(condition.not_))
        for condition in conditions
    )


def population_digest(known: Job, number: int) -> str:
    """A digest of what makes the population of a rule and its scores, except a threshold that can be moved.

    That is its condition, the rules before it, and the request to the detector.

    Args:
        known: The job, with names in place of references.
        number: Of the rule.
    """
    rule = known.rules[number]
    is_movable = why_no_score(rule) is None
    own = without_confidence(rule.conditions) if is_movable else rule.conditions
    before = [earlier.conditions for earlier in known.rules[:number]]
    request = {key: value for key, value in identity(known).items() if key in _REQUEST}
    return hashlib.sha256(msgspec.json.encode([before, own, request], order="deterministic")).hexdigest()


def _nothing_to_measure(job: Job) -> NothingToWorkOnError:
    keep = {index: rule for index, rule in enumerate(job.rules) if rule.verdict is Verdict.KEEP}
    if not keep:
        return NothingToWorkOnError("the job has no keep rule to measure", hint="Add a keep rule.")
    number, rule = next(iter(keep.items()))
    return NothingToWorkOnError(
        f"no keep rule has a score: rules[{number}] {why_no_score(rule)}",
        hint=f"Measure it as it stands: --rule {number}.",
    )
