"""The names in a rule that are derived from the labels of reference images."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from asyncfilter.errors import UsageError
from asyncfilter.job import Job
from asyncfilter.model import Detection, Label, Verdict
from asyncfilter.policy.reference_labels import GENERAL, Labelled, common_labels, names_of, references_of, resolved
from asyncfilter.policy.rules import compile_rules
from asyncfilter.report.terminal.labels import draw_labels, labels_mapping, rule_text
from tests.kit.jobs import make_bare_job

TREE = {"Robin": ("Bird", "Animal"), "Bird": ("Animal",), "Deer": ("Wildlife", "Mammal", "Animal"), "Wildlife": ()}


def seen(**labels: float) -> Detection:
    """A detection with these labels; their parents are those of ``TREE``."""
    return Detection(
        tuple(Label(name, pct, parents=TREE.get(name, ())) for name, pct in labels.items()), model_version="3.0"
    )


def make_job(*rules: Any, otherwise: str = "reject") -> Job:
    """A job with these rules."""
    return make_bare_job(base_dir="/jobs", rules=list(rules), otherwise=otherwise)


def why(shared: Any) -> dict[str, str | None]:
    """The reason why each label is not used in the rule."""
    return {label.name: label.why_not for label in shared.labels}


def test_ancestors_of_what_is_seen_are_too_general() -> None:
    """Animal (above Deer), Nature and Outdoors are marked as too general; Deer is used."""
    shared = common_labels({"a": seen(Deer=99, Wildlife=99, Mammal=99, Animal=99, Nature=95, Outdoors=93)}, 85)
    assert shared.names == ("Deer",)
    assert why(shared) == {
        "Deer": None,
        "Wildlife": "above Deer",
        "Mammal": "above Deer",
        "Animal": "above Deer",
        "Nature": "too general",
        "Outdoors": "too general",
    }


def test_common_labels_come_first() -> None:
    """Labels are sorted by number of references, then by confidence; those of a low confidence do not count."""
    shared = common_labels(
        {"a": seen(Robin=90, Tree=99, Leaf=84), "b": seen(Robin=95), "c": seen(Tree=97, Wall=85)}, 85
    )
    assert [(label.name, label.images) for label in shared.labels] == [("Tree", 2), ("Robin", 2), ("Wall", 1)]
    assert (shared.labels[1].least_pct, shared.labels[1].most_pct) == (90, 95)


def test_a_reference_without_anything_specific_keeps_its_own_labels() -> None:
    """Bird is above Robin but the only label of one reference: the rule must keep that image."""
    shared = common_labels({"a": seen(Robin=90, Bird=90, Animal=90), "b": seen(Bird=92, Animal=92)}, 85)
    assert shared.names == ("Bird", "Robin")
    assert shared.unlike == ()


def test_references_that_no_rule_can_find_are_named() -> None:
    """An image of nature alone, one without labels, and one whose labels are ignored are named."""
    shared = common_labels({"a": seen(Nature=99), "b": seen(), "c": seen(Car=90), "d": seen(Robin=90)}, 85, ["CAR"])
    assert shared.unlike == ("a", "b", "c")
    assert shared.names == ("Robin",)
    assert why(shared)["Car"] == "ignored"


NAMES = ["Robin", "Bird", "Animal", "Deer", "Wildlife", "Mammal", "Nature", "Tree", "Car"]
DETECTIONS = st.dictionaries(st.sampled_from(NAMES), st.floats(0, 100), max_size=6).map(lambda labels: seen(**labels))


@given(
    detections=st.lists(DETECTIONS, min_size=1, max_size=5),
    pct=st.floats(0, 100),
    ignore=st.lists(st.sampled_from(NAMES), max_size=3),
)
def test_the_rule_finds_every_reference_or_names_the_others(
    detections: list[Detection], pct: float, ignore: list[str]
) -> None:
    """For any labels each reference is kept by the rule, or named as one that is not."""
    references = {str(number): detection for number, detection in enumerate(detections)}
    shared = common_labels(references, pct, ignore)
    assert not {name.casefold() for name in shared.names} & ({name.casefold() for name in ignore} | GENERAL)
    if not shared.names:
        assert set(shared.unlike) == set(references)
        return
    rules = compile_rules(make_job({"keep": {"any": list(shared.names), "confidence": pct}}))
    for uri, detection in references.items():
        assert (rules.decide(detection).verdict is Verdict.KEEP) == (uri not in shared.unlike)


# -- In a job ----------------------------------------------------------------------------------------------------------


def test_names_take_the_place_of_references() -> None:
    """The other parts of the condition, and its confidence, stay; all of them must hold."""
    job = make_job(
        {"keep": {"like": ["s3://pics/1.jpg", "./2.jpg"], "none": "Person", "confidence": 80, "ignore": "tree"}},
        {"review": {"not": {"like": "s3://pics/1.jpg"}}},
    )
    references = {"s3://pics/1.jpg": seen(Robin=90, Tree=90), "/jobs/2.jpg": seen(Robin=85, Feeder=82)}
    assert references_of(job) == ("s3://pics/1.jpg", "/jobs/2.jpg")
    plain = resolved(job, references)
    assert references_of(plain) == ()
    assert plain == make_job(
        {"keep": [{"any": ["Robin", "Feeder"], "confidence": 80}, {"none": "Person", "confidence": 80}]},
        {"review": {"not": {"any": ["Robin", "Tree"]}}},
    )
    rules = compile_rules(plain)
    assert rules.decide(seen(Robin=81)).verdict is Verdict.KEEP
    assert rules.decide(seen(Robin=81)).label == "Robin"
    assert rules.decide(seen(Robin=99, Person=80)).verdict is Verdict.REJECT
    assert rules.decide(seen(Person=80)).verdict is Verdict.REVIEW
    reported = [(index, rule.verdict, names, uris) for index, rule, names, uris in names_of(job, references)]
    assert reported == [
        (0, Verdict.KEEP, ["Robin", "Feeder"], ["s3://pics/1.jpg", "/jobs/2.jpg"]),
        (1, Verdict.REVIEW, ["Robin", "Tree"], ["s3://pics/1.jpg"]),
    ]


def test_a_job_without_references_stays_as_it_is() -> None:
    """A job without references is returned unchanged."""
    job = make_job({"keep": [{"any": "Robin"}, {"not": [{"all": ["A", "B"]}], "confidence": 70}]})
    assert resolved(job, {}) == job


def test_unknown_references_are_an_error() -> None:
    """Unknown references are not examined here: the message gives the remedy."""
    with pytest.raises(UsageError, match=r"rules\[0\].keep.like.*s3://pics/1.jpg.*not known") as caught:
        resolved(make_job({"keep": {"like": "s3://pics/1.jpg"}}), {})
    assert "asyncfilter run" in (caught.value.hint or "")


def test_a_rule_that_would_lose_its_own_reference_is_an_error() -> None:
    """A reference without any specific label stops the job before any decision."""
    job = make_job({"keep": {"like": ["s3://pics/1.jpg", "s3://pics/2.jpg"], "confidence": 85}})
    with pytest.raises(UsageError, match=r"no label of s3://pics/2.jpg"):
        resolved(job, {"s3://pics/1.jpg": seen(Robin=90), "s3://pics/2.jpg": seen(Robin=70, Nature=99)})


def test_unresolved_references_never_decide() -> None:
    """Rules with unresolved references cannot be compiled, so that no decision is made by an incomplete rule."""
    with pytest.raises(ValueError, match="resolved"):
        compile_rules(make_job({"keep": {"like": "s3://pics/1.jpg"}}))


# -- Output ------------------------------------------------------------------------------------------------------------


def rules_in(text: str) -> Sequence[Any]:
    """The compiled rules of a printed rule."""
    loaded: dict[str, Any] = yaml.safe_load(text)
    assert loaded["otherwise"] == "reject"
    found: Sequence[Any] = loaded["rules"]
    return found


@given(
    names=st.lists(st.text(min_size=1, max_size=20).map(str.strip).filter(bool), min_size=1, max_size=5, unique=True)
)
def test_the_printed_rule_is_the_rule(names: list[str]) -> None:
    """A pasted rule works for any label name, also No, yes, and names with commas, quotes and colons."""
    labels = [Label(name, 90.0) for name in names if name.casefold() not in GENERAL]
    shared = common_labels({"a": Detection(tuple(labels))}, 85)
    if shared.names:
        (rule,) = rules_in(rule_text(shared, 85))
        assert rule == {"keep": {"any": list(shared.names), "confidence": 85}}


def test_the_output_is_complete_as_json_and_text() -> None:
    """The output has images, common and combined labels, the rule and the cost; the same text on a terminal."""
    from rich.console import Console

    found = Labelled(
        labels={"s3://pics/1.jpg": seen(Robin=90, Bird=90, Nature=88), "2.jpg": seen(Robin=86, Bird=86, Car=40)},
        calls=1,
        spent_micros=1000,
    )
    shared = common_labels(found.labels, 85)
    mapping = labels_mapping(found, shared, 85)
    assert mapping["common"] == ["Bird", "Robin"]
    assert mapping["combined"] == ["Bird", "Robin", "Nature"]
    assert mapping["selected"] == ["Robin"]
    assert mapping["calls"] == 1
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(draw_labels(found, shared, 85))
    text = console.export_text()
    for words in (
        "s3://pics/1.jpg",
        "above Robin",
        "too general",
        "2 of 2",
        "any: [Robin]",
        "1 paid call, $0.001",
        "1 known",
    ):
        assert words in text
