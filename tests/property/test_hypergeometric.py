"""Tails, bounds and intervals of the calibration: right to 1e-9, against whole numbers and against SciPy."""

from __future__ import annotations

import random
from fractions import Fraction
from math import comb, exp

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncfilter.policy import hypergeometric
from asyncfilter.policy.calibration.agreement import gwet_ac1, rate_interval
from asyncfilter.policy.calibration.looking import log_beta_binomial, totals_not_excluded
from asyncfilter.policy.hypergeometric import at_least, at_most, fewest_in_whole, most_in_whole, probability
from asyncfilter.policy.intervals import hits_in_whole
from tests.kit import calibration_oracle as oracle

LEVELS = (Fraction(1, 20), Fraction(1, 80), Fraction(1, 1600))


def random_case(rng: random.Random) -> tuple[int, int, int, int]:
    """Hits, sample, total and whole, at any size; the hits mostly where their probability is not negligible."""
    whole = rng.choice([1, 2, 7, 60, 1000, 20_000, 1_000_000])
    sample = rng.choice([0, 1, whole, rng.randint(0, whole), rng.randint(0, min(whole, 400))])
    sample = min(sample, 5000)
    total = rng.choice([0, whole, rng.randint(0, whole), whole - rng.randint(0, min(whole, whole // 20 + 1))])
    spread = 1 + (sample * min(total, whole - total) // whole)
    expected = sample * total // whole + rng.randint(-4, 4) * round(spread**0.5)
    return min(sample, max(0, rng.choice([0, sample, expected, expected, expected]))), sample, total, whole


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 10**9))
def test_probabilities_are_those_of_whole_numbers(seed: int) -> None:
    """Each to 1e-12 of its value, up to a million images and 5,000 answers, where fractions can still be computed."""
    hits, sample, total, whole = random_case(random.Random(seed))
    most = min(sample, total)
    ways = [comb(total, x) * comb(whole - total, sample - x) for x in range(hits, min(most, hits + 60) + 1)]
    every = comb(whole, sample)
    found = probability(hits, sample=sample, total=total, whole=whole)
    assert found == pytest.approx(float(Fraction(ways[0] if ways else 0, every)), rel=1e-12, abs=1e-300)
    upper = at_least(hits, sample=sample, total=total, whole=whole)
    assert upper >= float(Fraction(sum(ways), every)) * (1 - 1e-12)
    rarer = at_least(hits + 1, sample=sample, total=total, whole=whole)
    assert upper - rarer == pytest.approx(found, abs=1e-12)
    assert upper + at_most(hits - 1, sample=sample, total=total, whole=whole) == pytest.approx(1, abs=1e-12)


def test_tails_and_bounds_agree_with_scipy() -> None:
    """On a grid and at random points, to 1e-9."""
    stats = pytest.importorskip("scipy.stats", reason="SciPy is not installed: it is in requirements/dev.txt")
    rng = random.Random(14)
    cases = [random_case(rng) for _ in range(600)]
    cases += [(x, n, k, 30) for n in (0, 1, 15, 29, 30) for k in (0, 1, 15, 28, 30) for x in {0, n // 2, n}]
    hits, sample, total, whole = zip(*cases, strict=True)
    for ours, theirs in (
        (probability, stats.hypergeom.pmf(hits, whole, total, sample)),
        (at_most, stats.hypergeom.cdf(hits, whole, total, sample)),
        (at_least, stats.hypergeom.sf([x - 1 for x in hits], whole, total, sample)),
    ):
        found = [ours(x, sample=n, total=k, whole=w) for x, n, k, w in cases]
        assert found == pytest.approx(theirs.tolist(), abs=1e-9)
    bounds = [(x, n, w) for x, n, _, w in cases[::4]]
    for (x, n, w), level in zip(bounds, LEVELS * len(bounds), strict=False):
        low, high = (bound(x, sample=n, whole=w, level=level) for bound in (fewest_in_whole, most_in_whole))
        nearby = [low - 1, low, high, high + 1]
        upper, lower = stats.hypergeom.sf(x - 1, w, nearby, n), stats.hypergeom.cdf(x, w, nearby, n)
        less, more = float(level) - 1e-9, float(level) + 1e-9
        assert min(upper[1], lower[2]) > less
        assert low == 0 or upper[0] <= more
        assert high == w or lower[3] <= more


def test_bounds_of_tiny_wholes_are_those_of_all_totals() -> None:
    """Every sample of every whole up to 9 images, at levels that some probabilities reach exactly."""
    for whole in range(10):
        for sample in range(whole + 1):
            for hits in range(sample + 1):
                for level in (Fraction(1, 20), Fraction(1, 9), Fraction(1, 6), Fraction(1, 2), Fraction(2, 3)):
                    least = fewest_in_whole(hits, sample=sample, whole=whole, level=level)
                    most = most_in_whole(hits, sample=sample, whole=whole, level=level)
                    assert least == oracle.lower(hits, sample, whole, level)
                    assert most == oracle.upper(hits, sample, whole, level)


@pytest.mark.parametrize("whole", [0, 1, 6, 25])
def test_the_interval_for_looking_holds_all_totals_it_may(whole: int) -> None:
    """Every sample of a small whole, at levels up to 1/2."""
    for sample in range(whole + 1):
        for hits in range(sample + 1):
            for alpha in (Fraction(1, 20), Fraction(1, 2)):
                found = totals_not_excluded(hits, sample=sample, whole=whole, alpha=alpha)
                low, high = oracle.looked_at(hits, sample, whole, alpha)
                assert found == ((0, whole) if sample == 0 else (low * whole, high * whole))


def test_the_interval_for_looking_agrees_with_scipy() -> None:
    """The first and last totals that are as likely as alpha times the mixture, at any size."""
    stats = pytest.importorskip("scipy.stats", reason="SciPy is not installed: it is in requirements/dev.txt")
    rng, alpha = random.Random(5), Fraction(1, 20)
    for _ in range(60):
        whole = rng.choice([40, 900, 20_000, 1_000_000])
        sample = rng.randint(1, min(whole - 1, 5000))
        hits = rng.choice([0, sample, sample - rng.randint(0, min(sample, 30)), rng.randint(0, sample)])
        mixture = float(stats.betabinom.pmf(hits, sample, 9.5, 0.5))
        assert exp(log_beta_binomial(hits, sample)) == pytest.approx(mixture, rel=1e-9, abs=1e-300)
        low, high = totals_not_excluded(hits, sample=sample, whole=whole, alpha=alpha)
        likelihood = stats.hypergeom.pmf(hits, whole, [low - 1, low, high, high + 1], sample)
        wanted = 0.05 * mixture
        assert min(likelihood[1:3]) >= wanted * (1 - 1e-9)
        assert low == hits or likelihood[0] < wanted
        assert high == whole - (sample - hits) or likelihood[3] < wanted


def test_a_level_that_is_met_exactly_counts_as_met() -> None:
    """No rounding decides: 1/190 is the probability itself, and the least fraction below it is not met."""
    exact, less = Fraction(1, 190), Fraction(1, 190) - Fraction(1, 10**30)
    assert hypergeometric.is_at_least_rarer(2, sample=2, total=2, whole=20, level=exact)
    assert not hypergeometric.is_at_least_rarer(2, sample=2, total=2, whole=20, level=less)
    assert fewest_in_whole(2, sample=2, whole=20, level=exact) == 3


@pytest.mark.parametrize(("hits", "sample", "whole"), [(0, 0, 0), (0, 0, 9), (0, 9, 9), (4, 9, 9), (9, 9, 9)])
def test_nothing_seen_and_all_seen(hits: int, sample: int, whole: int) -> None:
    """Without a sample every total is possible; with all images only one is."""
    level = Fraction(1, 40)
    bounds = [bound(hits, sample=sample, whole=whole, level=level) for bound in (fewest_in_whole, most_in_whole)]
    assert bounds == ([0, whole] if sample < whole else [hits, hits])
    assert list(hits_in_whole(hits, sample, whole)) == bounds
    assert list(totals_not_excluded(hits, sample=sample, whole=whole, alpha=level)) == bounds


def test_the_interval_for_agreement_agrees_with_statsmodels() -> None:
    """Clopper and Pearson's, to 1e-9, from no agreement to full agreement."""
    proportion = pytest.importorskip(
        "statsmodels.stats.proportion", reason="statsmodels is not installed: it is in requirements/dev.txt"
    )
    for trials in (50, 51, 100, 777, 5000):
        for hits in {0, 1, trials // 2, trials * 95 // 100, trials - 1, trials}:
            for confidence in (0.8, 0.95, 0.999):
                theirs = proportion.proportion_confint(hits, trials, alpha=1 - confidence, method="beta")
                assert rate_interval(hits, trials, confidence) == pytest.approx(theirs, abs=1e-9)


def test_agreement_corrected_for_chance_agrees_with_its_formula() -> None:
    """Gwet's example of nearly all images alike, and random pairs of two and three kinds."""
    pairs = [("keep", "keep")] * 95 + [("reject", "reject")] + [("keep", "reject"), ("reject", "keep")] * 2
    assert gwet_ac1(pairs) == pytest.approx(0.9575281376088342, abs=1e-12)
    rng = random.Random(8)
    for kinds in (["keep"], ["keep", "reject"], ["keep", "reject", "unsure"]):
        pairs = [(rng.choice(kinds), rng.choice(kinds)) for _ in range(80)] + [(kind, kind) for kind in kinds]
        n, q = len(pairs), max(2, len(kinds))
        shares = [Fraction(sum((a == k) + (b == k) for a, b in pairs), 2 * n) for k in kinds]
        observed, chance = Fraction(sum(a == b for a, b in pairs), n), sum(p * (1 - p) for p in shares) / (q - 1)
        assert gwet_ac1(pairs) == pytest.approx(float((observed - chance) / (1 - chance)), abs=1e-12)
