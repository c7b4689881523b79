"""How many more answers it takes until the present threshold is probably certified.

Probably: with a probability of 80 %, should the truth be what the answers so far say.
"""

from __future__ import annotations

from fractions import Fraction

import msgspec

from asyncfilter.policy.calibration.certificates import PRESENT_WEIGHT, most_below
from asyncfilter.policy.calibration.counting import ScoreCounts
from asyncfilter.policy.calibration.records import Next, RuleDraw
from asyncfilter.policy.hypergeometric import first_that_holds, is_at_least_rarer

LEAST_POSITIONS = 25
"""With fewer, nothing is said."""

POWER = Fraction(4, 5)
"""The probability of a certificate that is asked for."""

MOST_POSITIONS = 5_000
"""So many answers are thought of at most, in steps of ``STEP``."""

STEP = 100

TARGET_STEP = Fraction(1, 200)
"""Targets are proposed in such steps."""


class _Prospect(msgspec.Struct, frozen=True, kw_only=True):
    """What a certificate at the present threshold depends on.

    Attributes:
        part: Images of the part ``taken``; ``images``: of them, those from the threshold on; ``good``: of these, good
            ones, as the answers so far suggest.
        level: The error that the certificate may use.
    """

    part: int
    images: int
    good: int
    level: Fraction

    def is_promising(self, n: int, target: Fraction) -> bool:
        """Whether ``n`` positions certify ``target`` with a probability of at least ``POWER``."""
        sample, most = round(Fraction(n * self.images, self.part)), most_below(target, self.images)
        needed = first_that_holds(
            0,
            sample + 1,
            lambda hits: is_at_least_rarer(hits, sample=sample, total=most, whole=self.images, level=self.level),
        )
        # Too few good images for a certificate have a probability of at most 1 - POWER: as many misses or more have.
        return needed <= sample and is_at_least_rarer(
            sample - needed + 1, sample=sample, total=self.images - self.good, whole=self.images, level=1 - POWER
        )


def more(draw: RuleDraw, target: Fraction) -> Next | None:
    """What it takes to certify the present threshold, which is not certified yet.

    None where nothing can be said: with fewer than 25 positions, or with none from the threshold on.
    """
    taken, prefix = draw.taken, draw.taken.prefix
    counts = ScoreCounts(taken.positions[:prefix])
    seen = counts.images_from(draw.present)
    if prefix < LEAST_POSITIONS or not seen:
        return None
    images = next(candidate.images for candidate in draw.candidates if candidate.threshold == draw.present)
    prospect = _Prospect(
        part=taken.images,
        images=images,
        good=round(Fraction(images * counts.good_from(draw.present), seen)),
        level=PRESENT_WEIGHT * draw.announced.alpha / len(taken.milestones),
    )
    for candidates, beyond_plan in ((taken.milestones, False), (_unplanned(taken.images), True)):
        for n in candidates:
            if n > prefix and prospect.is_promising(n, target):
                return Next(more=n - prefix, milestone=n, beyond_plan=beyond_plan, too_near=False, instead=None)
    instead = _greatest_target(prospect, taken.milestones[-1], target)
    return Next(more=None, milestone=None, beyond_plan=False, too_near=True, instead=instead)


def _unplanned(images: int) -> list[int]:
    """The multiples of ``STEP``, up to all images."""
    multiples = [n for n in range(STEP, MOST_POSITIONS + 1, STEP) if n < images]
    return [*multiples, images] if images <= MOST_POSITIONS else multiples


def _greatest_target(prospect: _Prospect, n: int, below: Fraction) -> float | None:
    """The greatest target below the present one that ``n`` positions would probably certify."""
    steps = -(-below // TARGET_STEP) - 1
    fewer = first_that_holds(
        0, steps, lambda fewer: fewer == steps or prospect.is_promising(n, (steps - fewer) * TARGET_STEP)
    )
    return float((steps - fewer) * TARGET_STEP) if fewer < steps else None
