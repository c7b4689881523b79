"""The thresholds that keep what was announced with the fewest images left to people, and what these cost."""

from __future__ import annotations

from asyncfilter.policy.calibration.losses import are_both_reached, counts_at_milestone, has_recall, lost_in_rest
from asyncfilter.policy.calibration.records import Advice, Cost, RuleDraw
from asyncfilter.policy.hypergeometric import fewest_in_whole, most_in_whole

CROWD_USD = 0.012
"""What AWS suggested to pay one person of a crowd for an image, beside the fee of Ground Truth; closed to newcomers."""


def advise(draw: RuleDraw, keep_from: float, cost: Cost) -> Advice | None:
    """The advice for a certified threshold; None when the announced recall is not shown."""
    ask_from = _ask_from(draw, keep_from)
    if ask_from is None:
        return None
    kept = _images_from(draw, keep_from)
    asked = _images_from(draw, ask_from) - kept
    hours = asked * cost.seconds / 3600
    return Advice(
        keep_from=keep_from,
        ask_from=ask_from,
        kept=kept,
        asked=asked,
        hours=hours,
        usd_people=hours * cost.hourly_usd,
        usd_ground_truth=asked * CROWD_USD,
    )


def _images_from(draw: RuleDraw, threshold: float) -> int:
    if threshold <= draw.floor:
        return draw.taken.images
    return next(candidate.images for candidate in draw.candidates if candidate.threshold == threshold)


def _ask_from(draw: RuleDraw, keep_from: float) -> float | None:
    """The floor, or the last threshold up to ``keep_from`` with which the announced recall is shown.

    The thresholds are tested from the floor up, until the first that fails, so that none of them costs any error.
    """
    if draw.announced.recall is None:
        return draw.floor
    if not are_both_reached(draw):
        return None
    last = None
    for ask_from in (
        draw.floor,
        *(one.threshold for one in draw.candidates if draw.floor < one.threshold <= keep_from),
    ):
        if not _keeps_recall(draw, ask_from, draw.announced.recall):
            break
        last = ask_from
    return last


def _keeps_recall(draw: RuleDraw, ask_from: float, wanted: float) -> bool:
    """Whether enough good images are shown to have a score of at least ``ask_from``: a third of the error a bound."""
    third = draw.announced.alpha / 3
    level = third / len(draw.taken.milestones)
    counts, images = counts_at_milestone(draw.taken), _images_from(draw, ask_from)
    good, n = counts.good_from(ask_from), counts.images_from(ask_from)
    kept = fewest_in_whole(good, sample=n, whole=images, level=level)
    _, lost = lost_in_rest(draw.rest, third)
    lost += most_in_whole(counts.good - good, sample=counts.images - n, whole=draw.taken.images - images, level=level)
    return has_recall(wanted, kept=kept, lost=lost)
