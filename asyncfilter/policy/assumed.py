"""``confidence: assumed``: the thresholds that the evaluation of a Custom Labels model has, in the rules of a job.

A model version never changes, and neither do its thresholds. They replace the word before the first decision, so that
they are part of what decides (``job.fingerprint``).
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Iterator, Mapping

from asyncfilter.errors import UsageError
from asyncfilter.job.spec import Assumed, Condition, Job, nested_conditions
from asyncfilter.records.known_model import KnownModel


def uses_assumed(job: Job) -> bool:
    """Whether a rule has ``confidence: assumed``."""
    return any(True for _ in _assumed(job))


def has_unknown_thresholds(job: Job) -> bool:
    """Whether a rule has ``confidence: assumed``, and no thresholds have replaced it."""
    return any(one.thresholds_pct is None for one in _assumed(job))


def with_thresholds(job: Job, thresholds: Mapping[str, float | None]) -> Job:
    """The job with thresholds in place of ``confidence: assumed``.

    Args:
        job: The job.
        thresholds: By label, 0 to 1; None for a label without one.

    Raises:
        UsageError: A rule needs the threshold of a label that has none.
    """
    if not uses_assumed(job):
        return job
    known: dict[str, float] = {}
    for label, threshold in thresholds.items():
        if threshold is not None:  # names in rules match labels in any case: the lower one of several counts
            folded, pct = label.casefold(), round(100 * threshold, 6)
            known[folded] = min(pct, known.get(folded, pct))
    assumed = Assumed(thresholds_pct=tuple(sorted(known.items())))
    for where, label in _needed(job):
        if label.casefold() not in known:
            raise _without_threshold(where, label, thresholds, known)
    rules = (dataclasses.replace(rule, conditions=_replaced(rule.conditions, assumed)) for rule in job.rules)
    return dataclasses.replace(job, rules=tuple(rules))


def with_stored_thresholds(job: Job, stored: KnownModel) -> Job:
    """The job with the thresholds of its checkpoint; no service is called.

    Raises:
        UsageError: The checkpoint has none.
    """
    if uses_assumed(job) and not stored.labels:
        raise UsageError(
            "confidence: assumed: the thresholds of the model are not known yet, and no service is called here",
            hint="Run the job once (asyncfilter run): it reads them first.",
        )
    return with_thresholds(job, stored.labels)


def stored_thresholds_in(job: Job, stored: KnownModel) -> dict[str, float]:
    """The thresholds in percent that the rules would have by a checkpoint; empty where it does not know them all."""
    try:
        return thresholds_in(with_stored_thresholds(job, stored))
    except UsageError:
        return {}


def limited(condition: Condition) -> Condition:
    """The condition with the thresholds of its own labels alone: others decide nothing.

    References keep all, since their labels are not known before they are examined.
    """
    assumed = condition.confidence_pct
    if not isinstance(assumed, Assumed) or assumed.thresholds_pct is None or condition.like:
        return condition
    own = {label.casefold() for label in _labels(condition)}
    found = tuple((label, pct) for label, pct in assumed.thresholds_pct if label in own)
    return dataclasses.replace(condition, confidence_pct=Assumed(thresholds_pct=found))


def thresholds_in(job: Job) -> dict[str, float]:
    """The thresholds in percent that stand in the rules, by label as the rules write it."""
    found: dict[str, float] = {}
    for rule in job.rules:
        for condition in nested_conditions(rule.conditions):
            if isinstance(condition.confidence_pct, Assumed):
                pcts = ((label, condition.least_pct(label)) for label in _labels(condition))
                found |= {label: pct for label, pct in pcts if pct is not None}
    return found


def _assumed(job: Job) -> Iterator[Assumed]:
    for rule in job.rules:
        for condition in nested_conditions(rule.conditions):
            if isinstance(condition.confidence_pct, Assumed):
                yield condition.confidence_pct


def _needed(job: Job) -> Iterator[tuple[str, str]]:
    """The labels that need a threshold, each with the place of its rule."""
    for index, rule in enumerate(job.rules):
        for condition in nested_conditions(rule.conditions):
            if isinstance(condition.confidence_pct, Assumed):
                yield from ((f"rules[{index}].{rule.verdict}", label) for label in _labels(condition))


def _labels(condition: Condition) -> Iterator[str]:
    yield from (*condition.any, *condition.all, *condition.none)
    yield from (part.label for part in (condition.count, condition.area) if part is not None)


def _replaced(conditions: Iterable[Condition], assumed: Assumed) -> tuple[Condition, ...]:
    found = []
    for condition in conditions:
        changed = dataclasses.replace(condition, not_=_replaced(condition.not_, assumed))
        if isinstance(condition.confidence_pct, Assumed):
            changed = limited(dataclasses.replace(changed, confidence_pct=assumed))
        found.append(changed)
    return tuple(found)


def _without_threshold(
    where: str, label: str, thresholds: Mapping[str, float | None], known: Mapping[str, float]
) -> UsageError:
    is_label = label.casefold() in {name.casefold() for name in thresholds}
    why = "has no threshold in its evaluation" if is_label else "is none of its labels"
    usable = {name.casefold(): name for name in thresholds if name.casefold() in known}
    near = difflib.get_close_matches(label.casefold(), usable, n=1, cutoff=0.0)
    nearest = f"Write {usable[near[0]]!r}, the nearest label that has one, or" if near and not is_label else "Write"
    return UsageError(
        f"{where}: confidence: assumed stands for thresholds of the model, and {label!r} {why}",
        hint=f"{nearest} a number as the confidence of {label!r}.",
    )
