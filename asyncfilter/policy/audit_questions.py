"""What people are asked about by an audit: positions of draws, in the order in which they are written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum

import msgspec

from asyncfilter.policy.audit_progress import DrawStandings
from asyncfilter.records.draws import DrawnImage, PartName


class QuestionFormat(StrEnum):
    """How questions are written."""

    LABEL_STUDIO = "label-studio"
    """A JSON array of tasks."""
    CSV = "csv"
    JSONL = "jsonl"
    GROUND_TRUTH = "ground-truth"
    """A manifest of bare lines."""

    @property
    def names_positions(self) -> bool:
        """Whether a line says of which draw it is; else an image that is in several is written once."""
        return self is QuestionFormat.JSONL


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """One position.

    Attributes:
        draw: Number of the draw.
        rule: Number of the rule that the draw is of.
        position: From 1.
    """

    draw: int
    rule: int
    part: PartName
    position: int
    image: DrawnImage


def questions(draws: Iterable[DrawStandings], format_: QuestionFormat, *, is_all: bool) -> Iterator[Question]:
    """What is to be asked, draw by draw: the part taken first, each part by rank.

    Args:
        draws: The draws.
        format_: Of the output.
        is_all: All positions that can be asked, answered or not; else those missing for the next milestone.
    """
    seen: set[tuple[str, str]] = set()
    for found in draws:
        for part in found.parts.values():
            for position, image in part.asked(is_all=is_all):
                name = (image.bucket, image.key)
                if format_.names_positions or name not in seen:
                    seen.add(name)
                    yield Question(
                        draw=found.draw.number,
                        rule=found.draw.measured.rule,
                        part=part.name,
                        position=position,
                        image=image,
                    )
