"""Ids of the rows that a run adds to its checkpoint: each is given once, to whoever adds a row."""

from __future__ import annotations

import anyio


class RowIds:
    """Gives ids from a first one on; ``begin`` says which.

    Attributes:
        next_id: Given next; 0 before ``begin``.
        begun: Set by ``begin``: from then on all rows of the checkpoint have ids from here.
    """

    def __init__(self) -> None:
        self.next_id = 0
        self.begun = anyio.Event()

    @classmethod
    def after(cls, last: int) -> RowIds:
        """The ids after ``last``."""
        ids = cls()
        ids.begin(last + 1)
        return ids

    def begin(self, first: int) -> None:
        """Give ids from ``first`` on."""
        self.next_id = first
        self.begun.set()

    def new(self) -> int:
        """An id that no row has."""
        given = self.next_id
        self.next_id += 1
        return given
