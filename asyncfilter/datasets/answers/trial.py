"""The answers file of an import, as far as an import knows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from asyncfilter.records.answers import Answer, ImageRows, NewAnswer, Subject


class Rows(Protocol):
    """The rows of an answers file; ``asyncfilter.answers.Writing`` has them, and ``Trial`` without a transaction."""

    @property
    def last_serial(self) -> int:
        """The serial of the newest row."""
        ...

    def images_of(self, objects: Sequence[Subject]) -> Sequence[ImageRows | None]:
        """All that is known about the image of each of ``objects``."""
        ...

    def rows_with(self, uids: Sequence[str]) -> dict[str, Answer]:
        """The rows with these uids."""
        ...


class Adding(Protocol):
    """An answers file to which rows are added; ``asyncfilter.answers.Writing`` is one."""

    def add(self, rows: Sequence[NewAnswer]) -> object:
        """Add rows."""
        ...


class Reading(Protocol):
    """An answers file that is read; ``asyncfilter.answers.AnswersReader`` is one."""

    def last_serial(self) -> int:
        """The serial of the newest row."""
        ...

    def images_of(self, objects: Sequence[Subject], *, up_to: int) -> Sequence[ImageRows | None]:
        """All that is known about the image of each of ``objects``."""
        ...

    def rows_with(self, uids: Sequence[str]) -> dict[str, Answer]:
        """The rows with these uids."""
        ...


class Trial:
    """The rows of an answers file at one moment.

    Args:
        reader: The file; None where there is none.
    """

    def __init__(self, reader: Reading | None) -> None:
        self._reader = reader
        self.last_serial = 0 if reader is None else reader.last_serial()

    def images_of(self, objects: Sequence[Subject]) -> Sequence[ImageRows | None]:
        """All that is known about the image of each of ``objects``."""
        if self._reader is None:
            return [None] * len(objects)
        return self._reader.images_of(objects, up_to=self.last_serial)

    def rows_with(self, uids: Sequence[str]) -> dict[str, Answer]:
        """The rows with these uids."""
        return {} if self._reader is None else self._reader.rows_with(uids)
