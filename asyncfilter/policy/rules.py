"""Rules: from labels to a verdict. A job's rules are compiled once and applied to every image.

Pure and repeatable: a decision depends on the detection and the rules alone. Names are compared casefolded, against a
label's name and its aliases; confidences with ``>=``. The first rule that holds decides, else ``otherwise``.

Only the labels that some rule names are read; ``SeenLabels`` collects from one detection all that conditions need.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from asyncfilter.job.spec import Area, Assumed, Condition, Count, Job, Rule, nested_conditions
from asyncfilter.model import Decision, Detection, Instance, Label, Verdict

_ABSENT_PCT = -1.0
"""The confidence used for a missing label: below every threshold."""

_ANY_PCT = 0.0
"""The least confidence of a category with ``confidence: assumed``, since only labels have thresholds."""


class SeenLabels:
    """The labels of one image that rules name, by casefolded name.

    Attributes:
        names: The confidence of each name or alias, percent; of several labels the highest.
        categories: Likewise, of labels of a category.
        instances: All instances of a name.
    """

    __slots__ = ("categories", "instances", "names")

    def __init__(self) -> None:
        self.names: dict[str, float] = {}
        self.categories: dict[str, float] = {}
        self.instances: dict[str, list[Instance]] = {}


_CACHED_NAMES = 50_000
"""Size of the cache of casefolded label names: far more than Rekognition has, a bound for other detectors."""

_Predicate = Callable[[SeenLabels], bool]
_Candidate = tuple[str, _Predicate]
"""A name that a rule can add to its decision, and whether it matched."""


class Ruleset:
    """The rules of a job, ready to decide."""

    __slots__ = ("_boxed", "_categories", "_known", "_names", "_otherwise", "_rules")

    def __init__(self, rules: Sequence[Rule], otherwise: Verdict) -> None:
        conditions = [inner for rule in rules for inner in nested_conditions(rule.conditions)]
        self._names = frozenset(
            name.casefold() for condition in conditions for name in (*condition.any, *condition.all, *condition.none)
        )
        self._categories = frozenset(name.casefold() for condition in conditions for name in condition.category)
        self._boxed = frozenset(part.label.casefold() for condition in conditions for part in _measured(condition))
        self._rules = tuple(_compile_rule(index, rule) for index, rule in enumerate(rules))
        self._otherwise = Decision(verdict=otherwise)
        self._known: dict[str | tuple[str, tuple[str, ...]], tuple[str, ...]] = {}

    @property
    def needs_boxes(self) -> bool:
        """True when some rule counts or measures instances."""
        return bool(self._boxed)

    def asks_for(self, label: Label) -> bool:
        """True when some rule depends on whether this label is there; its confidence does not matter."""
        named = map(str.casefold, (label.name, *label.aliases))
        return not (self._names | self._boxed).isdisjoint(named) or not self._categories.isdisjoint(
            map(str.casefold, label.categories)
        )

    def decide(self, detection: Detection) -> Decision:
        """The verdict on one image, with the rule that decided and the name that made it match."""
        seen = self.collect(detection)
        for holds, plain, candidates in self._rules:
            if holds(seen):
                for name, matched in candidates:
                    if matched(seen):
                        return Decision(plain.verdict, plain.rule, name)
                return plain
        return self._otherwise

    def collect(self, detection: Detection) -> SeenLabels:
        """What the rules read of one image."""
        seen = SeenLabels()
        names, known = seen.names, self._known
        for label in detection.labels:
            aliases = label.aliases
            wanted = known.get((label.name, aliases) if aliases else label.name)
            if wanted is None:
                wanted = self._cache_names(label)
            for name in wanted:
                if label.confidence_pct > names.get(name, _ABSENT_PCT):
                    names[name] = label.confidence_pct
        if self._categories or self._boxed:
            self._collect_details(detection, seen)
        return seen

    def _cache_names(self, label: Label) -> tuple[str, ...]:
        """The names of the label that some rule uses, casefolded; few labels have any."""
        if len(self._known) >= _CACHED_NAMES:
            self._known.clear()
        folded = {name.casefold() for name in (label.name, *label.aliases)}
        wanted = tuple(folded & self._names)
        self._known[(label.name, label.aliases) if label.aliases else label.name] = wanted
        return wanted

    def _collect_details(self, detection: Detection, seen: SeenLabels) -> None:
        """Categories and boxes, which few rules need."""
        for label in detection.labels:
            for category in map(str.casefold, label.categories):
                if category in self._categories:
                    best_pct = seen.categories.get(category, _ABSENT_PCT)
                    seen.categories[category] = max(best_pct, label.confidence_pct)
            if label.instances:
                for name in {label.name.casefold(), *map(str.casefold, label.aliases)} & self._boxed:
                    seen.instances.setdefault(name, []).extend(label.instances)


def compile_rules(job: Job) -> Ruleset:
    """The rules of ``job``, ready to decide."""
    return Ruleset(job.rules, job.otherwise)


def _measured(condition: Condition) -> list[Count | Area]:
    return [part for part in (condition.count, condition.area) if part is not None]


def _compile_rule(index: int, rule: Rule) -> tuple[_Predicate, Decision, tuple[_Candidate, ...]]:
    """When a rule holds, its decision without a name, and the names it may add, in order of preference."""
    candidates = [*_label_names(rule.conditions), *_other_names(rule.conditions)]
    return _all_of(map(_compile_condition, rule.conditions)), Decision(rule.verdict, index), tuple(candidates)


def _label_names(conditions: Sequence[Condition]) -> Iterator[_Candidate]:
    """Names of ``any`` and ``all``."""
    for condition in conditions:
        for name in (*condition.any, *condition.all):
            yield name, _has_name(name, least_pct(condition, name))


def _other_names(conditions: Sequence[Condition]) -> Iterator[_Candidate]:
    """Names of ``category``, ``count`` and ``area``, which decide only where no label is listed.

    ``count`` and ``area`` name their label when they need it to be there, so not for ``max`` alone.
    """
    for condition in conditions:
        for name in condition.category:
            yield name, _has_category(name, _least_category_pct(condition))
        for part in _measured(condition):
            if part.min:
                yield part.label, _always


def _compile_condition(condition: Condition) -> _Predicate:
    """Whether all parts of a condition hold."""
    if condition.like:
        raise ValueError("references must be resolved to names before rules are compiled")
    parts: list[_Predicate] = [_has_name(name, least_pct(condition, name)) for name in condition.all]
    if condition.any:
        parts.append(_has_any(condition, condition.any))
    if condition.none:
        parts.append(_not(_has_any(condition, condition.none)))
    if condition.category:
        pct = _least_category_pct(condition)
        parts.append(_any_of([_has_category(name, pct) for name in condition.category]))
    if condition.count is not None:
        parts.append(_counts(condition.count, least_pct(condition, condition.count.label)))
    if condition.area is not None:
        parts.append(_covers(condition.area, least_pct(condition, condition.area.label)))
    if condition.not_:
        parts.append(_not(_all_of(map(_compile_condition, condition.not_))))
    return _all_of(parts)


def least_pct(condition: Condition, label: str) -> float:
    """Least confidence of ``label`` in a condition, percent.

    Raises:
        ValueError: The threshold that it stands for is not known.
    """
    pct = condition.least_pct(label)
    if pct is None:
        raise ValueError("thresholds must replace confidence: assumed before rules are compiled")
    return pct


def _least_category_pct(condition: Condition) -> float:
    return _ANY_PCT if isinstance(condition.confidence_pct, Assumed) else condition.confidence_pct


def _has_name(name: str, least_pct: float) -> _Predicate:
    folded = name.casefold()
    return lambda seen: seen.names.get(folded, _ABSENT_PCT) >= least_pct


def _has_any(condition: Condition, names: Iterable[str]) -> _Predicate:
    if isinstance(condition.confidence_pct, Assumed):
        return _any_of([_has_name(name, least_pct(condition, name)) for name in names])
    folded, least = tuple(name.casefold() for name in names), condition.confidence_pct

    def holds(seen: SeenLabels) -> bool:
        confidence = seen.names.get
        for name in folded:  # noqa: SIM110  a generator here costs as much as the whole rule
            if confidence(name, _ABSENT_PCT) >= least:
                return True
        return False

    return holds


def _has_category(name: str, least_pct: float) -> _Predicate:
    folded = name.casefold()
    return lambda seen: seen.categories.get(folded, _ABSENT_PCT) >= least_pct


def _counts(count: Count, least_pct: float) -> _Predicate:
    label, low, high = count.label.casefold(), count.min, count.max

    def holds(seen: SeenLabels) -> bool:
        found = sum(instance.confidence_pct >= least_pct for instance in seen.instances.get(label, ()))
        return (low is None or found >= low) and (high is None or found <= high)

    return holds


def _covers(area: Area, least_pct: float) -> _Predicate:
    label, low, high = area.label.casefold(), area.min, area.max

    def holds(seen: SeenLabels) -> bool:
        boxes = (each.box.area for each in seen.instances.get(label, ()) if each.confidence_pct >= least_pct)
        largest = max(boxes, default=0.0)
        return (low is None or largest >= low) and (high is None or largest <= high)

    return holds


def _all_of(predicates: Iterable[_Predicate]) -> _Predicate:
    several = tuple(predicates)
    return several[0] if len(several) == 1 else lambda seen: all(holds(seen) for holds in several)


def _any_of(predicates: Sequence[_Predicate]) -> _Predicate:
    return lambda seen: any(holds(seen) for holds in predicates)


def _not(predicate: _Predicate) -> _Predicate:
    return lambda seen: not predicate(seen)


def _always(_: SeenLabels) -> bool:
    return True
