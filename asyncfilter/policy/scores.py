"""The score of an image for a rule: the largest threshold, in percent, at which the rule would still hold.

So a rule with one threshold t takes an image exactly when the image's score is at least t (at t = 0 also images without
the label, whose score is 0). ``any`` and ``category`` count by their best label, ``all`` by its worst, ``count`` by
its m-th best instance, ``area`` by the best box that is large enough; of several parts or conditions the least counts.

Some rules have no score, since raising their threshold can let more images through: those with ``none``, ``not`` or a
``max``. Nor have those with ``like``, whose names depend on the confidence, and those without one threshold for all of
their conditions: each would move by itself, and ``confidence: assumed`` is a number for each label.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import nlargest

from asyncfilter.job.spec import Area, Assumed, Condition, Count, Rule
from asyncfilter.policy.rules import SeenLabels

Score = Callable[[SeenLabels], float]
"""The score of an image, 0 to 100, from what ``Ruleset.collect`` has read of it."""

ABSENT_PCT = 0.0
"""Score of an image that lacks what a rule asks for."""

ALWAYS_PCT = 100.0
"""Score of a part that holds at any threshold, such as a count of at least 0."""


def one_threshold(rule: Rule) -> float | None:
    """The confidence that all conditions of a rule have, percent; None where they differ or are ``assumed``."""
    found = {condition.confidence_pct for condition in rule.conditions}
    only = found.pop() if len(found) == 1 else None
    return None if isinstance(only, Assumed) else only


def why_no_score(rule: Rule) -> str | None:
    """Why a rule has no score, as the end of a sentence about it; None when it has one."""
    for condition in rule.conditions:
        for name, part in (("none", condition.none), ("not", condition.not_), ("like", condition.like)):
            if part:
                return f"has {name}"
        for name, measured in (("count", condition.count), ("area", condition.area)):
            if measured is not None and measured.max is not None:
                return f"has {name} with max"
    if any(isinstance(condition.confidence_pct, Assumed) for condition in rule.conditions):
        return "has confidence: assumed"
    return "has conditions with different confidences" if one_threshold(rule) is None else None


def score_of(rule: Rule) -> Score | None:
    """The score of images for ``rule``; None when it has none."""
    if why_no_score(rule) is not None:
        return None
    return _least([part for condition in rule.conditions for part in _parts(condition)])


def _parts(condition: Condition) -> list[Score]:
    parts = [_of_name(name) for name in condition.all]
    if condition.any:
        parts.append(_best([_of_name(name) for name in condition.any]))
    if condition.category:
        parts.append(_best([_of_category(name) for name in condition.category]))
    if condition.count is not None:
        parts.append(_of_count(condition.count))
    if condition.area is not None:
        parts.append(_of_area(condition.area))
    return parts


def _of_name(name: str) -> Score:
    folded = name.casefold()
    return lambda seen: seen.names.get(folded, ABSENT_PCT)


def _of_category(name: str) -> Score:
    folded = name.casefold()
    return lambda seen: seen.categories.get(folded, ABSENT_PCT)


def _of_count(count: Count) -> Score:
    """The confidence of the instance by which the count is reached."""
    label, wanted = count.label.casefold(), count.min

    def score(seen: SeenLabels) -> float:
        if not wanted:
            return ALWAYS_PCT
        best = nlargest(wanted, (instance.confidence_pct for instance in seen.instances.get(label, ())))
        return best[-1] if len(best) == wanted else ABSENT_PCT

    return score


def _of_area(area: Area) -> Score:
    """The best confidence of the boxes that are large enough."""
    label, least = area.label.casefold(), area.min

    def score(seen: SeenLabels) -> float:
        if not least:
            return ALWAYS_PCT
        enough = (one.confidence_pct for one in seen.instances.get(label, ()) if one.box.area >= least)
        return max(enough, default=ABSENT_PCT)

    return score


def _best(scores: Sequence[Score]) -> Score:
    return scores[0] if len(scores) == 1 else lambda seen: max(score(seen) for score in scores)


def _least(scores: Sequence[Score]) -> Score:
    if not scores:
        return lambda _: ALWAYS_PCT
    return scores[0] if len(scores) == 1 else lambda seen: min(score(seen) for score in scores)
