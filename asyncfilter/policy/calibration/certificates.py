"""Thresholds whose precision is certified, at milestones that were announced before anybody was asked.

"The precision at a threshold is below the target" has an exact p-value: the number of good images among those asked is
hypergeometric. Many thresholds are tested at once (learn then test: Angelopoulos et al. 2021, arXiv 2110.01052) by the
graphical procedure (Bretz et al. 2009, *Statistics in Medicine* 28): each has a weight, the share of the error that it
may use, and hands it on when it is certified. The error is divided among the milestones in equal parts. So the
probability that any certificate is wrong, at any threshold and milestone, is at most 1 - confidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import ceil

import msgspec

from asyncfilter.policy.calibration.counting import ScoreCounts
from asyncfilter.policy.calibration.records import Candidate, RuleDraw
from asyncfilter.policy.hypergeometric import at_least, is_at_least_rarer

PRESENT_WEIGHT = Fraction(1, 2)
"""Weight of the present threshold; its neighbours share the rest."""

NEIGHBOURS = 4
"""Next stricter candidates with a weight, and as many laxer ones."""


class PrecisionTest(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The test of "the precision is below the target" at one threshold.

    Attributes:
        hits: Good images among ``sample`` that were asked, of ``whole`` in the population.
        most: As many good images as the population has at most, should the precision be below the target; -1 without
            images, where nothing can be tested.
    """

    hits: int
    sample: int
    whole: int
    most: int

    @property
    def p_value(self) -> float:
        """Probability of so many good images or more, at the most."""
        if not self._is_possible:
            return 1.0
        return at_least(self.hits, sample=self.sample, total=self.most, whole=self.whole)

    def rejects(self, level: Fraction) -> bool:
        """Whether the p-value is at most ``level``, without an error of rounding."""
        return self._is_possible and is_at_least_rarer(
            self.hits, sample=self.sample, total=self.most, whole=self.whole, level=level
        )

    @property
    def _is_possible(self) -> bool:
        return self.sample > 0 and self.most >= 0


class Milestone(msgspec.Struct, frozen=True, kw_only=True):
    """What was decided at a milestone.

    Attributes:
        p_values: By number of the candidate.
        certified: Numbers of candidates.
    """

    at: int
    p_values: tuple[float, ...]
    certified: frozenset[int]


def most_below(target: Fraction, images: int) -> int:
    """The greatest number of good ones among ``images`` whose share is below the target."""
    return ceil(target * images) - 1


def weights_of(candidates: Sequence[Candidate], present: float) -> list[Fraction]:
    """The first weight of each candidate; they sum up to 1."""
    at = next(number for number, candidate in enumerate(candidates) if candidate.threshold == present)
    first, last = max(0, at - NEIGHBOURS), min(len(candidates) - 1, at + NEIGHBOURS)
    weights = [Fraction(0)] * len(candidates)
    if first == last:
        weights[at] = Fraction(1)
        return weights
    for number in range(first, last + 1):
        weights[number] = (1 - PRESENT_WEIGHT) / (last - first)
    weights[at] = PRESENT_WEIGHT
    return weights


def certify(tests: Sequence[PrecisionTest], weights: Sequence[Fraction], level: Fraction) -> frozenset[int]:
    """The numbers of the tests that the graphical procedure rejects, given by rising threshold.

    The weight that a test has at last depends only on which others were rejected, not on the order of the rejections,
    and never falls: so the first that can be rejected is as good as the one with the least p-value for its weight.
    """
    left = dict(enumerate(weights))
    certified: set[int] = set()
    while True:
        found = next(
            (number for number, weight in left.items() if weight and tests[number].rejects(weight * level)), None
        )
        if found is None:
            return frozenset(certified)
        certified.add(found)
        weight = left.pop(found)
        heirs = [number for number in left if number < found][-1:] or [number for number in left if number > found][:1]
        for heir in heirs:
            left[heir] += weight


def precision_tests(draw: RuleDraw, n: int, target: Fraction) -> list[PrecisionTest]:
    """The test of each candidate, made of the first ``n`` positions."""
    counts = ScoreCounts(draw.taken.positions[:n])
    return [
        PrecisionTest(
            hits=counts.good_from(candidate.threshold),
            sample=counts.images_from(candidate.threshold),
            whole=candidate.images,
            most=most_below(target, candidate.images),
        )
        for candidate in draw.candidates
    ]


def decide(draw: RuleDraw, target: Fraction) -> list[Milestone]:
    """What each milestone that was reached decided."""
    weights = weights_of(draw.candidates, draw.present)
    decided = []
    for n in draw.taken.reached:
        tests = precision_tests(draw, n, target)
        certified = certify(tests, weights, draw.announced.alpha / len(draw.taken.milestones))
        decided.append(Milestone(at=n, p_values=tuple(test.p_value for test in tests), certified=certified))
    return decided
