"""Decisions of the rules of a job file, in realistic cases."""

from __future__ import annotations

import pytest

from asyncfilter.model import Box, Decision, Detection, Instance, Label, Verdict
from asyncfilter.policy.rules import Ruleset, compile_rules
from tests.kit.jobs import make_bare_job


def ruleset(*rules: object, otherwise: str = "reject") -> Ruleset:
    """The compiled rules of a job file."""
    return compile_rules(make_bare_job(rules=list(rules), otherwise=otherwise))


def seen(*labels: Label) -> Detection:
    """A detection with these labels."""
    return Detection(labels=labels)


def boxes(*pcts: float, side: float = 0.5) -> tuple[Instance, ...]:
    """One instance per confidence, each a square."""
    return tuple(Instance(Box(0, 0, side, side), pct) for pct in pcts)


PHONE = Label("Mobile Phone", 80.0, aliases=("Cell Phone",), categories=("Technology and Computing",))


def test_the_first_rule_that_holds_decides() -> None:
    """Rules are ordered; an image that matches none of them is decided by ``otherwise``."""
    rules = ruleset(
        {"reject": {"any": ["Person"], "confidence": 85}},
        {"keep": {"any": ["Robin", "Bird"], "confidence": 85}},
        {"review": {"any": ["Robin", "Bird"], "confidence": 60}},
    )
    assert rules.decide(seen(Label("Bird", 99.0), Label("Person", 85.0))) == Decision(Verdict.REJECT, 0, "Person")
    assert rules.decide(seen(Label("Bird", 99.0), Label("Person", 84.9))) == Decision(Verdict.KEEP, 1, "Bird")
    assert rules.decide(seen(Label("Bird", 70.0))) == Decision(Verdict.REVIEW, 2, "Bird")
    assert rules.decide(seen(Label("Bird", 59.9))) == Decision(Verdict.REJECT)


def test_the_name_is_the_first_of_the_rules_own_list() -> None:
    """The name is not that of the highest confidence, and it is spelled as in the rule."""
    rules = ruleset({"keep": {"any": ["robin", "BIRD"]}})
    assert rules.decide(seen(Label("Bird", 99.0), Label("Robin", 60.0))).label == "robin"
    assert rules.decide(seen(Label("Bird", 99.0))).label == "BIRD"


def test_aliases_count_as_names() -> None:
    """Model 3.0 moved synonyms into Aliases: a rule may use any of the names."""
    assert ruleset({"keep": {"any": "cell phone"}}).decide(seen(PHONE)) == Decision(Verdict.KEEP, 0, "cell phone")


def test_a_comparison_is_at_least() -> None:
    """A label exactly at the threshold matches; without a threshold the service's 55 applies."""
    rules = ruleset({"keep": {"any": "Bird"}})
    assert rules.decide(seen(Label("Bird", 55.0))).verdict is Verdict.KEEP
    assert rules.decide(seen(Label("Bird", 54.999))).verdict is Verdict.REJECT


def test_a_category_matches_its_labels() -> None:
    """A rule on a category matches any label of it with enough confidence."""
    rules = ruleset({"keep": {"category": "technology and computing", "confidence": 80}})
    assert rules.decide(seen(PHONE)) == Decision(Verdict.KEEP, 0, "technology and computing")
    assert rules.decide(seen(Label("Tree", 99.0))).verdict is Verdict.REJECT


@pytest.mark.parametrize(
    ("count", "pcts", "verdict"),
    [
        ({"min": 2}, (90, 90), Verdict.KEEP),
        ({"min": 2}, (90, 79), Verdict.REJECT),
        ({"max": 1}, (90, 90), Verdict.REJECT),
        ({"max": 1}, (), Verdict.KEEP),
        ({"min": 1, "max": 1}, (90, 10), Verdict.KEEP),
    ],
)
def test_instances_are_counted_at_the_rules_confidence(
    count: dict[str, int], pcts: tuple[float, ...], verdict: Verdict
) -> None:
    """A box below the threshold is not an instance, even where the label itself is above it."""
    rules = ruleset({"keep": {"count": {"label": "Bird", **count}, "confidence": 80}})
    assert rules.decide(seen(Label("Bird", 95.0, instances=boxes(*pcts)))).verdict is verdict


def test_the_area_is_that_of_the_largest_sure_box() -> None:
    """A larger box below the threshold does not count; without a box the area is zero."""
    rules = ruleset({"keep": {"area": {"label": "Bird", "min": 0.25}, "confidence": 80}})
    assert rules.decide(seen(Label("Bird", 95.0, instances=boxes(90)))).verdict is Verdict.KEEP
    small_and_unsure = (*boxes(90, side=0.4), *boxes(79, side=0.9))
    assert rules.decide(seen(Label("Bird", 95.0, instances=small_and_unsure))).verdict is Verdict.REJECT
    assert rules.decide(seen()).verdict is Verdict.REJECT
    assert ruleset({"keep": {"area": {"label": "Bird", "max": 0.1}}}).decide(seen()).verdict is Verdict.KEEP


def test_a_list_of_conditions_means_all_of_them() -> None:
    """Each part has its own confidence; the name comes from the first part that lists one."""
    rules = ruleset({"keep": [{"none": "Person"}, {"any": "Bird", "confidence": 90}, {"not": {"all": ["Cage"]}}]})
    assert rules.decide(seen(Label("Bird", 95.0))) == Decision(Verdict.KEEP, 0, "Bird")
    assert rules.decide(seen(Label("Bird", 95.0), Label("Cage", 60.0))).verdict is Verdict.REJECT


def test_not_of_a_list_holds_when_one_of_them_does_not() -> None:
    """``not`` negates its list as a whole."""
    rules = ruleset({"keep": {"not": [{"any": "A"}, {"any": "B"}]}})
    assert rules.decide(seen(Label("A", 99.0))).verdict is Verdict.KEEP
    assert rules.decide(seen(Label("A", 99.0), Label("B", 99.0))).verdict is Verdict.REJECT


def test_a_rule_that_lists_no_name_gives_none() -> None:
    """A rule without names gives no label, so that ``{label}`` is never guessed."""
    assert ruleset({"keep": {"none": "Person"}}).decide(seen()) == Decision(Verdict.KEEP, 0, None)
    assert ruleset({"keep": {"count": {"label": "A", "max": 0}}}).decide(seen()).label is None
