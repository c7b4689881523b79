"""What a user announces for an audit, and whether it is what a frozen draw was made with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from asyncfilter.errors import UsageError
from asyncfilter.records.draws import Draw, Targets

PRECISION = 0.95
CONFIDENCE = 0.95
MILESTONES = (100, 200, 400, 800)
MAX_SEED = (1 << 63) - 1
MAX_POSITIONS = 100_000
"""Largest milestone: positions are kept in memory, and more answers are not realistic."""


class Announcement(msgspec.Struct, frozen=True, kw_only=True):
    """The options of ``audit`` that a draw freezes; None for one that was not given.

    Attributes:
        floor: Percent.
    """

    precision: float | None = None
    recall: float | None = None
    confidence: float | None = None
    floor: float | None = None
    milestones: tuple[int, ...] | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            UsageError: One cannot be used.
        """
        for option, share in (("--precision", self.precision), ("--recall", self.recall)):
            if share is not None and not 0 < share <= 1:
                raise UsageError(f"{option}: expected a share above 0 and at most 1, found {share:g}", hint=_SHARE)
        if self.confidence is not None and not 0 < self.confidence < 1:
            found = f"{self.confidence:g}"
            raise UsageError(f"--confidence: expected a share between 0 and 1, found {found}", hint=_SHARE)
        if self.floor is not None and not 0 <= self.floor <= 100:
            raise UsageError(f"--floor: expected percent from 0 to 100, found {self.floor:g}", hint="Give percent.")
        if self.seed is not None and not 0 <= self.seed <= MAX_SEED:
            raise UsageError(f"--seed: expected 0 to {MAX_SEED}, found {self.seed}", hint="Give another seed.")

    def targets(self) -> Targets:
        """What is announced by a new draw."""
        return Targets(
            precision=PRECISION if self.precision is None else self.precision,
            recall=self.recall,
            confidence=CONFIDENCE if self.confidence is None else self.confidence,
            milestones=MILESTONES if self.milestones is None else self.milestones,
        )

    def check(self, draws: Sequence[Draw]) -> None:
        """Check that frozen draws were made with what was given now.

        Raises:
            UsageError: One was not.
        """
        for draw in draws:
            for option, given, frozen in self._compared(draw):
                if given is not None and given != frozen:
                    raise UsageError(
                        f"{option}: draw {draw.number} of rules[{draw.measured.rule}] was announced with "
                        f"{_shown(frozen)}, found {_shown(given)}",
                        hint=f"Leave out {option} to go on with that draw, or make another one: --new.",
                    )

    def _compared(self, draw: Draw) -> Iterator[tuple[str, object, object]]:
        targets = draw.targets
        yield "--precision", self.precision, targets.precision
        yield "--recall", self.recall, targets.recall
        yield "--confidence", self.confidence, targets.confidence
        yield "--floor", self.floor, draw.measured.floor
        yield "--milestones", self.milestones, targets.milestones
        yield "--seed", self.seed, draw.seed


_SHARE = "Write 0.95 for 95 %."


def milestones_in(text: str) -> tuple[int, ...]:
    """The milestones in ``100,200,400``, rising.

    Raises:
        UsageError: They are not whole numbers above 0, or too large.
    """
    try:
        found = sorted({int(part) for part in text.split(",")})
    except ValueError:
        found = []
    if not found or found[0] < 1 or found[-1] > MAX_POSITIONS:
        raise UsageError(
            f"--milestones: expected numbers from 1 to {MAX_POSITIONS} with commas between them, found {text!r}",
            hint="Write them like 100,200,400.",
        )
    return tuple(found)


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
