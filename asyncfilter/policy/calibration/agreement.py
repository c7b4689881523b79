"""How far people agree: with one another, or with themselves later.

Chance-corrected by Gwet's AC1 (Gwet 2008, *Computing inter-rater reliability and its variance in the presence of high
agreement*, British Journal of Mathematical and Statistical Psychology 61), which stays meaningful where nearly all
images have the same verdict; Cohen's kappa does not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from math import exp, lgamma, log, log1p

import msgspec

from asyncfilter.policy.intervals import CONFIDENCE

LEAST_PAIRS = 50
"""Fewer pairs have no figures."""

_HALVINGS = 60
_NEGLIGIBLE = 1e-16


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of ``calibrate --json``: all None below ``LEAST_PAIRS``, but for the pairs.

    Attributes:
        pairs: Images with a first and a second word.
        agreed: Of them, those with the same word twice.
        share: agreed / pairs.
        low: From here to ``high`` is the true share, with 95 % confidence.
        ac1: At most 1; 0 means no more agreement than chance gives.
    """

    pairs: int
    agreed: int | None = None
    share: float | None = None
    low: float | None = None
    high: float | None = None
    ac1: float | None = None


def agreement(pairs: Sequence[tuple[str, str]]) -> Agreement:
    """The agreement of the first and second words about the same images."""
    n = len(pairs)
    if n < LEAST_PAIRS:
        return Agreement(pairs=n)
    agreed = sum(first == second for first, second in pairs)
    low, high = rate_interval(agreed, n)
    return Agreement(pairs=n, agreed=agreed, share=agreed / n, low=low, high=high, ac1=gwet_ac1(pairs))


def gwet_ac1(pairs: Sequence[tuple[str, str]]) -> float:
    """Gwet's AC1 over the kinds of words that occur, at least two kinds."""
    kinds = Counter(word for pair in pairs for word in pair)
    words = kinds.total()
    by_chance = sum(seen * (words - seen) for seen in kinds.values()) / words**2 / (max(2, len(kinds)) - 1)
    agreed = sum(first == second for first, second in pairs) / len(pairs)
    return (agreed - by_chance) / (1 - by_chance)


def rate_interval(hits: int, trials: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The exact interval for a rate (Clopper and Pearson 1934): never too narrow."""
    tail = (1 - confidence) / 2
    low = _rate(lambda rate: _at_least(hits, trials, rate) > tail) if hits else 0.0
    high = 1 - _rate(lambda rate: _at_least(trials - hits, trials, rate) > tail) if hits < trials else 1.0
    return low, high


def _rate(holds: Callable[[float], bool]) -> float:
    """The least rate that holds, given that all above it do."""
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if holds(middle):
            high = middle
        else:
            low = middle
    return high


def _at_least(hits: int, trials: int, rate: float) -> float:
    """Probability of ``hits`` or more, at least 1, in independent trials of a rate above 0 and below 1."""
    if hits <= rate * trials:
        return 1 - _upper_tail(trials - hits + 1, trials, 1 - rate)
    return _upper_tail(hits, trials, rate)


def _upper_tail(hits: int, trials: int, rate: float) -> float:
    """Likewise, where the terms fall from the first on."""
    if hits > trials:
        return 0.0
    ways = lgamma(trials + 1) - lgamma(hits + 1) - lgamma(trials - hits + 1)
    term = sum_ = exp(ways + hits * log(rate) + (trials - hits) * log1p(-rate))
    odds = rate / (1 - rate)
    for seen in range(hits, trials):
        term *= odds * (trials - seen) / (seen + 1)
        sum_ += term
        if term <= _NEGLIGIBLE * sum_:
            break
    return sum_
