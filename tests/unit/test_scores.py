"""The score of an image for a rule: the largest threshold at which the rule would still hold."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncfilter.job.spec import Job
from asyncfilter.model import Box, Detection, Instance, Label
from asyncfilter.policy.rules import compile_rules
from asyncfilter.policy.scores import score_of, why_no_score
from tests.kit.jobs import make_bare_job

PARTS: tuple[dict[str, object], ...] = (
    {"any": ["Robin", "bird"]},
    {"all": ["Robin", "Bird"]},
    {"category": ["Animals"]},
    {"count": {"label": "Robin", "min": 2}},
    {"area": {"label": "Robin", "min": 0.25}},
    {"any": ["Robin"], "count": {"label": "Bird", "min": 1}},
)
"""Conditions that have a score."""


def job_of(*conditions: dict[str, object], confidence: float = 60) -> Job:
    """A job with one keep rule."""
    keep = [{**condition, "confidence": confidence} for condition in conditions]
    return make_bare_job(rules=[{"keep": keep}])


def score(job: Job, *labels: Label) -> float:
    """The score of an image with these labels for the first rule."""
    found = score_of(job.rules[0])
    assert found is not None
    return found(compile_rules(job).collect(Detection(labels=labels)))


def boxes(*pcts_and_sides: tuple[float, float]) -> tuple[Instance, ...]:
    """Square instances by confidence and side."""
    return tuple(Instance(Box(0, 0, side, side), pct) for pct, side in pcts_and_sides)


def test_each_kind_of_condition_has_its_score() -> None:
    """The best of any and category, the worst of all, the m-th instance, the best box that is large enough."""
    robin = Label("Robin", 90.0, boxes((80.0, 0.2), (70.0, 0.6), (50.0, 0.9)), categories=("Animals",))
    bird = Label("Bird", 95.0, aliases=("Fowl",))
    assert score(job_of({"any": ["Robin", "fowl"]}), robin, bird) == 95.0
    assert score(job_of({"all": ["Robin", "Bird"]}), robin, bird) == 90.0
    assert score(job_of({"category": ["animals"]}), robin, bird) == 90.0
    assert score(job_of({"count": {"label": "Robin", "min": 2}}), robin) == 70.0
    assert score(job_of({"area": {"label": "Robin", "min": 0.3}}), robin) == 70.0
    assert score(job_of({"any": ["Robin"]}, {"any": ["Bird"]}), robin, bird) == 90.0


def test_an_image_without_the_label_has_the_score_0() -> None:
    """Of several conditions too: the least counts."""
    for part in PARTS:
        assert score(job_of(part)) == 0.0
    assert score(job_of({"any": ["Robin"]}, {"any": ["Owl"]}), Label("Robin", 99.0)) == 0.0


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ({"any": ["A"], "none": ["B"]}, "none"),
        ({"any": ["A"], "not": {"any": ["B"]}}, "not"),
        ({"count": {"label": "A", "min": 1, "max": 2}}, "max"),
        ({"area": {"label": "A", "max": 0.5}}, "max"),
        ([{"any": ["A"], "confidence": 60}, {"any": ["B"], "confidence": 70}], "different confidences"),
        ({"like": ["s3://refs/a.jpg"]}, "like"),
    ],
)
def test_rules_without_a_score(rule: object, why: str) -> None:
    """They are measured as they stand."""
    job = make_bare_job(rules=[{"keep": rule}])
    assert score_of(job.rules[0]) is None
    assert why in (why_no_score(job.rules[0]) or "")


PERCENT = st.floats(0, 100).map(lambda pct: round(pct, 1))
INSTANCES = st.lists(
    st.builds(Instance, st.builds(Box, *map(st.just, (0.0, 0.0)), st.just(0.5), st.floats(0, 1)), PERCENT)
)
LABELS = st.lists(
    st.builds(
        Label,
        st.sampled_from(["Robin", "Bird", "Owl"]),
        PERCENT,
        INSTANCES.map(tuple),
        aliases=st.sampled_from([(), ("bird",)]),
        categories=st.sampled_from([(), ("Animals",)]),
    ),
    max_size=4,
)


@given(
    conditions=st.lists(st.sampled_from(PARTS), min_size=1, max_size=2),
    labels=LABELS,
    threshold=st.floats(0.1, 100).map(lambda pct: round(pct, 1)),
)
def test_a_rule_takes_an_image_exactly_from_its_score_on(
    conditions: list[dict[str, object]], labels: list[Label], threshold: float
) -> None:
    """At any threshold above 0 the compiled rule agrees with the score."""
    job = job_of(*conditions)
    raised = dataclasses.replace(job, rules=job_of(*conditions, confidence=threshold).rules)
    takes = compile_rules(raised).decide(Detection(labels=tuple(labels))).rule == 0
    assert takes == (score(job, *labels) >= threshold)
