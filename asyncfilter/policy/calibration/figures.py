"""All figures of one rule."""

from __future__ import annotations

from asyncfilter.policy.calibration.records import Cost, Figures, RuleDraw


def calibrate(draw: RuleDraw, *, cost: Cost | None = None, precision: float | None = None) -> Figures:
    """What the answers so far show.

    Args:
        draw: The rule, its draw and the current answers.
        cost: What the advice costs; 3 s an image and nothing an hour by default.
        precision: Look at this target instead of the announced one: then nothing is certified.
    """
    raise NotImplementedError
