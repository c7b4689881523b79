"""How far the answers to a draw have come: what is still to be asked, and for which milestone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from asyncfilter.policy.calibration import Part, Position, milestones_of
from asyncfilter.records.answers import CurrentVerdict
from asyncfilter.records.draws import Draw, DrawnImage, DrawnPart, PartName

_ALL = 100.0
"""Stands for the score where a rule has none: what it takes counts at its only threshold."""


class Standing(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What is known now about the image at a position.

    Attributes:
        answer: The current answer; ``unsure`` where there will be none, see ``is_changed``.
        is_changed: The object changed or left the source since the draw, so that nobody can be asked about it.
    """

    answer: CurrentVerdict | None
    is_changed: bool = False


class PartProgress(msgspec.Struct, frozen=True, kw_only=True):
    """One part of a draw, as in ``audit --json``.

    Attributes:
        images: In the part.
        milestones: Numbers of positions at which statements are made.
        prefix: The largest n so that the positions 1 to n are all answered.
        answered: Positions with an answer, those of changed objects included.
        changed: Positions whose object changed or vanished; they count as unsure.
        next_milestone: The first that is not reached; None after the last.
        missing: Positions without an answer up to there; None after the last.
    """

    images: int
    milestones: tuple[int, ...]
    prefix: int
    answered: int
    changed: int
    next_milestone: int | None
    missing: int | None


class PartStandings(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a draw with what is known now about each of its positions, in their order."""

    name: PartName
    part: DrawnPart
    milestones: tuple[int, ...]
    standings: Sequence[Standing]

    @property
    def progress(self) -> PartProgress:
        """The figures."""
        flags = [standing.answer is not None for standing in self.standings]
        prefix = flags.index(False) if False in flags else len(flags)
        following = next((milestone for milestone in self.milestones if milestone > prefix), None)
        return PartProgress(
            images=self.part.images,
            milestones=self.milestones,
            prefix=prefix,
            answered=sum(flags),
            changed=sum(standing.is_changed for standing in self.standings),
            next_milestone=following,
            missing=None if following is None else flags[:following].count(False),
        )

    def asked(self, *, is_all: bool) -> Iterable[tuple[int, DrawnImage]]:
        """Positions, from 1, and images to ask people about.

        Args:
            is_all: All that can be asked, answered or not; else those without an answer up to the next milestone.
        """
        past = len(self.part.positions) if is_all else self.progress.next_milestone or 0
        for number, (image, standing) in enumerate(zip(self.part.positions, self.standings, strict=True), 1):
            if number <= past and not standing.is_changed and (is_all or standing.answer is None):
                yield number, image

    def counted(self) -> Part:
        """The part as ``policy.calibration`` counts it."""
        return Part(
            images=self.part.images,
            milestones=self.milestones,
            positions=tuple(
                Position(_ALL if image.score is None else image.score, standing.answer)
                for image, standing in zip(self.part.positions, self.standings, strict=True)
            ),
        )


class DrawStandings(msgspec.Struct, frozen=True, kw_only=True):
    """A draw, and what is known now about its positions."""

    draw: Draw
    parts: Mapping[PartName, PartStandings]


def with_standings(draw: Draw, standing: Mapping[DrawnImage, Standing]) -> DrawStandings:
    """The draw with what is known about each of its images."""
    return DrawStandings(
        draw=draw,
        parts={
            name: PartStandings(
                name=name,
                part=draw.part(name),
                milestones=milestones_of(draw.part(name).images, draw.targets.milestones),
                standings=tuple(standing[image] for image in draw.part(name).positions),
            )
            for name in PartName
        },
    )
