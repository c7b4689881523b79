"""``confidence: assumed`` in rules, replaced by the thresholds of a model."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncfilter.errors import JobError, UsageError
from asyncfilter.job.fingerprint import decided_by
from asyncfilter.job.spec import Job
from asyncfilter.model import Box, Detection, Instance, Label
from asyncfilter.policy.assumed import has_unknown_thresholds, thresholds_in, uses_assumed, with_thresholds
from asyncfilter.policy.job_warnings import warnings_before_answers
from asyncfilter.policy.reference_labels import resolved
from asyncfilter.policy.rules import compile_rules
from asyncfilter.sandbox.options import DEFAULT_MODEL_ARN
from tests.kit.jobs import make_bare_job

MODEL = {"kind": "rekognition-custom-labels", "model": DEFAULT_MODEL_ARN}
BOX = Box(left=0.1, top=0.1, width=0.5, height=0.5)

PLACES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "any": ({"any": ["A", "B"]}, {"A": {"any": "A"}, "B": {"any": "B"}}),
    "all": ({"all": ["A", "B"]}, {}),
    "none": ({"none": ["A"]}, {}),
    "count": ({"count": {"label": "A", "min": 1}}, {}),
    "area": ({"area": {"label": "A", "min": 0.1}}, {}),
}


def make_job(condition: Any, **changes: Any) -> Job:
    """A job with one rule."""
    return make_bare_job(rules=[{"keep": condition}], detector=MODEL, **changes)


def shown(**percents: float) -> Detection:
    """An answer, each label with a box."""
    return Detection(tuple([Label(name, pct, (Instance(BOX, pct),)) for name, pct in percents.items()]))


@pytest.mark.parametrize("condition", [one for one, _ in PLACES.values()], ids=PLACES)
@given(pct=st.floats(0, 100))
def test_each_place_decides_as_its_number(condition: dict[str, Any], pct: float) -> None:
    """``assumed`` at 60 % decides as 60."""
    assumed = with_thresholds(make_job({**condition, "confidence": "assumed"}), {"a": 0.6, "B": 0.6})
    number = make_job({**condition, "confidence": 60})
    for detection in (shown(A=pct), shown(A=pct, B=61.0), shown(C=pct)):
        assert compile_rules(assumed).decide(detection) == compile_rules(number).decide(detection)


@given(a=st.floats(0, 100), b=st.floats(0, 100))
def test_each_label_has_its_own_threshold(a: float, b: float) -> None:
    """Also below ``not``, and beside other names."""
    thresholds = {"A": 0.3, "B": 0.8}
    job = with_thresholds(make_job({"any": ["A", "B"], "confidence": "assumed"}), thresholds)
    assert (compile_rules(job).decide(shown(A=a, B=b)).verdict == "keep") == (a >= 30 or b >= 80)
    job = with_thresholds(make_job({"not": {"all": ["A", "B"], "confidence": "assumed"}}), thresholds)
    assert (compile_rules(job).decide(shown(A=a, B=b)).verdict == "keep") == (not (a >= 30 and b >= 80))


def test_thresholds_are_part_of_what_decides() -> None:
    """Those of other labels are not; and a job with numbers is not changed at all."""
    job = make_job({"any": "A", "confidence": "assumed"})
    one = with_thresholds(job, {"A": 0.6, "B": 0.1})
    assert decided_by(one) == decided_by(with_thresholds(job, {"A": 0.6, "B": 0.2}))
    assert decided_by(one) != decided_by(with_thresholds(job, {"A": 0.61, "B": 0.1}))
    number = make_job({"any": "A", "confidence": 60})
    assert with_thresholds(number, {"A": 0.1}) is number
    assert thresholds_in(one) == {"A": 60.0}


def test_unknown_thresholds_are_never_guessed() -> None:
    """Cautions about the job still come; a decision is an error."""
    job = make_job([{"any": "A", "confidence": "assumed"}, {"area": {"label": "A", "max": 0.5}}])
    assert uses_assumed(job)
    assert has_unknown_thresholds(job)
    assert isinstance(warnings_before_answers(job), list)
    with pytest.raises(ValueError, match="confidence: assumed"):
        compile_rules(job)


def test_a_contradiction_is_found_only_with_known_thresholds() -> None:
    """At least 90 % and not at least the threshold: impossible for thresholds below 90 alone."""
    job = make_job([{"any": "A", "confidence": 90}, {"none": "A", "confidence": "assumed"}])
    assert not any("can never match" in each for each in warnings_before_answers(job))
    assert any("can never match" in each for each in warnings_before_answers(with_thresholds(job, {"A": 0.5})))
    assert not any("can never match" in each for each in warnings_before_answers(with_thresholds(job, {"A": 0.95})))


@pytest.mark.parametrize(
    ("thresholds", "why"), [({"A": None, "B": 0.5}, "has no threshold"), ({"B": 0.5}, "is none of its labels")]
)
def test_a_label_without_threshold_is_an_error(thresholds: dict[str, float | None], why: str) -> None:
    """It says which, and what to write."""
    with pytest.raises(UsageError, match=rf"rules\[0\]\.keep: .*'A' {why}") as caught:
        with_thresholds(make_job({"any": "A", "confidence": "assumed"}), thresholds)
    assert "a number as the confidence of 'A'" in str(caught.value.hint)


def test_only_models_have_thresholds() -> None:
    """With DetectLabels it is a mistake in the job, below ``not`` too."""
    rules = [{"keep": {"any": "A", "not": {"any": "B", "confidence": "assumed"}}}]
    with pytest.raises(JobError, match=r"rules\[0\]\.keep\.not\.confidence.*expected a number from 0 to 100"):
        make_bare_job(rules=rules)


def test_references_count_at_the_threshold_of_each_label() -> None:
    """Names replace them, each with its own threshold."""
    job = make_job({"like": "s3://refs/1.jpg", "confidence": "assumed"})
    job = resolved(with_thresholds(job, {"A": 0.3, "B": 0.8}), {"s3://refs/1.jpg": shown(A=40.0, B=70.0)})
    assert thresholds_in(job) == {"A": 30.0}
    assert compile_rules(job).decide(shown(A=31.0)).verdict == "keep"
