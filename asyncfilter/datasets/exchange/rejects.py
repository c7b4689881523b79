"""What a conversion cannot carry over: each with its place, code and reason."""

from __future__ import annotations

from typing import NamedTuple

MOST_TOLD = 20
"""Rejects that are told one by one."""


class Reject(NamedTuple):
    """One part of the input that is left out because it cannot be used.

    Attributes:
        place: Where it is: ``line 3``, ``annotation 17``, ``a/b.xml``.
        code: What is wrong.
        message: As text.
    """

    place: str
    code: str
    message: str


class Rejects:
    """Counts rejects, and keeps the first.

    Attributes:
        total: How many there are.
        first: At most ``MOST_TOLD`` of them.
    """

    def __init__(self) -> None:
        self.total = 0
        self.first: list[Reject] = []

    def add(self, place: str, code: str, message: str) -> None:
        """Count one."""
        self.total += 1
        if len(self.first) < MOST_TOLD:
            self.first.append(Reject(place, code, message))
