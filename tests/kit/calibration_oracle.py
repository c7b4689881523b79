"""The definitions of ``calibrate``, written down as they are read, in fractions, without shortcuts: for small N."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from functools import cache
from math import ceil, comb
from typing import NamedTuple

from asyncfilter.policy.calibration import Candidate, Next, Part, RuleDraw
from asyncfilter.records.answers import CurrentVerdict

KEEP, UNSURE, UNRESOLVED = CurrentVerdict.KEEP, CurrentVerdict.UNSURE, CurrentVerdict.UNRESOLVED


def decimal(number: float) -> Fraction:
    """The number as it is written."""
    return Fraction(Decimal(repr(number)))


def ways(whole: int, total: int, sample: int, hits: int) -> int:
    """Samples with that many hits."""
    if not 0 <= hits <= sample or not 0 <= total <= whole:
        return 0
    return comb(total, hits) * comb(whole - total, sample - hits)


@cache
def at_least(hits: int, whole: int, total: int, sample: int) -> Fraction:
    """Probability of so many hits or more."""
    return Fraction(sum(ways(whole, total, sample, x) for x in range(hits, sample + 1)), comb(whole, sample))


def lower(hits: int, sample: int, whole: int, level: Fraction) -> int:
    """The least total under which so many hits or more are likely enough."""
    return next(total for total in range(whole + 1) if at_least(hits, whole, total, sample) > level)


def upper(hits: int, sample: int, whole: int, level: Fraction) -> int:
    """The greatest total under which so many hits or fewer are likely enough."""
    return next(total for total in range(whole, -1, -1) if 1 - at_least(hits + 1, whole, total, sample) > level)


def beta_binomial(hits: int, sample: int) -> Fraction:
    """The probability under the mixture (9.5, 0.5)."""

    def rising(start: Fraction, factors: int) -> Fraction:
        product = Fraction(1)
        for number in range(factors):
            product *= start + number
        return product

    a, b = Fraction("9.5"), Fraction("0.5")
    return comb(sample, hits) * rising(a, hits) * rising(b, sample - hits) / rising(a + b, sample)


def looked_at(hits: int, sample: int, whole: int, alpha: Fraction) -> tuple[Fraction, Fraction]:
    """The shares that what was seen does not exclude at any moment."""
    if sample == 0:
        return Fraction(0), Fraction(1)
    level = alpha * beta_binomial(hits, sample)
    chosen = [k for k in range(whole + 1) if Fraction(ways(whole, k, sample, hits), comb(whole, sample)) >= level]
    return Fraction(chosen[0], whole), Fraction(chosen[-1], whole)


class Seen(NamedTuple):
    """Counts of positions."""

    n: int
    good: int
    unsure: int


def seen(part: Part, n: int, threshold: float, below: float = 1000.0) -> Seen:
    """The first n positions with a score from ``threshold`` to below ``below``."""
    answers = [one.answer for one in list(part.positions)[:n] if threshold <= one.score < below]
    return Seen(len(answers), answers.count(KEEP), answers.count(UNSURE) + answers.count(UNRESOLVED))


def reached(part: Part) -> list[int]:
    """The milestones within the answered prefix."""
    answers = [one.answer for one in part.positions]
    prefix = answers.index(None) if None in answers else len(answers)
    return [n for n in part.milestones if n <= prefix]


def weights(candidates: Sequence[Candidate], present: float) -> list[Fraction]:
    """Half for the present threshold, the other half for four on either side."""
    stricter = [number for number, one in enumerate(candidates) if one.threshold > present][:4]
    laxer = [number for number, one in enumerate(candidates) if one.threshold < present][::-1][:4]
    others = stricter + laxer
    return [
        (Fraction(1, 2) if others else Fraction(1))
        if one.threshold == present
        else (Fraction(1, 2) / len(others) if number in others else Fraction(0))
        for number, one in enumerate(candidates)
    ]


def p_values(draw: RuleDraw, n: int, target: Fraction) -> list[Fraction]:
    """Of each candidate, after n positions."""
    found = []
    for candidate in draw.candidates:
        here = seen(draw.taken, n, candidate.threshold)
        if here.n == 0 or candidate.images == 0:
            found.append(Fraction(1))
        else:
            most = ceil(target * candidate.images) - 1
            found.append(at_least(here.good, candidate.images, most, here.n))
    return found


def certified_at(draw: RuleDraw, n: int, target: Fraction) -> set[int]:
    """The least p / w first, the laxest of equal ones; its weight goes to the next laxer one, or the next stricter."""
    level = draw.announced.alpha / len(draw.taken.milestones)
    left, p = weights(draw.candidates, draw.present), p_values(draw, n, target)
    certified: set[int] = set()
    while True:
        passing = [k for k in range(len(p)) if k not in certified and left[k] > 0 and p[k] <= left[k] * level]
        if not passing:
            return certified
        best = min(passing, key=lambda k: (p[k] / left[k], k))
        certified.add(best)
        laxer = [k for k in range(best) if k not in certified]
        stricter = [k for k in range(best + 1, len(p)) if k not in certified]
        heir = laxer[-1] if laxer else stricter[0] if stricter else None
        if heir is not None:
            left[heir] += left[best]
        left[best] = Fraction(0)


def loss_bounds(draw: RuleDraw, share: int) -> tuple[int, int]:
    """The bounds of good images in the rest, with alpha / (share J)."""
    n = reached(draw.rest)[-1]
    here = seen(draw.rest, n, -1.0)
    level = draw.announced.alpha / (share * len(draw.rest.milestones))
    good = here.good + here.unsure
    return lower(good, here.n, draw.rest.images, level), upper(good, here.n, draw.rest.images, level)


def kept_low(draw: RuleDraw, threshold: float, images: int, share: int) -> int:
    """A lower bound of the good images from a threshold on."""
    here = seen(draw.taken, reached(draw.taken)[-1], threshold)
    return lower(here.good, here.n, images, draw.announced.alpha / (share * len(draw.taken.milestones)))


def ask_from(draw: RuleDraw, keep_from: float) -> float | None:
    """The last threshold, from the floor up, that keeps the announced recall."""
    if draw.announced.recall is None:
        return draw.floor
    images = {draw.floor: draw.taken.images} | {one.threshold: one.images for one in draw.candidates}
    held = None
    for threshold in sorted(one for one in images if draw.floor <= one <= keep_from):
        low = kept_low(draw, threshold, images[threshold], 3)
        band = seen(draw.taken, reached(draw.taken)[-1], draw.floor, threshold)
        level = draw.announced.alpha / (3 * len(draw.taken.milestones))
        lost = loss_bounds(draw, 3)[1] + upper(band.good, band.n, draw.taken.images - images[threshold], level)
        if low == 0 or Fraction(low, low + lost) < decimal(draw.announced.recall):
            return held
        held = threshold
    return held


def has_power(draw: RuleDraw, n: int, target: Fraction, prefix: int) -> bool:
    """Whether n positions certify the target in 80 % of all draws."""
    images = next(one.images for one in draw.candidates if one.threshold == draw.present)
    here = seen(draw.taken, prefix, draw.present)
    total, sample = round(Fraction(images * here.good, here.n)), round(Fraction(n * images, draw.taken.images))
    level = draw.announced.alpha / len(draw.taken.milestones) / 2
    most = ceil(target * images) - 1
    power = sum(
        ways(images, total, sample, hits)
        for hits in range(sample + 1)
        if sample and at_least(hits, images, most, sample) <= level
    )
    return Fraction(power, comb(images, sample)) >= Fraction(4, 5)


def next_answers(draw: RuleDraw, target: Fraction, prefix: int) -> Next | None:
    """For a present threshold that is not certified."""
    if prefix < 25 or seen(draw.taken, prefix, draw.present).n == 0:
        return None
    whole = draw.taken.images
    beyond = [n for n in range(100, 5001, 100) if n < whole] + [whole] * (whole <= 5000)
    for plan, milestones in enumerate((draw.taken.milestones, beyond)):
        for n in milestones:
            if n > prefix and has_power(draw, n, target, prefix):
                return Next(more=n - prefix, milestone=n, beyond_plan=plan == 1, too_near=False, instead=None)
    for step in range(200, 0, -1):
        other = Fraction(step, 200)
        if other < target and has_power(draw, draw.taken.milestones[-1], other, prefix):
            return Next(more=None, milestone=None, beyond_plan=False, too_near=True, instead=float(other))
    return Next(more=None, milestone=None, beyond_plan=False, too_near=True, instead=None)
