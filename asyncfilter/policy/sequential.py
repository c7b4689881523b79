"""A sequential test, valid after every image: whether the hit rate is below a bound.

An interval made for a single evaluation is wrong far more often than stated when it is evaluated after every image.
Here the evidence against a rate r is a mixture of likelihood ratios,

    M(r) = integral over q of (q/r)^hits ((1-q)/(1-r))^misses dBeta(q; a, b)
         = B(a + hits, b + misses) / B(a, b) / (r^hits (1-r)^misses),

which is a martingale of mean one when r is the true rate, so that it ever reaches 1/alpha with a probability of at most
alpha (Ville 1939; Robbins 1970, *Statistical methods related to the law of the iterated logarithm*, Annals of
Mathematical Statistics 41; Howard et al. 2021, *Time-uniform, nonparametric, nonasymptotic confidence sequences*,
Annals of Statistics 49). All r with M(r) < 1/alpha are a confidence interval that holds at every moment at once.

The mixture's mean is the bound itself. Then the guarantee also holds for draws without replacement, ``order: random``
over one bucket: the rest of a source has more hits than the bound after too few were drawn and fewer after too many,
both of which make the next ratio smaller on average. With a true rate above the bound the threshold is passed more
rarely still, because more hits only delay it.
"""

from __future__ import annotations

from math import lgamma, log

PRIOR_HITS = 0.5
"""Weight of the mixture's mean, in hits: with half a hit, the test ends soonest on sources without any hit."""


def log_evidence(rate: float, hits: int, trials: int, *, mean: float | None = None) -> float:
    """Natural logarithm of the evidence that the hit rate is not ``rate``, given ``hits`` in ``trials``.

    Args:
        rate: A fraction above 0 and below 1.
        hits: From 0.
        trials: At least ``hits``.
        mean: Mean of the mixture; ``rate`` itself by default. It must be chosen before the first image.
    """
    centre = rate if mean is None else mean
    a = PRIOR_HITS
    b = a * (1 - centre) / centre
    misses = trials - hits
    mixture = lgamma(a + hits) + lgamma(b + misses) - lgamma(a + b + trials) - lgamma(a) - lgamma(b) + lgamma(a + b)
    return mixture - hits * log(rate) - misses * log(1 - rate)


def is_surely_below(below: float, confidence: float, *, hits: int, trials: int) -> bool:
    """Whether the hit rate is below ``below``, with a ``confidence`` that holds however often this is called.

    For a source whose rate is ``below`` or more, the probability that any of the calls returns True is at most ``1 -
    confidence``.
    """
    # The evidence against a rate grows on both sides of it: only too few hits are a reason to stop.
    return hits < below * trials and log_evidence(below, hits, trials) >= -log(1 - confidence)
