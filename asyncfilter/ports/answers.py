"""People's answers, as the engine reads them: a file that any number of other processes write to meanwhile.

Every read names the serial up to which rows count, so that its result does not depend on who writes at that moment.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

import msgspec

from asyncfilter.records.answers import CurrentAnswer, Subject


class AnsweredImage(msgspec.Struct, frozen=True, kw_only=True):
    """One image with new rows.

    Attributes:
        serial: Of its first row in the range that was asked for.
        subjects: All versions of objects that are known to be this image, by content, ETag or name.
        current: What its rows fold to; None when all of them are undone.
    """

    serial: int
    subjects: tuple[Subject, ...]
    current: CurrentAnswer | None


class Answers(Protocol):
    """An answers file, read only: its methods take no lock that a writer would wait for, and wait for no writer.

    All methods raise ``AnswersError`` when the file cannot be read.
    """

    @property
    def location(self) -> str:
        """The file, for messages."""
        ...

    @property
    def id(self) -> str:
        """The id of the file, 32 hexadecimal digits."""
        ...

    @property
    def merged(self) -> Collection[str]:
        """The ids of files that were merged into this one."""
        ...

    async def last_serial(self) -> int:
        """The serial of the newest row; 0 when there is none."""
        ...

    async def count(self, after: int, *, up_to: int) -> int:
        """How many rows have a serial with ``after < serial <= up_to``, undo rows among them."""
        ...

    async def current(self, objects: Sequence[Subject], *, up_to: int) -> Sequence[CurrentAnswer | None]:
        """The current answer about each of ``objects``, in their order, by the rows up to the serial ``up_to``."""
        ...

    async def since(self, after: int, *, up_to: int, limit: int) -> Sequence[AnsweredImage]:
        """Up to ``limit`` images that have a row with ``after < serial <= up_to``, by the first of these rows.

        To read on, ask again from the ``serial`` of the last one. An image is given once for each row by which it comes
        first after ``after``; what it folds to is by all rows up to ``up_to``.
        """
        ...
