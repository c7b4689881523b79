"""Counts among the first positions of a part, by threshold."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from functools import cached_property

from asyncfilter.policy.calibration.records import Position
from asyncfilter.records.answers import CurrentVerdict

_UNDECIDED = {CurrentVerdict.UNSURE, CurrentVerdict.UNRESOLVED}


class ScoreCounts:
    """The images, the good ones and the undecided ones with at least a score.

    Args:
        positions: The first n, all of them answered.
    """

    def __init__(self, positions: Sequence[Position]) -> None:
        self._positions = positions

    @cached_property
    def _scores(self) -> list[float]:
        return sorted(position.score for position in self._positions)

    @cached_property
    def _good_scores(self) -> list[float]:
        return sorted(position.score for position in self._positions if position.answer == CurrentVerdict.KEEP)

    @cached_property
    def _undecided_scores(self) -> list[float]:
        return sorted(position.score for position in self._positions if position.answer in _UNDECIDED)

    @property
    def images(self) -> int:
        """All positions."""
        return len(self._positions)

    @property
    def good(self) -> int:
        """Those that people keep, at any score."""
        return len(self._good_scores)

    @property
    def undecided(self) -> int:
        """Unsure and unresolved ones, at any score."""
        return len(self._undecided_scores)

    def images_from(self, threshold: float) -> int:
        """Positions with a score of at least ``threshold``."""
        return _from(self._scores, threshold)

    def good_from(self, threshold: float) -> int:
        """Of these, those that people keep."""
        return _from(self._good_scores, threshold)

    def undecided_from(self, threshold: float) -> int:
        """Of these, unsure and unresolved ones."""
        return _from(self._undecided_scores, threshold)


def _from(scores: list[float], threshold: float) -> int:
    return len(scores) - bisect_left(scores, threshold)
