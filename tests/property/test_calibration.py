"""Calibration: every figure is what its definition says, computed in fractions; shortcuts and rounding change none."""

from __future__ import annotations

import random
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncfilter.policy.calibration import (
    Announced,
    Candidate,
    Cost,
    Part,
    Position,
    RuleDraw,
    RuleFigures,
    calibrate,
    candidates,
    milestones_of,
)
from asyncfilter.records.answers import CurrentVerdict
from tests.kit import calibration_oracle as oracle

KEEP, REJECT, UNSURE, UNRESOLVED = CurrentVerdict


def draw_of(rng: random.Random) -> RuleDraw:
    """A small population of both parts, drawn, and answered up to some position; a gap hides what is behind it."""
    floor = rng.choice([90.0, 93.5, 95.0, 97.0])
    present = rng.choice([one for one in (92.0, 95.0, 96.5, 97.0, 99.5) if one >= floor])
    quality, spread = rng.choice([0.6, 0.9, 0.98, 1.0]), rng.choice([2, 20])
    announced = tuple(rng.sample([10, 25, 30, 40, 60, 80], rng.randint(1, 4)))

    def part(images: int, rate: float) -> tuple[Part, list[float]]:
        scores = [floor + rng.randint(0, spread) * (100 - floor) / spread for _ in range(images)]
        words = [KEEP if rng.random() < rate else rng.choice([REJECT, REJECT, UNSURE, UNRESOLVED]) for _ in scores]
        milestones = milestones_of(images, announced)
        drawn = [Position(*one) for one in zip(scores, words, strict=True)][: max(milestones, default=0)]
        gap = rng.choice([len(drawn), rng.randint(0, len(drawn))])
        if gap < len(drawn):
            drawn[gap] = Position(drawn[gap].score, None)
        return Part(images=images, milestones=milestones, positions=drawn), scores

    taken, scores = part(rng.choice([0, 1, 24, 40, 70]), quality)
    rest, _ = part(rng.choice([1, 30, 70]), rng.choice([0, 0.02, 0.3]))
    return RuleDraw(
        announced=Announced(
            precision=rng.choice([0.5, 0.7, 0.85, 0.95, 1.0]),
            recall=rng.choice([None, 0.3, 0.6, 0.8]),
            confidence=rng.choice([0.5, 0.8, 0.95]),
        ),
        present=present,
        floor=floor,
        candidates=tuple(
            Candidate(one, sum(score >= one for score in scores)) for one in candidates(floor=floor, present=present)
        ),
        taken=taken,
        rest=rest,
    )


@settings(max_examples=250, deadline=None)
@given(seed=st.integers(0, 10**9), look=st.sampled_from([None, None, 0.8]))
def test_every_figure_is_what_its_definition_says(seed: int, look: float | None) -> None:
    """Certificates, intervals, losses, more and advice of random draws, against fractions."""
    draw = draw_of(random.Random(seed))
    target = oracle.decimal(look or draw.announced.precision)
    found = calibrate(draw, precision=look)
    is_announced = target == oracle.decimal(draw.announced.precision)
    reached = oracle.reached(draw.taken)
    by_milestone = {n: oracle.certified_at(draw, n, target) for n in reached}
    passed = set().union(*by_milestone.values())
    _check_thresholds(draw, found, target, passed if is_announced else set())
    if not passed or not is_announced:
        assert found.certified is None
        assert found.advice is None
    else:
        assert found.certified is not None
        assert found.certified.keep_from == draw.candidates[min(passed)].threshold
        assert found.certified.milestone == next(n for n in reached if min(passed) in by_milestone[n])
        _check_advice(draw, found, found.certified.keep_from)
    present = [one.threshold for one in draw.candidates].index(draw.present)
    assert found.next == (None if present in passed else oracle.next_answers(draw, target, draw.taken.prefix))
    _check_losses(draw, found, is_announced=is_announced)


def _check_thresholds(draw: RuleDraw, found: RuleFigures, target: Fraction, passed: set[int]) -> None:
    prefix, whole = draw.taken.prefix, draw.taken.images
    n = prefix if prefix == whole else prefix // 25 * 25
    reached = oracle.reached(draw.taken)
    p = oracle.p_values(draw, reached[-1], target) if reached else None
    for number, (one, candidate) in enumerate(zip(found.thresholds, draw.candidates, strict=True)):
        seen = oracle.seen(draw.taken, n, candidate.threshold)
        low, high = oracle.looked_at(seen.good, seen.n, candidate.images, draw.announced.alpha)
        assert (one.threshold, one.images, one.certified) == (*_candidate_of(candidate), number in passed)
        assert (one.n, one.good, one.unsure) == seen
        assert (one.low, one.high) == pytest.approx((float(low), float(high)), abs=1e-12)
        assert one.share == (seen.good / seen.n if seen.n else None)
        assert one.milestone == (reached[-1] if reached else None)
        assert one.p == (pytest.approx(float(p[number]), abs=1e-12, rel=1e-12) if p else None)


def _candidate_of(candidate: Candidate) -> tuple[float, int]:
    return candidate.threshold, candidate.images


def _check_losses(draw: RuleDraw, found: RuleFigures, *, is_announced: bool) -> None:
    if not oracle.reached(draw.taken) or not oracle.reached(draw.rest):
        assert found.losses is None
        return
    assert found.losses is not None
    low, high = oracle.loss_bounds(draw, 2)
    kept = oracle.kept_low(draw, draw.floor, draw.taken.images, 2)
    recall = Fraction(kept, kept + high) if kept else Fraction(0)
    seen = oracle.seen(draw.rest, oracle.reached(draw.rest)[-1], -1.0)
    assert (found.losses.lost_low, found.losses.lost_high) == (low, high)
    assert (found.losses.images, found.losses.n, found.losses.milestone) == (draw.rest.images, seen.n, seen.n)
    assert found.losses.good == seen.good + seen.unsure
    assert found.losses.recall_low == pytest.approx(float(recall), abs=1e-12)
    wanted = draw.announced.recall
    assert found.losses.certified == (is_announced and wanted is not None and recall >= oracle.decimal(wanted))


def _check_advice(draw: RuleDraw, found: RuleFigures, keep_from: float) -> None:
    if draw.announced.recall is not None and not oracle.reached(draw.rest):
        ask_from = None
    else:
        ask_from = oracle.ask_from(draw, keep_from)
    if ask_from is None:
        assert (found.advice, found.advice_reason) == (None, "recall_not_shown")
        return
    assert found.advice is not None
    assert found.advice_reason is None
    assert (found.advice.keep_from, found.advice.ask_from) == (keep_from, ask_from)
    images = {draw.floor: draw.taken.images} | dict(map(_candidate_of, draw.candidates))
    assert found.advice.kept == images[keep_from]
    assert found.advice.asked == images[ask_from] - images[keep_from]


def test_advice_names_its_price() -> None:
    """Hours are images times seconds; people cost an hourly rate, a crowd 1.2 cents an image."""
    good = [Position(80.0, KEEP)] * 50 + [Position(60.0, REJECT)] * 50
    random.Random(1).shuffle(good)
    draw = RuleDraw(
        announced=Announced(precision=0.9, recall=None, confidence=0.95),
        present=80.0,
        floor=50.0,
        candidates=tuple(Candidate(one, 50 if one > 60 else 100) for one in candidates(floor=50, present=80)),
        taken=Part(images=100, milestones=(100,), positions=good),
        rest=Part(images=0, milestones=(), positions=()),
    )
    advice = calibrate(draw, cost=Cost(seconds=7.2, hourly_usd=20.0)).advice
    assert advice is not None
    assert (advice.keep_from, advice.ask_from, advice.kept, advice.asked) == (61.0, 50.0, 50, 50)
    assert (advice.hours, advice.usd_people, advice.usd_ground_truth) == pytest.approx((0.1, 2.0, 0.6), rel=1e-12)
