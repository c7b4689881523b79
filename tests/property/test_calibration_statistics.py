"""What a certificate and an interval promise, by simulated jobs: seeded, so that the counts are the same everywhere.

``ASYNCFILTER_LONG_SIMULATIONS=1`` runs ten times as many jobs.
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from functools import cache

import pytest

from asyncfilter.policy.calibration import (
    Announced,
    Candidate,
    Part,
    Position,
    RuleDraw,
    calibrate,
    candidates,
    milestones_of,
)
from asyncfilter.policy.calibration.certificates import certify, decide, most_below, precision_tests, weights_of
from asyncfilter.policy.calibration.looking import positions_looked_at, totals_not_excluded
from asyncfilter.policy.calibration.records import exactly
from asyncfilter.policy.intervals import Interval
from asyncfilter.records.answers import CurrentVerdict

JOBS = 10_000 if os.environ.get("ASYNCFILTER_LONG_SIMULATIONS") else 1_000
FLOOR, PRESENT = 88.0, 94.0
IMAGES = 4_800


class Population:
    """Images whose scores and truths are known; a job draws from them without replacement.

    Args:
        rates: Share of good images by whole percent of the score, from ``FLOOR``.
    """

    def __init__(self, rates: Sequence[float], *, target: float) -> None:
        per_score = IMAGES // len(rates)
        self.target = target
        self.images = [
            Position(FLOOR + number, CurrentVerdict.KEEP if image < round(rate * per_score) else CurrentVerdict.REJECT)
            for number, rate in enumerate(rates)
            for image in range(per_score)
        ]
        self.candidates = tuple(
            Candidate(threshold, sum(one.score >= threshold for one in self.images))
            for threshold in candidates(floor=FLOOR, present=PRESENT)
        )

    def precision(self, threshold: float) -> float:
        """The true one."""
        found = [one.answer == CurrentVerdict.KEEP for one in self.images if one.score >= threshold]
        return sum(found) / len(found)

    def job(self, rng: random.Random, milestones: Sequence[int]) -> RuleDraw:
        """A draw of which all positions are answered."""
        reached = milestones_of(len(self.images), milestones)
        rest = Part(images=0, milestones=(), positions=())
        return RuleDraw(
            announced=Announced(precision=self.target, recall=None, confidence=0.95),
            present=PRESENT,
            floor=FLOOR,
            candidates=self.candidates,
            taken=Part(images=len(self.images), milestones=reached, positions=rng.sample(self.images, max(reached))),
            rest=rest,
        )


def _answered(draw: RuleDraw, n: int) -> RuleDraw:
    """The same draw when only the first n positions are answered."""
    taken = draw.taken
    return _with(draw, [one if number < n else Position(one.score, None) for number, one in enumerate(taken.positions)])


def _with(draw: RuleDraw, positions: Sequence[Position]) -> RuleDraw:
    taken = Part(images=draw.taken.images, milestones=draw.taken.milestones, positions=positions)
    return RuleDraw(
        announced=draw.announced,
        present=draw.present,
        floor=draw.floor,
        candidates=draw.candidates,
        taken=taken,
        rest=draw.rest,
    )


JUST_BELOW = [0.9] * 11 + [0.8975]
"""At every threshold one good image is missing to a precision of 0.9: the worst case, every certificate is wrong."""

RISING = [0.60, 0.70, 0.75, 0.80, 0.83, 0.86, 0.87, 0.9, 0.92, 0.94, 0.96, 0.98]
"""From 93 on, just below the present threshold, the precision is at least 0.9."""

ODD = [0.99, 0.99, 0.99, 0.9, 0.86, 0.85, 0.895, 0.87, 0.9, 0.88, 0.9, 0.895]
"""Laxer thresholds are better than stricter ones: no monotonicity helps."""


@pytest.mark.parametrize(
    ("rates", "milestones"),
    [
        pytest.param(JUST_BELOW, (100, 200, 400, 800), id="just below, planned"),
        pytest.param(JUST_BELOW, tuple(range(60, 481, 60)), id="just below, many looks"),
        pytest.param(ODD, (100, 200, 400), id="odd"),
        pytest.param(RISING, (300,), id="rising, one look"),
    ],
)
def test_certificates_are_wrong_in_few_jobs(rates: list[float], milestones: tuple[int, ...]) -> None:
    """At most one job in twenty certifies any threshold, at any milestone, whose true precision is below the target."""
    population, rng = Population(rates, target=0.9), random.Random(str((rates, milestones)))
    is_wrong = [population.precision(one.threshold) < 0.9 for one in population.candidates]
    wrong = 0
    for _ in range(JOBS):
        decided = decide(population.job(rng, milestones), exactly(0.9))
        wrong += any(is_wrong[number] for milestone in decided for number in milestone.certified)
    assert wrong <= 0.05 * JOBS


def test_looking_after_every_answer_certifies_nothing_more() -> None:
    """All that is ever certified at any number of answers is what the milestones certify."""
    population, rng = Population(RISING, target=0.85), random.Random(4)
    certified = 0
    for _ in range(4):
        draw = population.job(rng, (100, 200, 400))
        by_milestone = {milestone.at: milestone.certified for milestone in decide(draw, exactly(0.85))}
        seen: set[int] = set()
        for n in range(401):
            reached = [found for at, found in by_milestone.items() if at <= n]
            seen = {found for milestone in decide(_answered(draw, n), exactly(0.85)) for found in milestone.certified}
            assert seen == set().union(*reached)
        certified += bool(seen)
    assert certified


@pytest.mark.parametrize("rate", [0.5, 0.8, 0.95, 0.99])
def test_the_interval_is_ever_wrong_in_few_jobs(rate: float) -> None:
    """Looked at after every answer of 600, it misses the truth at some moment in at most one job of twenty."""
    whole, rng = 3_000, random.Random(rate)
    total, alpha = round(rate * whole), exactly(0.95)

    @cache
    def interval(good: int, n: int) -> Interval:
        return totals_not_excluded(good, sample=n, whole=whole, alpha=1 - alpha)

    wrong = 0
    for _ in range(JOBS):
        good, is_wrong = 0, False
        for n, image in enumerate(rng.sample(range(whole), 600), start=1):
            good += image < total
            if positions_looked_at(n, whole) == n:
                low, high = interval(good, n)
                is_wrong |= not low <= total <= high
        wrong += is_wrong
    assert wrong <= 0.05 * JOBS


@pytest.mark.parametrize(("target", "rate"), [(0.9, 0.96), (0.9, 0.94), (0.95, 0.99), (0.8, 0.87)])
def test_the_number_of_more_answers_is_right_within_a_factor_of_two(target: float, rate: float) -> None:
    """So many answers certify the present threshold in about 80 % of jobs or more, half as many in fewer.

    The first 100 answers of the job that is asked have the true share of good images: its estimate is the truth.
    """
    population, rng = Population([rate] * 12, target=target), random.Random(str((target, rate)))
    milestones = tuple(range(125, 2001, 125))
    draw = population.job(rng, milestones)
    good, bad = (Position(95.0, answer) for answer in (CurrentVerdict.KEEP, CurrentVerdict.REJECT))
    whole = round(100 * rate)
    found = calibrate(_with(draw, [good] * whole + [bad] * (100 - whole) + [Position(95.0, None)] * 1900)).next
    assert found is not None
    assert found.milestone is not None
    assert found.more == found.milestone - 100
    level = draw.announced.alpha / len(milestones)
    weights = weights_of(population.candidates, PRESENT)
    present = [one.threshold for one in population.candidates].index(PRESENT)
    jobs = JOBS // 4

    def share_certified(n: int) -> float:
        passed = (
            certify(precision_tests(population.job(rng, (n,)), n, exactly(target)), weights, level) for _ in range(jobs)
        )
        return sum(present in one for one in passed) / jobs

    assert share_certified(found.milestone) >= 0.8 - 3 * (0.8 * 0.2 / jobs) ** 0.5
    assert share_certified(found.milestone // 2) < 0.8


def _uncertain_first(draw: RuleDraw, rng: random.Random) -> list[int]:
    return sorted(range(len(draw.taken.positions)), key=lambda at: abs(draw.taken.positions[at].score - PRESENT))


def _groups(draw: RuleDraw, rng: random.Random) -> list[int]:
    """All good ones of a group of look-alikes at once."""
    return sorted(range(len(draw.taken.positions)), key=lambda at: (draw.taken.positions[at].answer, rng.random()))


def _with_skips(draw: RuleDraw, rng: random.Random) -> list[int]:
    """In rank order, but bad ones are often put off till the end."""
    is_late = [one.answer == CurrentVerdict.REJECT and rng.random() < 0.5 for one in draw.taken.positions]
    return sorted(range(len(is_late)), key=lambda at: (is_late[at], at))


@pytest.mark.parametrize("order", [_uncertain_first, _groups, _with_skips])
def test_the_order_of_work_changes_no_figure(order) -> None:  # type: ignore[no-untyped-def]
    """At any moment the figures are those of the answered prefix, whatever else is answered."""
    population, rng = Population(RISING, target=0.9), random.Random(7)
    for _ in range(6):
        draw = population.job(rng, (60, 120, 240))
        positions, done = draw.taken.positions, order(draw, rng)
        for answered in (30, 120, 170, 230, 239, 240):
            known = set(done[:answered])
            blind = [one if at in known else Position(one.score, None) for at, one in enumerate(positions)]
            prefix = next((at for at in range(len(positions)) if at not in known), len(positions))
            assert calibrate(_with(draw, blind)) == calibrate(_answered(draw, prefix))


def test_a_biased_order_of_work_biases_no_share() -> None:
    """After uncertain-first work the share of all answers is off by far; that of the answered prefix is not."""
    population, rng = Population(RISING, target=0.9), random.Random(17)
    truth = population.precision(FLOOR)
    of_prefix, of_all = [], []
    for _ in range(JOBS // 10):
        draw = population.job(rng, (400,))
        answers = [one.answer == CurrentVerdict.KEEP for one in draw.taken.positions]
        scores = [one.score for one in draw.taken.positions]
        known = {at for at, score in enumerate(scores) if score >= PRESENT} | set(range(200))
        of_all.append(sum(answers[at] for at in known) / len(known))
        found = calibrate(
            _with(
                draw, [one if at in known else Position(one.score, None) for at, one in enumerate(draw.taken.positions)]
            )
        ).thresholds[0]
        assert found.share is not None
        of_prefix.append(found.share)
    assert abs(sum(of_prefix) / len(of_prefix) - truth) < 0.01
    assert abs(sum(of_all) / len(of_all) - truth) > 0.02


def test_the_worst_case_is_one_image_below_the_target() -> None:
    """As many good images as a wrong certificate is tested against, at every threshold."""
    population = Population(JUST_BELOW, target=0.9)
    for one in population.candidates:
        good = round(population.precision(one.threshold) * one.images)
        assert good == most_below(exactly(0.9), one.images)
