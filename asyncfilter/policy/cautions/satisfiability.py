"""Whether formulas can hold together: a search over propositional logic with a bound on its work.

An atom is a number from 1 on. A literal is an atom, or its negative where the atom must not hold. A clause is a tuple
of literals of which at least one must hold. The search assigns atoms, follows what each assignment forces, and takes
back the last choice at a contradiction (Davis, Logemann and Loveland 1962).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import TypeAlias

Literal: TypeAlias = int
Clause: TypeAlias = tuple[Literal, ...]


@dataclass(frozen=True, slots=True)
class AllOf:
    """Holds when all parts hold; without parts, always."""

    parts: tuple[Formula, ...] = ()


@dataclass(frozen=True, slots=True)
class OneOf:
    """Holds when at least one part holds; without parts, never."""

    parts: tuple[Formula, ...] = ()


Formula: TypeAlias = "Literal | AllOf | OneOf"

ALWAYS = AllOf()
NEVER = OneOf()


def negated(formula: Formula) -> Formula:
    """The formula that holds exactly when ``formula`` does not."""
    match formula:
        case AllOf(parts):
            return OneOf(tuple(map(negated, parts)))
        case OneOf(parts):
            return AllOf(tuple(map(negated, parts)))
        case _:
            return -formula


class Clauses:
    """Turns formulas into clauses that can hold together exactly when the formulas can.

    Args:
        first_unused: The first number that no atom has.
    """

    def __init__(self, first_unused: int) -> None:
        self._unused = count(first_unused)

    def of(self, formula: Formula, unless: Clause = ()) -> Iterator[Clause]:
        """Clauses that hold when ``formula``, or a literal of ``unless``, holds."""
        match formula:
            case AllOf(parts):
                for part in parts:
                    yield from self.of(part, unless)
            case OneOf(parts):
                literals = list(unless)
                for part in parts:
                    yield from self._add(part, literals)
                yield tuple(literals)
            case _:
                yield (*unless, formula)

    def _add(self, part: Formula, literals: list[Literal]) -> Iterator[Clause]:
        """Add the literals that stand for ``part`` in a clause; an ``AllOf`` needs a new atom and further clauses."""
        match part:
            case OneOf(parts):
                for each in parts:
                    yield from self._add(each, literals)
            case AllOf():
                atom = next(self._unused)
                literals.append(atom)
                yield from self.of(part, (-atom,))
            case _:
                literals.append(part)


class Search:
    """One search for an assignment with which all clauses hold.

    Args:
        clauses: The clauses.
        most_work: Literals to look at before the search is given up.

    Attributes:
        work: Literals looked at so far.
    """

    def __init__(self, clauses: Sequence[Clause], *, most_work: int) -> None:
        self.work = sum(map(len, clauses))
        self._most_work = most_work
        self._clauses = clauses
        self._values: dict[int, bool] = {}
        self._set: list[Literal] = []
        self._choices: list[tuple[int, int, Literal]] = []
        self._first_open = 0
        self._uses: dict[Literal, list[Clause]] = defaultdict(list)
        for clause in clauses:
            for literal in clause:
                self._uses[literal].append(clause)

    def is_refuted(self) -> bool:
        """Whether it is certain that the clauses cannot hold together; False also when the search is given up."""
        is_open = all(self._follows(clause) for clause in self._clauses if len(clause) <= 1) and self._propagates(0)
        while self.work <= self._most_work:
            if is_open:
                literal = self._undecided()
                if literal is None:
                    return False
                self._choices.append((len(self._set), self._first_open, literal))
            elif self._choices:
                first, self._first_open, literal = self._choices.pop()
                self._take_back(first)
                literal = -literal  # forced by the choices before: it is no choice itself
            else:
                return True
            first = len(self._set)
            is_open = self._assigns(literal) and self._propagates(first)
        return False

    def _propagates(self, first: int) -> bool:
        """Assign what the literals set from ``first`` on force; False at a contradiction."""
        while first < len(self._set):
            for clause in self._uses.get(-self._set[first], ()):
                if not self._follows(clause):
                    return False
            first += 1
        return True

    def _follows(self, clause: Clause) -> bool:
        """Assign the last open literal of a clause of which no other holds; False when none can hold."""
        self.work += len(clause)
        open_literals = []
        for literal in clause:
            value = self._values.get(abs(literal))
            if value is None:
                open_literals.append(literal)
            elif value is (literal > 0):
                return True
        return len(open_literals) > 1 or (bool(open_literals) and self._assigns(open_literals[0]))

    def _assigns(self, literal: Literal) -> bool:
        """Make ``literal`` hold; False when it cannot."""
        value = self._values.get(abs(literal))
        if value is None:
            self._values[abs(literal)] = literal > 0
            self._set.append(literal)
            return True
        return value is (literal > 0)

    def _undecided(self) -> Literal | None:
        """An open literal of the first clause that does not hold yet; None when all clauses hold."""
        while self._first_open < len(self._clauses):
            clause = self._clauses[self._first_open]
            self.work += len(clause)
            values = [self._values.get(abs(literal)) for literal in clause]
            if not any(value is (literal > 0) for literal, value in zip(clause, values, strict=True)):
                return clause[values.index(None)]
            self._first_open += 1  # it holds until the choice before it is taken back
        return None

    def _take_back(self, first: int) -> None:
        """Undo the assignments from ``first`` on."""
        for literal in self._set[first:]:
            del self._values[abs(literal)]
        del self._set[first:]
