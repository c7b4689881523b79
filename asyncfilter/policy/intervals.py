"""Exact intervals for the number of hits in a finite population, from a sample drawn without replacement.

The number of hits in a sample follows the hypergeometric distribution; inverting its tests gives an interval that
contains the true number with at least the given confidence, at any size of sample and population (Clopper and Pearson
1934, *Biometrika* 26, for the binomial; Wright 1991, *Exact Confidence Bounds when Sampling from Small Finite
Universes*, for draws without replacement). The interval can be wider than an approximate one, but never too narrow.
When the whole population was drawn, its width is 0.
"""

from __future__ import annotations

from collections.abc import Callable
from math import exp, lgamma
from typing import NamedTuple

CONFIDENCE = 0.95
_NEGLIGIBLE = 1e-12
"""The sum of a tail ends at the first term that changes it by less than this fraction."""


class Interval(NamedTuple):
    """From ``low`` to ``high``, both included."""

    low: int
    high: int


def hits_in_whole(hits: int, sample: int, whole: int, confidence: float = CONFIDENCE) -> Interval:
    """The interval for the hits in the population, with at least ``confidence``.

    Args:
        hits: Found in the sample, from 0.
        sample: Drawn from the whole without replacement, each as likely as any other; at least ``hits``.
        whole: Its size, at least ``sample``.
        confidence: A fraction; half of the remaining probability lies on either side.

    Raises:
        ValueError: Not ``0 <= hits <= sample <= whole``.
    """
    if not 0 <= hits <= sample <= whole:
        raise ValueError(f"expected 0 <= hits <= sample <= whole, found {hits}, {sample}, {whole}")
    tail = (1 - confidence) / 2
    fewest, most = hits, whole - (sample - hits)
    return Interval(
        low=_first(fewest, most, lambda total: _at_least(hits, sample, total, whole) > tail),
        high=most - _first(0, most - fewest, lambda less: _at_most(hits, sample, most - less, whole) > tail),
    )


def _first(low: int, high: int, holds: Callable[[int], bool]) -> int:
    """The smallest number from ``low`` to ``high`` that holds, given that all after it hold, ``high`` included."""
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle + 1
    return low


def _at_least(hits: int, sample: int, total: int, whole: int) -> float:
    """Probability of ``hits`` or more in a sample of a whole with ``total``."""
    # Terms fall from the first on only beyond the expected number; below it, those of the complement do.
    if hits * whole > sample * total:
        return _tail(hits, sample, total, whole)
    return 1 - _tail(sample - hits + 1, sample, whole - total, whole)


def _at_most(hits: int, sample: int, total: int, whole: int) -> float:
    """Probability of ``hits`` or fewer: as many misses or more."""
    return _at_least(sample - hits, sample, whole - total, whole)


def _tail(hits: int, sample: int, total: int, whole: int) -> float:
    """Probability of ``hits`` or more, which are more than to be expected, so that the terms fall from the first on."""
    term = sum_ = _probability(hits, sample, total, whole)
    for seen in range(hits, min(sample, total)):
        term *= (total - seen) * (sample - seen) / ((seen + 1) * (whole - total - sample + seen + 1))
        sum_ += term
        if term < _NEGLIGIBLE * sum_:
            break
    return sum_


def _probability(hits: int, sample: int, total: int, whole: int) -> float:
    if hits > min(sample, total) or sample - hits > whole - total:
        return 0.0
    log_ratio = _log_choose(total, hits) + _log_choose(whole - total, sample - hits) - _log_choose(whole, sample)
    return exp(log_ratio)


def _log_choose(of: int, chosen: int) -> float:
    return lgamma(of + 1) - lgamma(chosen + 1) - lgamma(of - chosen + 1)
