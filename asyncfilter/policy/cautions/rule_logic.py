"""Which rules can match, by proof: a job's conditions as formulas over what an image can show.

The atoms are thresholds: "Robin at 85 % or more", "two instances of Person at 80 %". Atoms of one name depend on each
other: what is there at 85 % is there at 60 %, two instances are also one, and a box larger than nothing is an instance.
Names are independent of each other, although one label can have several, unless it is said what follows from which.
So there are images here that no service can describe, but none is missing: a rule that is said to be unreachable is,
and no sound rule is said to be.

References (``like``) and thresholds that are not known yet (``confidence: assumed``) are independent atoms until names
and numbers replace them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import chain, pairwise, permutations
from typing import Any

from asyncfilter.job.spec import Condition, Job
from asyncfilter.policy.cautions.satisfiability import (
    ALWAYS,
    NEVER,
    AllOf,
    Clause,
    Clauses,
    Formula,
    Literal,
    OneOf,
    Search,
    negated,
)
from asyncfilter.policy.detectors import PROFILES

_Subject = tuple[Any, ...]
"""What a threshold applies to: its kind, and a name."""
_Threshold = tuple[Any, ...]
"""One threshold implies another when each of its parts is at least as high."""

Follows = Callable[[str], Collection[tuple[str, str]]]
"""From a casefolded name to subjects of the kinds ``name`` and ``category``."""

_MOST_LINKED = 64
"""Most thresholds of two parts on one subject that are compared pair by pair; the others count as independent."""

_MOST_WORK = 200_000
"""Literals that one proof may look at: some hundredths of a second."""

_MOST_WORK_IN_ALL = 1_000_000
"""Literals that all proofs for a job may look at; rules left then count as reachable."""


class RuleLogic:
    """Answers what the rules of a job can match.

    Args:
        job: The job; its references need not be resolved.
        follows: Names and categories that an image surely has at the confidence of a name.
    """

    def __init__(self, job: Job, follows: Follows = lambda _: ()) -> None:
        self._follows = follows
        self._least_pct = job.detector.min_confidence_pct
        self._has_categories = PROFILES[job.detector.kind].has_categories
        self._atoms: dict[_Subject, dict[_Threshold, Literal]] = {}
        self._numbers = 0
        formulas = [self._all(rule.conditions) for rule in job.rules]
        clauses = Clauses(self._numbers + 1)
        self._links = tuple(self._implications())
        self._holds = [tuple(clauses.of(formula)) for formula in formulas]
        self._fails = [tuple(clauses.of(negated(formula))) for formula in formulas]
        self._work_left = _MOST_WORK_IN_ALL

    def can_match(self, rule: int, *, after: Iterable[int] = ()) -> bool:
        """False when it is certain that no image meets a rule and none of the rules ``after`` which it comes."""
        return self._can_hold(self._holds[rule], *(self._fails[other] for other in after))

    def can_all_fail(self, rules: Collection[int]) -> bool:
        """False when it is certain that every image meets one of ``rules``."""
        return self._can_hold(*(self._fails[rule] for rule in rules))

    def _can_hold(self, *parts: Sequence[Clause]) -> bool:
        if not self._work_left:
            return True
        search = Search([*self._links, *chain.from_iterable(parts)], most_work=min(_MOST_WORK, self._work_left))
        refuted = search.is_refuted()
        self._work_left = max(0, self._work_left - search.work)
        return not refuted

    # -- Formulas ------------------------------------------------------------------------------------------------------

    def _all(self, conditions: Iterable[Condition]) -> Formula:
        return AllOf(tuple(map(self._condition, conditions)))

    def _condition(self, condition: Condition) -> Formula:
        pct_of = condition.least_pct
        parts: list[Formula] = [self._name(name, pct_of(name)) for name in condition.all]
        if condition.any:
            parts.append(OneOf(tuple(self._name(name, pct_of(name)) for name in condition.any)))
        parts += [-self._name(name, pct_of(name)) for name in condition.none]
        if condition.category:
            parts.append(OneOf(tuple(self._category(name, pct_of("")) for name in condition.category)))
        if (count := condition.count) is not None:
            pct = pct_of(count.label)
            parts.append(self._at_least_instances(count.label, pct, count.min or 0))
            if count.max is not None:
                parts.append(negated(self._at_least_instances(count.label, pct, count.max + 1)))
        if (area := condition.area) is not None:
            pct = pct_of(area.label)
            parts.append(self._larger(area.label, pct, area.min or 0.0, is_open=False))
            if area.max is not None:
                parts.append(negated(self._larger(area.label, pct, area.max, is_open=True)))
        if condition.not_:
            parts.append(negated(self._all(condition.not_)))
        if condition.like:
            parts.append(self._atom(("like", condition.like, condition.ignore, condition.confidence_pct), ()))
        return AllOf(tuple(parts))

    def _name(self, name: str, pct: float | None) -> Literal:
        return self._least("name", name, pct)

    def _category(self, name: str, pct: float | None) -> Formula:
        return self._least("category", name, pct) if self._has_categories else NEVER

    def _least(self, kind: str, name: str, pct: float | None) -> Literal:
        # Labels below the detector's own threshold are left out by the service.
        return self._atom(_subject(kind, name, pct), (max(pct or 0.0, self._least_pct),))

    def _at_least_instances(self, label: str, pct: float | None, number: int) -> Formula:
        return self._atom(_subject("count", label, pct), (pct or 0.0, number)) if number > 0 else ALWAYS

    def _larger(self, label: str, pct: float | None, area: float, *, is_open: bool) -> Formula:
        """The largest box covers more than ``area``, or exactly that where the bound is not open."""
        if area <= 0 and not is_open:
            return ALWAYS
        return self._atom(_subject("area", label, pct), (pct or 0.0, (area, is_open)))

    def _atom(self, subject: _Subject, threshold: _Threshold) -> Literal:
        atoms = self._atoms.setdefault(subject, {})
        if threshold not in atoms:
            self._numbers += 1
            atoms[threshold] = self._numbers
        return atoms[threshold]

    # -- What follows from what ----------------------------------------------------------------------------------------

    def _implications(self) -> Iterator[Clause]:
        """Clauses that hold for every image."""
        for (kind, *subject), atoms in self._atoms.items():
            thresholds = sorted(atoms)
            pairs = pairwise(thresholds) if kind in {"name", "category"} else permutations(thresholds[:_MOST_LINKED], 2)
            yield from ((-atoms[high], atoms[low]) for low, high in pairs if _is_implied(low, high))
            if kind == "name":
                yield from self._kin(subject[0], atoms)
            if kind == "area":
                yield from self._boxes_are_instances(atoms, self._atoms.get(("count", *subject), {}))

    def _kin(self, name: str, atoms: dict[_Threshold, Literal]) -> Iterator[Clause]:
        """An image with a name also has what follows from it, at each confidence up to that of the name."""
        for subject in self._follows(name):
            others = self._atoms.get(subject, {}) if subject != ("name", name) else {}
            for high, atom in atoms.items():
                lower = [threshold for threshold in others if threshold <= high]
                yield from ((-atom, others[max(lower)]) for _ in lower[:1])

    def _boxes_are_instances(
        self, areas: dict[_Threshold, Literal], counts: dict[_Threshold, Literal]
    ) -> Iterator[Clause]:
        for (area_pct, _), area in areas.items():
            yield from ((-area, counts[pct, n]) for pct, n in counts if n == 1 and pct <= area_pct)


def _subject(kind: str, name: str, pct: float | None) -> _Subject:
    """What a threshold applies to; one that is not known yet implies no other, and none implies it."""
    return (kind if pct is not None else f"{kind} assumed", name.casefold())


def _is_implied(low: _Threshold, high: _Threshold) -> bool:
    """Whether what reaches ``high`` also reaches ``low``."""
    return all(one <= other for one, other in zip(low, high, strict=True))
