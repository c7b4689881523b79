"""Rules that can never match for what labels have to do with each other: other names, categories and ancestors.

AWS's list has the other names and the category of each label. Ancestors (Robin is a Bird, a Bird is an Animal) are not
published: the answers tell them, each of which has the ancestors of its labels as labels of their own, at no less
confidence. What the answers say of a label takes the place of what the list says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from asyncfilter.job.spec import Condition, Job, Rule, nested_conditions
from asyncfilter.model import Label
from asyncfilter.policy.cautions.rule_logic import Follows
from asyncfilter.policy.cautions.rules import Reachable
from asyncfilter.policy.label_list import LabelList

Subject = tuple[str, str]
"""``name`` or ``category``, and the casefolded name."""

Kin = Mapping[str, frozenset[Subject]]
"""What surely holds with a name, by the casefolded name."""

_NAME, _CATEGORY = "name", "category"
_SAID = {_NAME: "is always labelled", _CATEGORY: "is in the category"}
_MOST_REASONS = 3
_MOST_NAMES = 200
"""Names and rules, up to which the proofs take some hundredths of a second: a run waits for them."""
_RULE_SIZE = 5
"""A rule counts like so many names."""


def kin_in_answers(labels: Iterable[Label]) -> Kin:
    """What holds with each name in answers, as far as all labels that have the name agree."""
    found: dict[str, frozenset[Subject]] = {}
    for label in labels:
        names = {name.casefold() for name in (label.name, *label.aliases)}
        others = {(_NAME, name) for name in names.union(map(str.casefold, label.parents))}
        subjects = frozenset(others | {(_CATEGORY, name.casefold()) for name in label.categories})
        for name in names:
            found[name] = found.get(name, subjects) & subjects
    return found


def has_order(job: Job) -> bool:
    """Whether a rule can stand in the way of another, or of itself."""
    conditions = [condition for rule in job.rules for condition in nested_conditions(rule.conditions)]
    return len(job.rules) > 1 or any(condition.none or condition.not_ for condition in conditions)


def hidden_rules(job: Job, listed: LabelList, seen: Kin) -> dict[int, str]:
    """One sentence for each rule that can match only when labels are independent of each other, by its index.

    Args:
        job: The job.
        listed: The published labels.
        seen: What the answers say.
    """
    if not has_order(job):
        return {}

    def follows(name: str) -> frozenset[Subject]:
        return seen[name] if name in seen else listed.kin.get(name, frozenset())

    if not _are_related(job, follows) or _size(job) > _MOST_NAMES:
        return {}
    related = Reachable(job, follows)
    hidden = related.reasons.keys() - Reachable(job).reasons.keys()
    return {
        index: related.reasons[index] + _because(job, index, listed, kin={**listed.kin, **seen})
        for index in sorted(hidden)
    }


def _are_related(job: Job, follows: Follows) -> bool:
    """Whether a name in the rules has to do with another one, or with a category, in the rules."""
    wanted = _subjects(job.rules)
    return any(
        subject in wanted and subject != (kind, name)
        for kind, name in wanted
        if kind == _NAME
        for subject in follows(name)
    )


def _size(job: Job) -> int:
    conditions = [one for rule in job.rules for one in nested_conditions(rule.conditions)]
    return _RULE_SIZE * len(job.rules) + sum(len(list(_of(one))) for one in conditions)


def _subjects(rules: Iterable[Rule]) -> set[Subject]:
    return {subject for rule in rules for one in nested_conditions(rule.conditions) for subject in _of(one)}


def _because(job: Job, index: int, listed: LabelList, *, kin: Kin) -> str:
    """The kinship between names of a rule and those of the rules up to it."""
    wanted = _subjects(job.rules[: index + 1])
    found = [
        f"{name} {_SAID[kind]} {(listed.categories if kind == _CATEGORY else listed.names).get(other, other)!r}"
        for one in nested_conditions(job.rules[index].conditions)
        for name in (*one.any, *one.all)
        for kind, other in sorted(kin.get(name.casefold(), ()))
        if (kind, other) in wanted and other != name.casefold()
    ]
    return f" ({'; '.join(dict.fromkeys(found[:_MOST_REASONS]))})" if found else ""


def _of(condition: Condition) -> Iterable[Subject]:
    yield from ((_NAME, name.casefold()) for name in (*condition.any, *condition.all, *condition.none))
    yield from ((_CATEGORY, name.casefold()) for name in condition.category)
