"""The answers that a worker keeps until the head reports that they are durable: so a killed head loses none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from asyncfilter.fleet.messages import WireImage

KEPT_BYTES = 64 * 1024 * 1024
"""Most memory for kept answers; above it a worker takes no asks."""

_ROW_BYTES = 400
"""What a kept answer takes beside its bytes."""


class KeptAnswer(NamedTuple):
    """One answer, as it travels."""

    image: WireImage
    answer: bytes


class KeptAnswers:
    """Answers by their numbers, oldest first.

    Args:
        most_bytes: See ``KEPT_BYTES``.
    """

    def __init__(self, most_bytes: int = KEPT_BYTES) -> None:
        self._most_bytes = most_bytes
        self._answers: dict[int, KeptAnswer] = {}
        self._bytes = 0
        self._number = 0

    def __len__(self) -> int:
        return len(self._answers)

    def get(self, number: int) -> KeptAnswer | None:
        """The answer of a number; None once it was dropped."""
        return self._answers.get(number)

    def numbers(self) -> list[int]:
        """The numbers of all answers, oldest first."""
        return list(self._answers)

    @property
    def is_full(self) -> bool:
        """True while no further answer should be asked for."""
        return self._bytes >= self._most_bytes

    def keep(self, image: WireImage, answer: bytes) -> int:
        """Keep an answer, also beyond the most bytes: it is paid for. Returns its number, from 1."""
        self._number += 1
        kept = KeptAnswer(image, answer)
        self._answers[self._number] = kept
        self._bytes += _size(kept)
        return self._number

    def drop(self, numbers: Sequence[int]) -> None:
        """Drop answers that are durable; numbers that are not kept are ignored."""
        for number in numbers:
            if (kept := self._answers.pop(number, None)) is not None:
                self._bytes -= _size(kept)


def _size(kept: KeptAnswer) -> int:
    return len(kept.answer) + len(kept.image.key) + _ROW_BYTES
