"""How near an image is to the thresholds of the rules, and why it is uncertain, in one line.

Pure. A rule's part is read where it compares a label's confidence with a threshold: ``any``, ``all``, ``category``,
``count`` and ``area``; what a rule forbids (``none``, ``not``) has thresholds too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from asyncfilter.job.spec import Area, Assumed, Condition, Count, Job, Rule, nested_conditions
from asyncfilter.model import Detection, Label, Verdict
from asyncfilter.review.rows import FAR


class Threshold(NamedTuple):
    """A confidence that a rule compares a label with.

    Attributes:
        rule: Number of the rule, from 0.
        verdict: Of that rule.
        names: Labels, casefolded; any one of them is meant.
        categories: Categories, casefolded.
        least_pct: The confidence, percent.
    """

    rule: int
    verdict: Verdict
    names: frozenset[str]
    categories: frozenset[str]
    least_pct: float

    def score(self, detection: Detection) -> tuple[float, str]:
        """The highest confidence among the labels that are meant, and its label; 0 and empty without one."""
        return max(
            ((label.confidence_pct, label.name) for label in detection.labels if self.is_about(label)),
            default=(0.0, ""),
        )

    def is_about(self, label: Label) -> bool:
        """Whether the rule compares this label."""
        if label.name.casefold() in self.names:
            return True
        if label.aliases and not self.names.isdisjoint(map(str.casefold, label.aliases)):
            return True
        return bool(self.categories) and not self.categories.isdisjoint(map(str.casefold, label.categories))


class Thresholds:
    """The thresholds of a job's rules.

    Args:
        job: The job; its references are resolved.
    """

    def __init__(self, job: Job) -> None:
        self._all = [found for number, rule in enumerate(job.rules) for found in _thresholds(number, rule)]
        self._rules = job.rules
        self._known: dict[tuple[str, tuple[str, ...]], tuple[int, ...]] = {}
        self._shown: dict[tuple[str, tuple[str, ...]], float | None] = {}

    def distance(self, detection: Detection | None) -> float:
        """How far the nearest score of an image is from its threshold, percent; ``FAR`` without a score."""
        if detection is None:
            return FAR
        scores: dict[int, float] = {}
        for label in detection.labels:
            for number in self._about(label):
                scores[number] = max(scores.get(number, 0.0), label.confidence_pct)
        return min((abs(score - self._all[number].least_pct) for number, score in scores.items()), default=FAR)

    def of_label(self, label: Label) -> float | None:
        """The threshold that a label is shown against: that of the first keep rule about it, else of the first rule."""
        named = (label.name, label.aliases)
        if named not in self._shown:
            about = [self._all[number] for number in self._about(label)]
            about.sort(key=lambda found: found.verdict is not Verdict.KEEP)
            self._shown[named] = about[0].least_pct if about else None
        return self._shown[named]

    def is_about(self, label: Label) -> bool:
        """Whether some rule compares this label."""
        return bool(self._about(label))

    def score(self, detection: Detection | None) -> float | None:
        """The confidence that a person is shown: that of the keep rule's labels; None without a rule or labels."""
        found = self._main(detection)
        return None if found is None else found[1]

    def why(self, detection: Detection | None, verdict: Verdict | None) -> str | None:
        """Why the rules say what they say, in one line."""
        found = self._main(detection)
        if found is None or verdict is None:
            return None
        threshold, score_pct, name = found
        seen = f"{name} {score_pct:.1f}" if name else f"{_one_of(self._rules[threshold.rule])} not seen"
        return f"{seen}, {threshold.verdict.value} from {threshold.least_pct:g}"

    def _main(self, detection: Detection | None) -> tuple[Threshold, float, str] | None:
        """The threshold that matters most for an image, its score and label: of keep rules the one that is nearest."""
        if detection is None or not self._all:
            return None
        keeps = [found for found in self._all if found.verdict is Verdict.KEEP] or self._all
        scored = [(found, *found.score(detection)) for found in keeps]
        return min(scored, key=lambda one: (not one[2], abs(one[1] - one[0].least_pct)))

    def _about(self, label: Label) -> tuple[int, ...]:
        """The numbers of the thresholds of a label."""
        known = self._known.get((label.name, label.aliases))
        if known is None:
            known = tuple(number for number, found in enumerate(self._all) if found.is_about(label))
            self._known[label.name, label.aliases] = known
        return known


def _thresholds(number: int, rule: Rule) -> Iterable[Threshold]:
    for condition in nested_conditions(rule.conditions):
        yield from _of_condition(number, rule.verdict, condition)


def _of_condition(number: int, verdict: Verdict, condition: Condition) -> Iterable[Threshold]:
    measured = [part.label for part in (condition.count, condition.area) if part is not None]
    together = [*condition.any, *condition.none]
    if not isinstance(condition.confidence_pct, Assumed):
        pct = condition.confidence_pct
        groups = [together, *([name] for name in (*condition.all, *measured))]
        yield from (Threshold(number, verdict, _folded(names), frozenset(), pct) for names in groups if names)
        if condition.category:
            yield Threshold(number, verdict, frozenset(), _folded(condition.category), pct)
        return
    for name in (*together, *condition.all, *measured):
        pct_of_name = condition.least_pct(name)
        if pct_of_name is not None:
            yield Threshold(number, verdict, _folded([name]), frozenset(), pct_of_name)


def _folded(names: Iterable[str]) -> frozenset[str]:
    return frozenset(name.casefold() for name in names)


def _one_of(rule: Rule) -> str:
    return " or ".join(rule_names(rule)) or "label"


def rule_names(rule: Rule) -> Sequence[str]:
    """The labels that a rule asks for, each once, as they are written."""
    found = [
        name
        for condition in rule.conditions
        for name in (*condition.any, *condition.all, *([condition.count.label] if condition.count else []),
                     *([condition.area.label] if condition.area else []))
    ]  # fmt: skip
    return list(dict.fromkeys(found))


def rule_text(rule: Rule) -> str:
    """A rule in a few words."""
    return " and ".join(_condition_text(condition) for condition in rule.conditions)


def rule_confidence(rule: Rule) -> float | None:
    """The confidence of a rule, percent: the highest of its conditions; None where each label has its own."""
    known = [one.confidence_pct for one in rule.conditions if not isinstance(one.confidence_pct, Assumed)]
    return max(known, default=None)


def _condition_text(condition: Condition) -> str:
    parts = [
        " or ".join(condition.any),
        " and ".join(condition.all),
        f"none of {', '.join(condition.none)}" if condition.none else "",
        f"category {' or '.join(condition.category)}" if condition.category else "",
        *(f"{kind} of {part.label}{_range(part.min, part.max)}" for kind, part in _measures(condition)),
        f"not ({' and '.join(map(_condition_text, condition.not_))})" if condition.not_ else "",
        f"like {', '.join(condition.like)}" if condition.like else "",
    ]
    return ", ".join(part for part in parts if part)


def _measures(condition: Condition) -> Iterable[tuple[str, Count | Area]]:
    if condition.count is not None:
        yield "count", condition.count
    if condition.area is not None:
        yield "area", condition.area


def _range(low: float | None, high: float | None) -> str:
    return f"{'' if low is None else f' from {low:g}'}{'' if high is None else f' to {high:g}'}"
