"""What a calibration is made of, and what it finds. The fields of the second half are those of ``calibrate --json``.

Thresholds and scores are percent, shares and targets fractions from 0 to 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from fractions import Fraction

import msgspec

from asyncfilter.records.answers import CurrentVerdict


class Position(msgspec.Struct, frozen=True, gc=False):
    """An image of a draw.

    Attributes:
        score: Percent; of no meaning where the rule has no score, and in the part ``rest``.
        answer: The current answer, ``unsure`` for an image that changed or vanished; None where there is none.
    """

    score: float
    answer: CurrentVerdict | None


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One part of the population of a rule: what the rule could take, or the rest.

    Attributes:
        images: In the frozen population of the part.
        milestones: Numbers of positions at which certificates are decided, rising; ``populations.milestones_of``.
        positions: The first of them in the order of their ranks, as many as the last milestone; more do no harm.
    """

    images: int
    milestones: tuple[int, ...]
    positions: Sequence[Position]

    @property
    def prefix(self) -> int:
        """The largest n so that the positions 1 to n are all answered."""
        for number, position in enumerate(self.positions):
            if position.answer is None:
                return number
        return len(self.positions)

    @property
    def reached(self) -> tuple[int, ...]:
        """The milestones within the prefix."""
        prefix = self.prefix
        return tuple(milestone for milestone in self.milestones if milestone <= prefix)


class Candidate(msgspec.Struct, frozen=True, gc=False):
    """A threshold that could be certified.

    Attributes:
        threshold: Percent.
        images: Images of the part ``taken`` with this score or more.
    """

    threshold: float
    images: int


class Announced(msgspec.Struct, frozen=True, kw_only=True):
    """What was announced before anybody was asked.

    The numbers are read as decimals: 0.95 is 19/20, not the nearest number in binary.

    Attributes:
        precision: Share of good images among those kept that is to be shown; above 0, at most 1.
        recall: Share of the good images that are to be kept or asked; None for no such target.
        confidence: Above 0, below 1.
    """

    precision: float
    recall: float | None
    confidence: float

    @property
    def alpha(self) -> Fraction:
        """The probability of an error, 1 - confidence."""
        return 1 - exactly(self.confidence)


class RuleDraw(msgspec.Struct, frozen=True, kw_only=True):
    """A rule and its frozen draw, with the current answers.

    Attributes:
        present: The rule's own threshold, percent; one of the candidates.
        floor: Least score of the part ``taken``, percent.
        candidates: By rising threshold.
        has_score: False for rules with ``none``, ``not`` or ``max``: their only candidate is ``present``, with all of
            ``taken``.
        is_outdated: The condition of the rule has changed since the draw.
    """

    announced: Announced
    present: float
    floor: float
    candidates: tuple[Candidate, ...]
    taken: Part
    rest: Part
    has_score: bool = True
    is_outdated: bool = False


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer costs.

    Attributes:
        seconds: Median time a person needs for an image.
        hourly_usd: What an hour of a person costs.
    """

    seconds: float = 3.0
    hourly_usd: float = 0.0


class ThresholdFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What is known about the images with a score of at least ``threshold``.

    Attributes:
        images: In the population.
        n: Of them among the positions that the interval is made of; ``good`` and ``unsure`` are among these.
        unsure: Unresolved ones included; not good.
        share: good / n; None without any.
        low: From here to ``high`` is the share in the population, at every moment at once.
        p: p-value of "the precision is below the target" at ``milestone``; None before the first milestone.
        milestone: The last one that was reached; None before the first.
        certified: At any milestone reached.
    """

    threshold: float
    images: int
    n: int
    good: int
    unsure: int
    share: float | None
    low: float
    high: float
    p: float | None
    milestone: int | None
    certified: bool


class Certified(msgspec.Struct, frozen=True, kw_only=True):
    """The lowest threshold that was certified.

    Attributes:
        keep_from: Percent.
        precision: The target.
        milestone: The first one at which it was certified.
    """

    keep_from: float
    precision: float
    confidence: float
    milestone: int


class Losses(msgspec.Struct, frozen=True, kw_only=True):
    """Good images that are neither kept nor asked.

    Attributes:
        images: In the part ``rest``.
        n: Positions of the rest up to ``milestone``.
        good: Of them; with unsure and unresolved ones.
        lost_low: Bounds of the good images in the rest, each at half of the error for losses.
        recall_low: At least this share of the good images is kept or asked.
        milestone: The last one reached in the rest; None where the rest has no image.
        certified: Whether ``recall_low`` reaches the announced recall; False without such a target.
    """

    images: int
    n: int
    good: int
    lost_low: int
    lost_high: int
    recall_low: float
    milestone: int | None
    certified: bool


class Next(msgspec.Struct, frozen=True, kw_only=True):
    """How many more answers it takes to certify the present threshold.

    Attributes:
        more: Positions to answer until ``milestone``; both None when ``too_near``.
        beyond_plan: No announced milestone will do: a new draw is needed.
        too_near: The target is too near the truth for any number of answers up to 5,000.
        instead: Then the greatest target that could be shown at the last milestone; None where there is none.
    """

    more: int | None
    milestone: int | None
    beyond_plan: bool
    too_near: bool
    instead: float | None


class AdviceReason(StrEnum):
    """Why there is no advice."""

    OUTDATED = "outdated"
    NO_SCORE = "no_score"
    NOT_ANNOUNCED = "not_announced"
    NOT_CERTIFIED = "not_certified"
    RECALL_NOT_SHOWN = "recall_not_shown"


class Advice(msgspec.Struct, frozen=True, kw_only=True):
    """The thresholds that keep what was announced with the fewest images left to people.

    Attributes:
        keep_from: Percent: images from here are kept.
        ask_from: Percent: images from here to ``keep_from`` are asked.
        kept: Images of the population; likewise ``asked``.
        hours: Of one person who decides all of these.
        usd_people: What these hours cost.
        usd_ground_truth: What AWS suggested to pay a crowd for them, without the fee of Ground Truth. Not shown to
            people, since neither takes new customers; kept for programs that read it.
    """

    keep_from: float
    ask_from: float
    kept: int
    asked: int
    hours: float
    usd_people: float
    usd_ground_truth: float


class RuleFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What is known about one rule."""

    thresholds: tuple[ThresholdFigures, ...]
    certified: Certified | None
    losses: Losses | None
    next: Next | None
    advice: Advice | None
    advice_reason: AdviceReason | None


def exactly(number: float) -> Fraction:
    """The decimal number that a person wrote, as a fraction."""
    return Fraction(str(number))
