"""Valid jobs that are probably mistakes give warnings."""

from __future__ import annotations

from typing import Any

import pytest

from asyncfilter.policy.job_warnings import job_warnings
from tests.kit.jobs import make_bare_job


def reported(rules: list[dict[str, Any]], **changes: Any) -> list[str]:
    """The warnings about a job."""
    return job_warnings(make_bare_job(rules=rules, **changes))


@pytest.mark.parametrize("least_pct", [0, 50, 80])
def test_a_rule_below_the_confidence_of_the_detector(least_pct: int) -> None:
    """Each rule with a confidence below the detector's is named, also for an exclusion."""
    rules = [
        {"keep": {"any": "Robin", "confidence": 80}},
        {"review": {"any": "Cat", "confidence": 79}},
        {"reject": {"all": "Bird", "not": [{"any": "Person", "confidence": 50}], "confidence": 90}},
    ]
    warnings = reported(rules, detector={"min_confidence": least_pct})
    named = [rule for rule, rule_pct in ((0, 80), (1, 79), (2, 50)) if rule_pct < least_pct]
    assert [f"rules[{rule}]" for rule in named] == [sentence.split()[0] for sentence in warnings]


@pytest.mark.parametrize(("order", "times"), [("listing", 1), ("random", 0)])
def test_a_prefix_is_no_sample(order: str, times: int) -> None:
    """A statistical stop over a listing in its own order gives a warning."""
    source = {"uri": "s3://raw/", "order": order}
    warnings = reported(
        [{"keep": {"any": "Robin"}}], source=source, stop={"hit_rate": {"below": 0.02, "confidence": 0.95}}
    )
    assert len(warnings) == times
