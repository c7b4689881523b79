"""Cautions at the start of a run: what it says about prices of lanes that are of another month."""

from __future__ import annotations

from asyncfilter.policy.cautions.at_start import AtStart, start_warnings
from tests.kit.jobs import make_bare_job


def old_used(*names: str, lanes: bool = True) -> list[str]:
    """The keys of the cautions about ``used_this_month``, where that of these lanes is old."""
    listed = [
        {"region": "us-east-1"},
        {"region": "us-west-2"},
        {"name": "b", "region": "us-east-1", "profile": "b", "used_this_month": 9},
        {"name": "c", "region": "eu-west-1", "used_this_month": 8},
    ]
    job = make_bare_job(pricing={"used_this_month": 7}, detector={"lanes": listed if lanes else None})
    start = AtStart(price_micros=1000, spent_micros=0, limit_tps=50, old_used=names)
    return [text.partition(" was set in an earlier month")[0] for text in start_warnings(job, start)]


def test_what_was_used_in_another_month_is_told_by_its_key() -> None:
    """``pricing.used_this_month`` once for the lanes for which it holds, that of a lane by its place in the list."""
    assert old_used() == []
    assert old_used("", lanes=False) == ["pricing.used_this_month"]
    assert old_used("us-east-1", "us-west-2", "b", "c") == [
        "pricing.used_this_month (lanes us-east-1, us-west-2)",
        "detector.lanes[2].used_this_month (lane b)",
        "detector.lanes[3].used_this_month (lane c)",
    ]
    assert old_used("us-west-2") == ["pricing.used_this_month (lane us-west-2)"]
