"""Exact intervals for the number of hits in a finite population, from a sample drawn without replacement.

The number of hits in a sample follows the hypergeometric distribution; inverting its tests gives an interval that
contains the true number with at least the given confidence, at any size of sample and population (Clopper and Pearson
1934, *Biometrika* 26, for the binomial; Wright 1991, *Exact Confidence Bounds when Sampling from Small Finite
Universes*, for draws without replacement). The interval can be wider than an approximate one, but never too narrow.
When the whole population was drawn, its width is 0.
"""

from __future__ import annotations

from typing import NamedTuple

from asyncfilter.policy.hypergeometric import at_least, at_most, first_that_holds

CONFIDENCE = 0.95


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
        low=first_that_holds(
            fewest, most, lambda total: at_least(hits, sample=sample, total=total, whole=whole) > tail
        ),
        high=-first_that_holds(
            -most, -fewest, lambda total: at_most(hits, sample=sample, total=-total, whole=whole) > tail
        ),
    )
