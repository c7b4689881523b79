"""The engine gives the answer of a one-by-one loop, at any concurrency, through faults and crashes.

See docs/guarantees.md, *Same answer at any speed*.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asyncfilter import Job
from asyncfilter.policy.sequential import is_surely_below
from asyncfilter.testing import BROKEN, Stage
from tests.kit import jobs


@dataclass
class Expected:
    """The result of the one-by-one loop."""

    verdicts: dict[str, str] = field(default_factory=dict)
    copies: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    reason: str = "completed"


def one_by_one(keys: Sequence[str], labels: Mapping[str, str], stop: Mapping[str, Any], cap: int | None) -> Expected:
    """A simple sequential loop with the stop rules of docs/guarantees.md, *Stop rules*."""
    found, matches, misses = Expected(), 0, 0
    outcomes: list[bool] = []
    rare, failing = stop.get("hit_rate"), stop.get("errors")
    for key in sorted(keys, key=str.encode):
        label = labels[key]
        outcomes.append(label == BROKEN)
        last = outcomes[-failing["window"] :] if failing else []
        if label == BROKEN:
            found.failed.append(key)
        else:
            verdict = {"Robin": "keep", "Wing": "review"}.get(label, "reject")
            found.verdicts[key] = verdict
            if verdict == "keep":
                matches, misses = matches + 1, 0
                found.copies.append(key)
            elif verdict == "reject":
                misses += 1
        if matches >= stop.get("matches", 10**9):
            found.reason = "matches"
        elif misses >= stop.get("misses_in_a_row", 10**9):
            found.reason = "misses_in_a_row"
        elif rare and is_surely_below(rare["below"], rare["confidence"], hits=matches, trials=len(found.verdicts)):
            found.reason = "hit_rate"
        elif failing and len(last) == failing["window"] and sum(last) / len(last) >= failing["rate"]:
            found.reason = "errors"
        elif cap is not None and len(found.verdicts) + len(found.failed) >= cap:
            found.reason = "max_images"
        else:
            continue
        break
    return found


def make_job(*, stop: Mapping[str, Any], cap: int | None, concurrency: int, order: str = "listing") -> Job:
    """A job that keeps robins, with these stop rules."""
    return jobs.make_job(
        source={"uri": "s3://raw/", "order": order},
        rules=[{"keep": {"any": "Robin"}}, {"review": {"any": "Wing"}}],
        limits={"tps": 5000, "concurrency": concurrency, "max_images": cap},
        stop=dict(stop),
    )


KEYS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=6).map(lambda t: f"{t}.jpg")
LABELS = st.dictionaries(KEYS, st.sampled_from(["Robin", "Wing", "Cat", "Cat", BROKEN]), min_size=1, max_size=60)
STOPS = st.fixed_dictionaries(
    {},
    optional={
        "matches": st.integers(1, 12),
        "misses_in_a_row": st.integers(1, 6),
        "hit_rate": st.fixed_dictionaries(
            {"below": st.floats(0.05, 0.9), "confidence": st.sampled_from([0.5, 0.8, 0.95])}
        ),
        "errors": st.fixed_dictionaries({"rate": st.sampled_from([0.1, 0.3, 0.5, 1.0]), "window": st.integers(1, 12)}),
    },
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    labels=LABELS,
    stop=STOPS,
    cap=st.none() | st.integers(1, 40),
    concurrency=st.sampled_from([1, 50, 400]),
    seed=st.integers(0, 1000),
    fault_rate=st.sampled_from([0.0, 0.2]),
)
def test_same_answer_as_one_by_one(
    labels: dict[str, str], stop: dict[str, Any], cap: int | None, concurrency: int, seed: int, fault_rate: float
) -> None:
    """Verdicts, copies, failures and stop reason are the loop's, at any concurrency, latency and fault rate."""
    expected = one_by_one(list(labels), labels, stop, cap)
    stage = Stage(labels, seed=seed, fault_rate=fault_rate)
    summary = stage.run(make_job(stop=stop, cap=cap, concurrency=concurrency))
    assert stage.verdicts() == expected.verdicts
    assert stage.copied() == expected.copies
    assert summary.counts.failed == ({"invalid_image_format": len(expected.failed)} if expected.failed else {})
    assert summary.stop_reason == expected.reason
    assert summary.counts.examined == len(expected.verdicts) + len(expected.failed)
    assert summary.counts.copied == len(expected.copies)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    labels=LABELS,
    stop=STOPS,
    concurrency=st.sampled_from([1, 7, 400]),
    seed=st.integers(0, 1000),
    crash_times_s=st.lists(st.floats(0.01, 3.0), min_size=1, max_size=6),
)
def test_same_answer_through_deaths(
    labels: dict[str, str], stop: dict[str, Any], concurrency: int, seed: int, crash_times_s: list[float]
) -> None:
    """Killed at any time, any number of times, the runs together give the loop's answer and pay little twice."""
    expected = one_by_one(list(labels), labels, stop, None)
    stage = Stage(labels, seed=seed)
    job = make_job(stop=stop, cap=None, concurrency=concurrency)
    lost = sum(min(concurrency, len(labels)) for at_s in crash_times_s if stage.run_and_die(job, at_s))
    summary = stage.run(job)
    assert stage.verdicts() == expected.verdicts
    assert sorted(set(stage.copied()), key=str.encode) == expected.copies
    assert summary.stop_reason == expected.reason
    assert summary.counts.examined == len(expected.verdicts) + len(expected.failed)
    assert sum(stage.detector.attempts.values()) <= len(labels) + lost


@pytest.mark.parametrize("concurrency", [1, 50])
def test_random_order_is_seeded_and_complete(concurrency: int) -> None:
    """``order: random`` examines every image once, in an order that depends on the seed alone, and can be stopped."""
    labels = {f"{number:03d}.jpg": "Robin" if number % 3 == 0 else "Cat" for number in range(300)}
    job = make_job(stop={"matches": 20}, cap=None, concurrency=concurrency, order="random")

    found = []
    for _ in range(2):
        stage = Stage(labels, seed=concurrency)
        summary = stage.run(job)
        assert summary.stop_reason == "matches"
        assert len(stage.copied()) == 20
        found.append(stage.copied())
    assert found[0] == found[1]
    assert found[0] != [key for key in labels if labels[key] == "Robin"][:20]
