"""The proofs about rules: what is said to be impossible never happens, and what is impossible is found."""

from __future__ import annotations

import dataclasses
from itertools import product

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from asyncfilter.job.spec import Condition, Count, Rule
from asyncfilter.model import Detection, Verdict
from asyncfilter.policy.cautions.rules import Reachable
from asyncfilter.policy.cautions.satisfiability import AllOf, Clauses, Formula, OneOf, Search, negated
from asyncfilter.policy.rules import Ruleset
from tests.kit.jobs import make_bare_job
from tests.property.test_rules_contract import detections, percents, rules

ATOMS = 4
_literals = st.integers(1, ATOMS).flatmap(lambda atom: st.sampled_from([atom, -atom]))
formulas: st.SearchStrategy[Formula] = st.recursive(
    _literals,
    lambda inner: st.lists(inner, max_size=3).map(tuple).flatmap(lambda p: st.sampled_from([AllOf(p), OneOf(p)])),
    max_leaves=12,
)


def is_true(formula: Formula, values: tuple[bool, ...]) -> bool:
    """The value of a formula by its definition."""
    match formula:
        case AllOf(parts):
            return all(is_true(part, values) for part in parts)
        case OneOf(parts):
            return any(is_true(part, values) for part in parts)
        case _:
            return values[abs(formula) - 1] is (formula > 0)


@settings(max_examples=200, deadline=None)
@given(st.lists(formulas, min_size=1, max_size=4))
def test_a_search_agrees_with_the_table_of_truth(together: list[Formula]) -> None:
    """Formulas are refuted exactly when no assignment makes all of them true; the same for their negation."""
    worlds = list(product([False, True], repeat=ATOMS))
    for whole in (AllOf(tuple(together)), negated(AllOf(tuple(together)))):
        clauses = list(Clauses(ATOMS + 1).of(whole))
        possible = any(is_true(whole, values) for values in worlds)
        assert Search(clauses, most_work=1_000_000).is_refuted() is not possible


def test_a_search_that_is_given_up_refutes_nothing() -> None:
    """Pigeonholes have no short refutation; without one nothing is called impossible."""
    holes, pigeons = 7, 8
    atom = {(p, h): p * holes + h + 1 for p in range(pigeons) for h in range(holes)}
    clauses = [tuple(atom[p, h] for h in range(holes)) for p in range(pigeons)]
    clauses += [(-atom[p, h], -atom[q, h]) for h in range(holes) for p in range(pigeons) for q in range(p)]
    search = Search(clauses, most_work=20_000)
    assert not search.is_refuted()
    assert search.work < 40_000


@settings(max_examples=100, deadline=None)
@given(st.lists(rules, min_size=1, max_size=4), st.lists(detections, min_size=1, max_size=4), percents)
@example([Rule(verdict=Verdict.KEEP, conditions=(Condition(count=Count(label="Bird", min=1)),))], [Detection(())], 0.0)
def test_no_sound_rule_is_called_unreachable(made: list[Rule], seen: list[Detection], least_pct: float) -> None:
    """Whatever decides an image was said to be able to, with labels as the service sends them for the job."""
    job = make_bare_job(detector={"min_confidence": least_pct})
    job = dataclasses.replace(job, rules=tuple(made), otherwise=Verdict.REVIEW)
    reachable, ruleset = Reachable(job), Ruleset(job.rules, job.otherwise)
    for detection in seen:
        sent = Detection(tuple(label for label in detection.labels if label.confidence_pct >= least_pct))
        decision = ruleset.decide(sent)
        assert decision.verdict in reachable.verdicts
        assert decision.rule is None or decision.rule in reachable.deciding


UNREACHABLE = {
    "the same": ({"any": "Robin"}, {"any": "robin"}),
    "a higher confidence": ({"any": "Robin", "confidence": 60}, {"any": "Robin", "confidence": 85}),
    "fewer names": ({"any": ["Robin", "Bird"]}, {"any": ["Bird"]}),
    "more conditions": ({"any": "Bird"}, {"any": "Bird", "category": "Animals and Pets"}),
    "all of more names": ({"any": "Bird"}, {"all": ["Robin", "Bird"]}),
    "more excluded names": ({"none": "Person"}, {"none": ["Person", "Car"]}),
    "excluded at less confidence": ({"none": "Person", "confidence": 80}, {"none": "Person", "confidence": 60}),
    "another spelling of none": ({"none": "Person"}, {"not": {"any": "Person"}}),
    "one of two that is not both": ({"not": {"all": ["A", "B"]}}, {"none": "A"}),
    "more instances": ({"count": {"label": "Dog", "min": 1}}, {"count": {"label": "dog", "min": 2}}),
    "fewer instances": ({"count": {"label": "Dog", "max": 3}}, {"count": {"label": "Dog", "max": 2}}),
    "instances that are surer": (
        {"count": {"label": "Dog", "min": 1}, "confidence": 50},
        {"count": {"label": "Dog", "min": 1}, "confidence": 80},
    ),
    "no instance at any confidence": (
        {"count": {"label": "Dog", "max": 0}, "confidence": 80},
        {"count": {"label": "Dog", "max": 0}, "confidence": 50},
    ),
    "a larger box": ({"area": {"label": "Dog", "min": 0.1}}, {"area": {"label": "Dog", "min": 0.2}}),
    "a box is an instance": (
        {"count": {"label": "Dog", "min": 1}, "confidence": 50},
        {"area": {"label": "Dog", "min": 0.2}, "confidence": 80},
    ),
    "a narrower range": (
        {"area": {"label": "Dog", "min": 0.1, "max": 0.9}},
        {"area": {"label": "Dog", "min": 0.2, "max": 0.5}},
    ),
    "a list of conditions": (
        [{"any": "Dog"}],
        [{"any": "Dog", "confidence": 70}, {"none": "Person", "confidence": 30}],
    ),
    "the same references": (
        {"like": "s3://raw/1.jpg", "confidence": 80},
        {"like": "s3://raw/1.jpg", "confidence": 80, "none": "Person"},
    ),
}


@pytest.mark.parametrize("case", UNREACHABLE)
def test_a_rule_behind_a_wider_one_is_found(case: str) -> None:
    """The later rule is named with the earlier one, and in the other order neither is."""
    wide, narrow = UNREACHABLE[case]
    behind = Reachable(make_bare_job(rules=[{"keep": wide}, {"review": narrow}]))
    assert behind.deciding == [0]
    assert "rules[1] (review) can never match: rules[0] (keep)" in behind.cautions[0]
    if case not in {"the same", "another spelling of none", "fewer instances"}:
        assert Reachable(make_bare_job(rules=[{"keep": narrow}, {"review": wide}])).cautions == []


REACHABLE = {
    "less confidence": ({"any": "Robin", "confidence": 85}, {"any": "Robin", "confidence": 60}),
    "other names": ({"any": "Robin"}, {"any": "Bird"}),
    "one of two names": ({"all": ["Robin", "Bird"]}, {"any": ["Robin", "Bird"]}),
    "a box smaller than an instance needs": (
        {"area": {"label": "Dog", "min": 0.2}},
        {"count": {"label": "Dog", "min": 1}},
    ),
    "an instance that is less sure": (
        {"count": {"label": "Dog", "min": 1}, "confidence": 80},
        {"area": {"label": "Dog", "min": 0.2}, "confidence": 50},
    ),
    "a label without boxes": ({"count": {"label": "Dog", "min": 1}}, {"any": "Dog"}),
    "boxes without the label's confidence": ({"any": "Dog", "confidence": 90}, {"count": {"label": "Dog", "min": 1}}),
    "references at another confidence": (
        {"like": "s3://raw/1.jpg", "confidence": 60},
        {"like": "s3://raw/1.jpg", "confidence": 80},
    ),
    "exactly so many": ({"count": {"label": "Dog", "min": 2}}, {"count": {"label": "Dog", "min": 1, "max": 1}}),
    "not both": ({"none": ["A", "B"]}, {"not": {"all": ["A", "B"]}}),
}


@pytest.mark.parametrize("case", REACHABLE)
def test_a_rule_that_can_match_is_not_named(case: str) -> None:
    """What looks alike and is not the same."""
    first, second = REACHABLE[case]
    found = Reachable(make_bare_job(rules=[{"keep": first}, {"review": second}]))
    assert (found.cautions, found.deciding) == ([], [0, 1])


KIN = {"robin": [("name", "bird"), ("category", "animals and pets")], "bird": [("name", "animal")]}


@pytest.mark.parametrize(
    ("first", "second", "is_hidden"),
    [
        ({"any": "Bird"}, {"any": "Robin"}, True),
        ({"any": "Bird", "confidence": 60}, {"any": ["Robin", "Bird"], "confidence": 80}, True),
        ({"any": "Bird", "confidence": 80}, {"any": "Robin", "confidence": 60}, False),
        ({"any": "Robin"}, {"any": "Bird"}, False),
        ({"any": "Animal"}, {"any": "Robin"}, False),
        ({"category": "Animals and Pets"}, {"all": ["Robin", "Nest"]}, True),
        ({"category": "Animals and Pets"}, {"any": ["Robin", "Nest"]}, False),
        ({"any": "Cat"}, {"any": "Robin", "none": "Bird"}, True),
        ({"any": "Cat"}, {"any": "Robin", "none": "Bird", "confidence": 90}, True),
        ({"any": "Cat"}, {"any": "Robin", "not": {"any": "Bird", "confidence": 90}}, False),
        ({"none": "Bird"}, {"none": "Robin"}, False),
        ({"none": "Robin"}, {"none": "Bird"}, True),
    ],
)
def test_what_follows_from_a_name(first: dict[str, object], second: dict[str, object], is_hidden: bool) -> None:
    """Other names and categories hold at each confidence up to that of the name, and not the other way."""
    job = make_bare_job(rules=[{"reject": first}, {"keep": second}])
    assert Reachable(job).deciding == [0, 1]
    found = Reachable(job, lambda name: KIN.get(name, []))
    assert found.deciding == ([0] if is_hidden else [0, 1])
    assert list(found.reasons) == ([1] if is_hidden else [])


def test_several_rules_can_hide_one() -> None:
    """Two rules that leave nothing together are both named, and no third."""
    found = Reachable(
        make_bare_job(
            rules=[
                {"keep": {"any": "Robin", "confidence": 80}},
                {"reject": {"any": "Car"}},
                {"review": {"none": "Robin", "confidence": 80}},
                {"keep": {"any": "Dog"}},
            ]
        )
    )
    assert found.deciding == [0, 1, 2]
    (caution,) = found.cautions
    assert "rules[3] (keep) can never match: rules[0] and rules[2] come first and together match" in caution
    assert found.verdicts == {Verdict.KEEP, Verdict.REJECT, Verdict.REVIEW}


def test_hundreds_of_rules_take_no_time() -> None:
    """The work for a job is bounded, however many rules and names it has."""
    many = [{"keep": {"any": [f"L{n}" for n in range(i, i + 40)], "confidence": i % 100}} for i in range(400)]
    found = Reachable(make_bare_job(rules=many))
    assert len(found.deciding) >= 1
