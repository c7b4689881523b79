"""The hypergeometric distribution: how many hits a sample has that was drawn without replacement from a whole.

Probabilities are right to about 1e-12 of their value for wholes of a million and more. Differences of ``lgamma`` would
lose six digits there, so each binomial factor is computed by its deviance and by the errors of Stirling's formula
(Loader 2000, *Fast and Accurate Computation of Binomial Probabilities*; R's ``dhyper`` does the same).

Everywhere: ``hits`` of a sample of ``sample`` from a whole of ``whole``, of which ``total`` are hits.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import comb, exp, lgamma, log, log1p, pi

_NEGLIGIBLE = 1e-16
"""The sum of a tail ends at the first term that changes it by less than this fraction."""

_DOUBTFUL = 1e-9
"""Two numbers that differ by less than this fraction are compared exactly, in whole numbers."""


def probability(hits: int, *, sample: int, total: int, whole: int) -> float:
    """Probability of exactly ``hits``."""
    if not max(0, sample - (whole - total)) <= hits <= min(sample, total):
        return 0.0
    return exp(log_probability(hits, sample=sample, total=total, whole=whole))


def log_probability(hits: int, *, sample: int, total: int, whole: int) -> float:
    """Its natural logarithm, for ``hits`` that are possible."""
    if sample in {0, whole}:
        return 0.0
    # With each image drawn independently, at the share of the sample: given how many were drawn, the share drops out.
    return (
        _log_binomial(hits, total, sample, whole)
        + _log_binomial(sample - hits, whole - total, sample, whole)
        - _log_binomial(sample, whole, sample, whole)
    )


def at_least(hits: int, *, sample: int, total: int, whole: int) -> float:
    """Probability of ``hits`` or more."""
    if hits <= max(0, sample - (whole - total)):
        return 1.0
    # Terms fall from the first on only beyond the expected number; below it, those of the complement do.
    if hits * whole > sample * total:
        return _tail(hits, sample, total, whole)
    return 1 - _tail(sample - hits + 1, sample, whole - total, whole)


def at_most(hits: int, *, sample: int, total: int, whole: int) -> float:
    """Probability of ``hits`` or fewer: as many misses or more."""
    return at_least(sample - hits, sample=sample, total=whole - total, whole=whole)


def is_at_least_rarer(hits: int, *, sample: int, total: int, whole: int, level: Fraction) -> bool:
    """Whether ``hits`` or more have a probability of at most ``level``, without an error of rounding."""
    found = at_least(hits, sample=sample, total=total, whole=whole)
    if abs(found - level) > _DOUBTFUL * level:
        return found <= level
    return _exactly_at_least(hits, sample, total, whole) <= level


def fewest_in_whole(hits: int, *, sample: int, whole: int, level: Fraction) -> int:
    """The least total with which ``hits`` or more have a probability above ``level``: a one-sided lower bound.

    With a probability of at most ``level``, from 0 to 1, the bound is above the truth.
    """

    def is_likely(total: int) -> bool:
        return not is_at_least_rarer(hits, sample=sample, total=total, whole=whole, level=level)

    return first_that_holds(hits, whole - (sample - hits), is_likely)


def most_in_whole(hits: int, *, sample: int, whole: int, level: Fraction) -> int:
    """The greatest total with which ``hits`` or fewer have a probability above ``level``: a one-sided upper bound."""
    return whole - fewest_in_whole(sample - hits, sample=sample, whole=whole, level=level)


def first_that_holds(low: int, high: int, holds: Callable[[int], bool]) -> int:
    """The smallest number from ``low`` to ``high`` that holds, given that all after it hold, ``high`` included."""
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle + 1
    return low


def exact_probability(hits: int, *, sample: int, total: int, whole: int) -> Fraction:
    """Probability of exactly ``hits`` as a fraction: slow for large samples."""
    return Fraction(comb(total, hits) * comb(whole - total, sample - hits), comb(whole, sample))


def is_as_likely(found: float, level: float, exactly: Callable[[], bool]) -> bool:
    """Whether ``found`` is at least ``level``, both logarithms; ``exactly`` decides where rounding could."""
    if abs(found - level) > _DOUBTFUL:
        return found > level
    return exactly()


def _exactly_at_least(hits: int, sample: int, total: int, whole: int) -> Fraction:
    most = min(sample, total)
    term = comb(total, hits) * comb(whole - total, sample - hits) if hits <= most else 0
    ways = term
    for seen in range(hits, most):
        term = term * (total - seen) * (sample - seen) // ((seen + 1) * (whole - total - sample + seen + 1))
        ways += term
    return Fraction(ways, comb(whole, sample))


def _tail(hits: int, sample: int, total: int, whole: int) -> float:
    """Probability of ``hits`` or more, which are more than to be expected, so that the terms fall from the first on."""
    term = sum_ = probability(hits, sample=sample, total=total, whole=whole)
    for seen in range(hits, min(sample, total)):
        term *= (total - seen) * (sample - seen) / ((seen + 1) * (whole - total - sample + seen + 1))
        sum_ += term
        if term <= _NEGLIGIBLE * sum_:
            break
    return min(sum_, 1.0)


def _log_binomial(hits: int, trials: int, sample: int, whole: int) -> float:
    """Logarithm of the binomial probability of ``hits`` in ``trials``, at the rate ``sample / whole``."""
    misses = trials - hits
    if hits == 0:
        return trials * log1p(-sample / whole)
    if misses == 0:
        return trials * log(sample / whole)
    deviance = _deviance(hits, trials * sample, whole) + _deviance(misses, trials * (whole - sample), whole)
    stirling = _stirling_error(trials) - _stirling_error(hits) - _stirling_error(misses)
    return stirling - deviance - 0.5 * (log(2 * pi * hits) + log1p(-hits / trials))


def _deviance(seen: int, expected_times: int, times: int) -> float:
    """``x log(x / m) + m - x`` for x = ``seen`` and m = ``expected_times / times``; near x = m without cancellation."""
    expected = expected_times / times
    difference = (seen * times - expected_times) / times
    ratio = difference / (seen + expected)
    if abs(ratio) >= 0.1:
        return seen * log(seen / expected) - difference
    power, sum_, exponent = 2 * seen * ratio, difference * ratio, 1
    while True:
        power *= ratio * ratio
        exponent += 2
        longer = sum_ + power / exponent
        if longer == sum_:
            return sum_
        sum_ = longer


def _stirling_error(number: int) -> float:
    """``log(n!)`` less Stirling's formula ``log(sqrt(2 pi n) (n / e)^n)``, for n from 1."""
    if number <= 15:
        return lgamma(number + 1) - (number + 0.5) * log(number) + number - 0.5 * log(2 * pi)
    square = number * number
    last = 1 / 1188 - 691 / 360360 / square
    return (1 / 12 - (1 / 360 - (1 / 1260 - (1 / 1680 - last / square) / square) / square) / square) / number
