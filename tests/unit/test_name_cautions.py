"""Names in rules that no label has are told, with the nearest name; sound names are not."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from asyncfilter.job import load_job, parse_job
from asyncfilter.model import Box, Instance, Label
from asyncfilter.policy.cautions.label_names import KnownNames, ignored_name_findings, known_names, name_findings
from asyncfilter.policy.label_list import published_labels
from tests.engine.test_planted_mistakes import SOUND_JOBS
from tests.kit.jobs import job_document, make_bare_job
from tests.kit.mistakes import CUSTOM

ROOT = Path(__file__).resolve().parents[2]


def told(*rules: dict[str, Any], known: KnownNames | None = None, **sections: Any) -> list[str]:
    """What is said about rules."""
    return list(name_findings(make_bare_job(rules=list(rules), **sections), known or KnownNames()).values())


def answers(number: int, *names: str, is_own: bool = False) -> KnownNames:
    """The names in so many answers."""
    return known_names([Label(name, 0.0) for name in names], answers=number, is_own=is_own)


MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "a letter too many": ({"keep": {"any": "Robbin"}}, "no label 'Robbin'.*nearest is 'Robin'"),
    "a letter too few": ({"keep": {"any": ["Bird", "Persn"]}}, "no label 'Persn'.*nearest is 'Person'"),
    "letters exchanged": ({"keep": {"all": "Brid"}}, "no label 'Brid'.*nearest is 'Bird'"),
    "a plural": ({"keep": {"any": "Raccoons"}}, "no label 'Raccoons'.*nearest is 'Raccoon'"),
    "two in one": ({"keep": {"any": "Robin or bird"}}, r"no label 'Robin or bird'.*write a list: \[Robin, Bird\]"),
    "three in one": ({"keep": {"all": "Cat, Dog / Person"}}, r"for several labels write a list: \[Cat, Dog, Person\]"),
    "an underscore": ({"keep": {"any": "golden_retriever"}}, "nearest is 'Golden Retriever'"),
    "part of a name": ({"keep": {"any": "Retriever"}}, "nearest is 'Golden Retriever'"),
    "another language": ({"keep": {"any": "Rotkehlchen"}}, "no label 'Rotkehlchen'.*nearest is"),
    "an exclusion": ({"keep": {"any": "Robin", "none": "Peron"}}, "no label 'Peron'.*nearest is 'Person'"),
    "below not": ({"keep": {"any": "Robin", "not": {"any": "Persson"}}}, "no label 'Persson'.*nearest is 'Person'"),
    "counted": ({"keep": {"count": {"label": "Cra", "min": 1}}}, "no label 'Cra'"),
    "measured": ({"keep": {"area": {"label": "Hosre", "min": 0.1}}}, "no label 'Hosre'.*nearest is 'Horse'"),
    "ignored": ({"keep": {"like": "s3://raw/1.jpg", "ignore": "Tre"}}, "no label 'Tre'.*nearest is 'Tree'"),
    "a category as a label": ({"keep": {"any": "Animals and Pets"}}, "it is a category: write category: Animals and P"),
    "a label as a category": (
        {"keep": {"category": "Bird"}},
        "no category 'Bird'.*it is a label of the category 'Animals and Pets': write any: Bird",
    ),
    "part of a category": ({"keep": {"category": "Pets"}}, "no category 'Pets'.*nearest is 'Animals and Pets'"),
    "a category that does not exist": (
        {"keep": {"category": ["Sports", "Foods and Beverages"]}},
        "no category 'Foods and Beverages'.*nearest is 'Food and Beverage'",
    ),
    "a count without boxes": (
        {"keep": {"count": {"label": "Beach", "min": 1}}},
        "'Beach' never has boxes.*its count is always 0, which is never enough",
    ),
    "a count below a bound": (
        {"keep": {"count": {"label": "Robin", "max": 3}}},
        "'Robin' never has boxes.*always 0, which is always within max",
    ),
    "an area without boxes": (
        {"keep": [{"any": "Bird"}, {"area": {"label": "Wildlife", "min": 0.2}}]},
        "'Wildlife' never has boxes.*its area is always 0",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_once(name: str) -> None:
    """One sentence, with the rule and the nearest name."""
    rule, sentence = MISTAKES[name]
    (said,) = told(rule)
    assert said.startswith("rules[0] (keep): ")
    assert re.search(sentence, said), said
    assert published_labels().date in said


def test_a_name_in_several_rules_is_told_once() -> None:
    """With every rule that has it, however it is spelt there."""
    (said,) = told(
        {"keep": {"any": ["Robbin"]}}, {"reject": {"any": "Cat"}}, {"review": {"none": ["ROBBIN", "robbin"]}}
    )
    assert said.startswith("rules[0] (keep), rules[2] (review): Rekognition has no label 'Robbin'")


@pytest.mark.parametrize("name", ["Robin", "robin", "HUMAN", "Automobile", "cell phone", "Casa Milà", "Glockenspiel"])
def test_names_and_aliases_are_compared_without_case(name: str) -> None:
    """As rules compare them."""
    assert told({"keep": {"any": name}}) == []


def test_an_answer_refutes_the_list() -> None:
    """A name that some answer has, as a label or as an alias, is right, whatever the list says; so is a category."""
    rule = {"keep": {"any": ["Robbin", "Redbreast"], "category": "Birds"}}
    assert len(told(rule)) == 3
    seen = known_names([Label("Robbin", 0.0, aliases=("redbreast",), categories=("birds",))], answers=1, is_own=False)
    assert told(rule, known=seen) == []


HIDDEN: dict[str, tuple[list[dict[str, Any]], str]] = {
    "behind a category": (
        [{"reject": {"category": "Animals and Pets"}}, {"keep": {"any": "Robin", "confidence": 80}}],
        "rules[1] (keep) can never match: rules[0] (reject) comes first.*(Robin is in the category 'Animals and Pets')",
    ),
    "behind another name": (
        [{"reject": {"any": "human"}}, {"keep": {"any": "Person"}}],
        "rules[1] (keep) can never match.*(Person is always labelled 'Human')",
    ),
    "another name excluded": (
        [{"keep": {"any": "Person", "none": "Human"}}],
        "rules[0] (keep) can never match: its conditions exclude each other (Person is always labelled 'Human')",
    ),
}


@pytest.mark.parametrize("name", HIDDEN)
def test_a_rule_that_related_labels_hide_is_told(name: str) -> None:
    """By the list alone, once; in the order that works, nothing."""
    rules, sentence = HIDDEN[name]
    (said,) = told(*rules)
    assert re.search(re.escape(sentence).replace(r"\.\*", ".*"), said), said
    if name == "behind a category":
        assert told(*reversed(rules)) == []


def test_ancestors_are_told_by_the_answers() -> None:
    """A Robin is a Bird; what only some answers say, and what they refute, hides nothing."""
    rules = [{"reject": {"any": "Bird"}}, {"keep": {"any": "Robin"}}]
    robin, blurred = Label("Robin", 0.0, parents=("Bird", "Animal")), Label("Robin", 0.0, parents=("Animal",))
    assert told(*rules) == []
    (said,) = told(*rules, known=known_names([robin], answers=1, is_own=False))
    assert "rules[1] (keep) can never match" in said
    assert said.endswith("(Robin is always labelled 'Bird')")
    assert told(*rules, known=known_names([robin, blurred], answers=2, is_own=False)) == []
    assert told(*rules, known=known_names([robin], answers=1, is_own=True)) == []
    elsewhere = known_names([Label("Robin", 0.0, categories=("Plants",))], answers=1, is_own=False)
    assert told(*HIDDEN["behind a category"][0], known=elsewhere) == []


def test_a_box_in_an_answer_refutes_the_list() -> None:
    """AWS adds boxes to labels: one that has some, by its name or an alias, can be counted and measured."""
    rules = {"keep": {"count": {"label": "Robin", "min": 1}}}, {"review": {"area": {"label": "redbreast", "min": 0.1}}}
    boxed = Label("Robin", 0.0, (Instance(Box(0, 0, 1, 1), 90.0),), aliases=("Redbreast",))
    assert told(*rules, known=known_names([boxed], answers=1, is_own=False)) == []
    without = msgspec.structs.replace(boxed, instances=())
    assert len(told(*rules, known=known_names([without], answers=1, is_own=False))) == 1


@pytest.mark.parametrize("name", SOUND_JOBS)
def test_a_sound_job_says_nothing(name: str) -> None:
    """No false alarm before anything is seen."""
    assert name_findings(parse_job(job_document(**SOUND_JOBS[name]), base_dir="/nowhere"), KnownNames()) == {}


@pytest.mark.parametrize("path", sorted((ROOT / "config").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_examples_say_nothing(path: Path) -> None:
    """No false alarm about a job that ships with the program."""
    assert name_findings(load_job(path), KnownNames()) == {}


# -- Labels that are not published -------------------------------------------------------------------------------------


@pytest.mark.parametrize("sections", [{"detector": CUSTOM}, {}], ids=["custom labels", "own detector"])
def test_without_a_list_names_are_compared_with_the_answers(sections: dict[str, Any]) -> None:
    """Nothing before 50 answers; then what resembles a seen name; from 200 on, every name that was never seen."""
    is_own = not sections
    rule = {"keep": {"any": ["Scrach", "Hole", "scratch"]}}

    def after(number: int) -> list[str]:
        return told(rule, known=answers(number, "Scratch", "Fine", is_own=is_own), **sections)

    assert after(0) == after(49) == []
    alike = ["rules[0] (keep): no answer so far has the label 'Scrach'; the nearest that was seen is 'Scratch'"]
    assert after(50) == after(199) == alike
    assert [sentence.split("; ")[0] for sentence in after(200)] == [
        "rules[0] (keep): no answer so far has the label 'Scrach'",
        "rules[0] (keep): no answer so far has the label 'Hole'",
    ]


def test_answers_without_any_label() -> None:
    """There is no nearest name then."""
    assert told({"keep": {"any": "Hole"}}, known=answers(200), detector=CUSTOM) == [
        "rules[0] (keep): no answer so far has the label 'Hole'"
    ]


def test_ignored_names_are_compared_by_themselves_too() -> None:
    """They are gone from the rules once references are replaced by names."""
    job = make_bare_job(rules=[{"keep": {"like": "s3://raw/1.jpg", "ignore": ["Tre", "Bird"], "none": "Persn"}}])
    assert list(ignored_name_findings(job, KnownNames())) == [("label", "tre")]
    assert ignored_name_findings(job, KnownNames(is_own=True)) == {}
