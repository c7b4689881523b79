"""Good images that are neither kept nor asked: bounds of their number, and of the recall."""

from __future__ import annotations

from fractions import Fraction

from asyncfilter.policy.calibration.counting import ScoreCounts
from asyncfilter.policy.calibration.records import Losses, Part, RuleDraw, exactly
from asyncfilter.policy.hypergeometric import fewest_in_whole, most_in_whole


def losses(draw: RuleDraw) -> Losses | None:
    """From the last milestones reached in both parts; None until both have reached one.

    Half of the error goes to either part, divided among its milestones.
    """
    if not are_both_reached(draw):
        return None
    taken, rest = draw.taken, draw.rest
    kept_counts, rest_counts = counts_at_milestone(taken), counts_at_milestone(rest)
    half = draw.announced.alpha / 2
    kept = fewest_in_whole(
        kept_counts.good, sample=kept_counts.images, whole=taken.images, level=half / len(taken.milestones)
    )
    good = rest_counts.good + rest_counts.undecided
    low, high = lost_in_rest(rest, half)
    return Losses(
        images=rest.images,
        n=rest_counts.images,
        good=good,
        lost_low=low,
        lost_high=high,
        recall_low=kept / (kept + high) if kept else 0.0,
        milestone=rest_counts.images or None,
        certified=draw.announced.recall is not None and has_recall(draw.announced.recall, kept=kept, lost=high),
    )


def are_both_reached(draw: RuleDraw) -> bool:
    """Whether both parts have reached a milestone; a rest without images is known without one."""
    return bool(draw.taken.reached) and (bool(draw.rest.reached) or draw.rest.images == 0)


def counts_at_milestone(part: Part) -> ScoreCounts:
    """The counts of the positions up to the last milestone that was reached."""
    return ScoreCounts(part.positions[: part.reached[-1]] if part.reached else ())


def lost_in_rest(rest: Part, error: Fraction) -> tuple[int, int]:
    """Bounds of the good images in the rest, each wrong at any milestone with a probability of at most ``error``."""
    if rest.images == 0:
        return 0, 0
    counts, level = counts_at_milestone(rest), error / len(rest.milestones)
    good, n = counts.good + counts.undecided, counts.images
    return (
        fewest_in_whole(good, sample=n, whole=rest.images, level=level),
        most_in_whole(good, sample=n, whole=rest.images, level=level),
    )


def has_recall(wanted: float, *, kept: int, lost: int) -> bool:
    """Whether ``kept`` good images are at least the wanted share of themselves and the ``lost`` ones."""
    return kept > 0 and kept >= exactly(wanted) * (kept + lost)
