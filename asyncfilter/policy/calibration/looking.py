"""An interval that holds at every moment at once, so that people may look at it as often as they like.

All totals under which what was seen is not much less likely than it was beforehand, under a fixed mixture of totals:
the ratio of both is a martingale under the true total, so that it ever passes 1 / alpha with a probability of at most
alpha (Ville 1939; prior-posterior ratio for draws without replacement: Waudby-Smith and Ramdas 2020, arXiv 2006.04347).
An interval made for one look is wrong at some moment in 20 to 30 % of jobs when people look while they work.
"""

from __future__ import annotations

from fractions import Fraction
from math import comb, lgamma, log, prod

from asyncfilter.policy.hypergeometric import (
    exact_probability,
    first_that_holds,
    is_as_likely,
    log_probability,
)
from asyncfilter.policy.intervals import Interval

STEP = 25
"""Positions between two intervals."""

PRIOR_GOOD, PRIOR_BAD = Fraction(19, 2), Fraction(1, 2)
"""The mixture is a beta distribution with these weights: it expects nineteen good images of twenty."""


def positions_looked_at(prefix: int, images: int) -> int:
    """The largest multiple of ``STEP`` within the prefix, or the whole part."""
    return prefix if prefix == images else prefix - prefix % STEP


def totals_not_excluded(hits: int, *, sample: int, whole: int, alpha: Fraction) -> Interval:
    """The least and the greatest total of the whole that ``hits`` in ``sample`` do not exclude."""
    if sample == 0:
        return Interval(0, whole)
    level = log(alpha) + log_beta_binomial(hits, sample)

    def is_possible(total: int) -> bool:
        found = log_probability(hits, sample=sample, total=total, whole=whole)
        return is_as_likely(found, level, lambda: _is_exactly_possible(hits, sample, total, whole, alpha))

    fewest, most = hits, whole - (sample - hits)
    # The likelihood rises up to this total and falls after it.
    likeliest = min(most, max(fewest, (whole + 1) * hits // sample))
    return Interval(
        low=first_that_holds(fewest, likeliest, is_possible),
        high=-first_that_holds(-most, -likeliest, lambda total: is_possible(-total)),
    )


def log_beta_binomial(hits: int, sample: int) -> float:
    """Logarithm of the probability of ``hits`` under the mixture."""
    a, b, misses = float(PRIOR_GOOD), float(PRIOR_BAD), sample - hits
    ways = lgamma(sample + 1) - lgamma(hits + 1) - lgamma(misses + 1)
    return ways + lgamma(a + hits) + lgamma(b + misses) - lgamma(a + b + sample) - lgamma(a) - lgamma(b) + lgamma(a + b)


def _is_exactly_possible(hits: int, sample: int, total: int, whole: int, alpha: Fraction) -> bool:
    rising = _rising(PRIOR_GOOD, hits) * _rising(PRIOR_BAD, sample - hits) / _rising(PRIOR_GOOD + PRIOR_BAD, sample)
    return exact_probability(hits, sample=sample, total=total, whole=whole) >= alpha * comb(sample, hits) * rising


def _rising(start: Fraction, factors: int) -> Fraction:
    """``start (start + 1) ...``; the start is a number of halves."""
    halves = int(2 * start)
    return Fraction(prod(range(halves, halves + 2 * factors, 2)), 2**factors)
