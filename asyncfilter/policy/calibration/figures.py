"""All figures of one rule."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import msgspec

from asyncfilter.policy.calibration.advice import advise
from asyncfilter.policy.calibration.certificates import Milestone, decide
from asyncfilter.policy.calibration.counting import ScoreCounts
from asyncfilter.policy.calibration.looking import positions_looked_at, totals_not_excluded
from asyncfilter.policy.calibration.losses import losses
from asyncfilter.policy.calibration.more import more
from asyncfilter.policy.calibration.records import (
    Advice,
    AdviceReason,
    Candidate,
    Certified,
    Cost,
    Losses,
    RuleDraw,
    RuleFigures,
    ThresholdFigures,
    exactly,
)


def calibrate(draw: RuleDraw, *, cost: Cost | None = None, precision: float | None = None) -> RuleFigures:
    """What the answers so far show.

    Args:
        draw: The rule, its draw and the current answers.
        cost: What the advice costs; 3 s an image and nothing an hour by default.
        precision: Look at this target instead of the announced one: then nothing is certified.
    """
    announced = draw.announced.precision
    is_announced = precision is None or exactly(precision) == exactly(announced)
    target = exactly(announced if precision is None else precision)
    decided = decide(draw, target)
    passed = frozenset[int]().union(*(milestone.certified for milestone in decided))
    certified = _certified(draw, decided, passed) if is_announced else None
    advice, reason = _advice(draw, certified, cost or Cost(), is_announced=is_announced)
    return RuleFigures(
        thresholds=tuple(_thresholds(draw, decided, passed if is_announced else frozenset())),
        certified=certified,
        losses=_losses(draw, is_announced=is_announced),
        next=None if _present(draw) in passed else more(draw, target),
        advice=advice,
        advice_reason=reason,
    )


def _present(draw: RuleDraw) -> int:
    return next(number for number, one in enumerate(draw.candidates) if one.threshold == draw.present)


def _thresholds(draw: RuleDraw, decided: Sequence[Milestone], passed: frozenset[int]) -> list[ThresholdFigures]:
    n = positions_looked_at(draw.taken.prefix, draw.taken.images)
    counts, last = ScoreCounts(draw.taken.positions[:n]), decided[-1] if decided else None
    return [
        _threshold(
            candidate,
            counts,
            draw.announced.alpha,
            p=last.p_values[number] if last else None,
            milestone=last.at if last else None,
            certified=number in passed,
        )
        for number, candidate in enumerate(draw.candidates)
    ]


def _threshold(
    candidate: Candidate,
    counts: ScoreCounts,
    alpha: Fraction,
    *,
    p: float | None,
    milestone: int | None,
    certified: bool,
) -> ThresholdFigures:
    threshold, images = candidate.threshold, candidate.images
    n, good = counts.images_from(threshold), counts.good_from(threshold)
    totals = totals_not_excluded(good, sample=n, whole=images, alpha=alpha)
    return ThresholdFigures(
        threshold=threshold,
        images=images,
        n=n,
        good=good,
        unsure=counts.undecided_from(threshold),
        share=good / n if n else None,
        low=totals.low / images if n else 0.0,
        high=totals.high / images if n else 1.0,
        p=p,
        milestone=milestone,
        certified=certified,
    )


def _certified(draw: RuleDraw, decided: Sequence[Milestone], passed: frozenset[int]) -> Certified | None:
    if not passed:
        return None
    laxest = min(passed)
    return Certified(
        keep_from=draw.candidates[laxest].threshold,
        precision=draw.announced.precision,
        confidence=draw.announced.confidence,
        milestone=next(milestone.at for milestone in decided if laxest in milestone.certified),
    )


def _losses(draw: RuleDraw, *, is_announced: bool) -> Losses | None:
    found = losses(draw)
    return found if found is None or is_announced else msgspec.structs.replace(found, certified=False)


def _advice(
    draw: RuleDraw, certified: Certified | None, cost: Cost, *, is_announced: bool
) -> tuple[Advice | None, AdviceReason | None]:
    if draw.is_outdated:
        return None, AdviceReason.OUTDATED
    if not draw.has_score:
        return None, AdviceReason.NO_SCORE
    if not is_announced:
        return None, AdviceReason.NOT_ANNOUNCED
    if certified is None:
        return None, AdviceReason.NOT_CERTIFIED
    found = advise(draw, certified.keep_from, cost)
    return found, None if found else AdviceReason.RECALL_NOT_SHOWN
