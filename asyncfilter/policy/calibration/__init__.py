"""What people's answers show about the threshold of a rule: precision, losses, and what to ask next.

Pure functions of the counts of a frozen draw and of the answers to its positions, in the order of their ranks.
``records`` has what goes in and what comes out, ``figures.calibrate`` does it all for one rule. Every figure is made of
the first n positions, all of them answered, so that the order in which people work cannot bias it.
"""

from asyncfilter.policy.calibration.agreement import Agreement, agreement
from asyncfilter.policy.calibration.figures import calibrate
from asyncfilter.policy.calibration.populations import candidates, milestones_of
from asyncfilter.policy.calibration.records import (
    Advice,
    AdviceReason,
    Announced,
    Candidate,
    Certified,
    Cost,
    Losses,
    Next,
    Part,
    Position,
    RuleDraw,
    RuleFigures,
    ThresholdFigures,
)

__all__ = [
    "Advice",
    "AdviceReason",
    "Agreement",
    "Announced",
    "Candidate",
    "Certified",
    "Cost",
    "Losses",
    "Next",
    "Part",
    "Position",
    "RuleDraw",
    "RuleFigures",
    "ThresholdFigures",
    "agreement",
    "calibrate",
    "candidates",
    "milestones_of",
]
