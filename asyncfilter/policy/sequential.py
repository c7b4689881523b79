"""A test that may be looked at after every image: is the hit rate surely below a bound?

An interval made for one look is wrong far more often than it says when it is looked at all the time. Here the evidence
against a rate r is a mixture of likelihood ratios,

    M(r) = integral over q of (q/r)^hits ((1-q)/(1-r))^misses dBeta(q; a, b)
         = B(a + hits, b + misses) / B(a, b) / (r^hits (1-r)^misses),

which is a martingale of mean one when r is the true rate, so that it ever reaches 1/alpha with a probability of at most
alpha (Ville 1939; Robbins 1970, *Statistical methods related to the law of the iterated logarithm*, Annals of
Mathematical Statistics 41; Howard et al. 2021, *Time-uniform, nonparametric, nonasymptotic confidence sequences*,
Annals of Statistics 49). All r with M(r) < 1/alpha are a confidence interval that holds at every moment at once.

The mixture's mean is the bound itself. Then the promise also holds for draws without replacement, ``order: random``
over one bucket: what is left of a source has more hits than the bound after too few were drawn and fewer after too
many, both of which make the next ratio smaller on average. A true rate above the bound has the threshold passed more
rarely still, since more hits only delay it.
"""

from __future__ import annotations

from math import lgamma, log

PRIOR_HITS = 0.5
"""How much the mixture believes in its mean, in hits: with half a hit, sources without any hit are left soonest."""


def log_evidence(rate: float, hits: int, trials: int, *, mean: float | None = None) -> float:
    """Natural logarithm of the evidence that the hit rate is not ``rate``, given ``hits`` in ``trials``.

    Args:
        rate: A fraction above 0 and below 1.
        hits: From 0.
        trials: At least ``hits``.
        mean: Mean of the mixture; ``rate`` itself by default. It must be chosen before anything is seen.
    """
    centre = rate if mean is None else mean
    a = PRIOR_HITS
    b = a * (1 - centre) / centre
    misses = trials - hits
    mixture = lgamma(a + hits) + lgamma(b + misses) - lgamma(a + b + trials) - lgamma(a) - lgamma(b) + lgamma(a + b)
    return mixture - hits * log(rate) - misses * log(1 - rate)


def is_surely_below(below: float, confidence: float, *, hits: int, trials: int) -> bool:
    """Whether the hit rate is below ``below``, with a ``confidence`` that holds however often this is asked.

    The whole procedure says so of a source whose rate is ``below`` or more with a probability of at most
    ``1 - confidence``, over all moments together.
    """
    return hits < below * trials and log_evidence(below, hits, trials) >= -log(1 - confidence)
