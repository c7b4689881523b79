"""An answers file in memory: the engine's port over rows that a test or program adds.

It behaves like the SQLite file: one contract suite runs on both.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import msgspec
from anyio.lowlevel import checkpoint as yield_to_others

from asyncfilter.policy.answers.checks import BadAnswerError, checked_answer
from asyncfilter.policy.answers.fold import fold
from asyncfilter.policy.answers.identity import Images, Name, marks_of, name_of
from asyncfilter.ports.answers import AnsweredImage
from asyncfilter.records.answers import Answer, CurrentAnswer, NewAnswer, Subject


class MemoryAnswers:
    """People's answers in memory; ``add`` is the writer, the other methods are those of the ``Answers`` port.

    Args:
        file_id: The id of the file that it stands for.
        merged: The ids of files that were merged into it.
    """

    def __init__(self, *, file_id: str = "0" * 32, merged: Collection[str] = ()) -> None:
        self._id = file_id
        self._merged = frozenset(merged)
        self.rows: list[Answer] = []

    def add(self, rows: Sequence[NewAnswer]) -> list[Answer]:
        """Add rows, in their order; a uid that is there already changes nothing.

        Returns:
            The rows as they are now.

        Raises:
            BadAnswerError: A row is not what it may be; nothing was added.
        """
        by_uid = {row.uid: row for row in self.rows}
        new: list[Answer] = []
        for row in map(checked_answer, rows):
            if row.uid not in by_uid:
                by_uid[row.uid] = self._placed(row, by_uid, len(self.rows) + len(new) + 1)
                new.append(by_uid[row.uid])
        self.rows += new
        return [by_uid[row.uid] for row in rows]

    @property
    def location(self) -> str:
        """What messages call it."""
        return "answers in memory"

    @property
    def id(self) -> str:
        """See ``Answers``."""
        return self._id

    @property
    def merged(self) -> Collection[str]:
        """See ``Answers``."""
        return self._merged

    async def last_serial(self) -> int:
        """See ``Answers``."""
        await yield_to_others()
        return len(self.rows)

    async def count(self, after: int, *, up_to: int) -> int:
        """See ``Answers``."""
        await yield_to_others()
        return len(self.rows[after:up_to])

    async def current(self, objects: Sequence[Subject], *, up_to: int) -> Sequence[CurrentAnswer | None]:
        """See ``Answers``."""
        await yield_to_others()
        return [fold(self._about(one, up_to)[1]) for one in objects]

    async def since(self, after: int, *, up_to: int, limit: int) -> Sequence[AnsweredImage]:
        """See ``Answers``."""
        await yield_to_others()
        found: dict[frozenset[Name], AnsweredImage] = {}
        known = {name_of(one): one for one in self._subjects(up_to)}
        for row in self.rows[after:up_to]:
            subjects, rows = self._about(known[name_of(row.subject)], up_to)
            image = frozenset(map(name_of, subjects))
            if image not in found and len(found) < limit:
                found[image] = AnsweredImage(serial=row.serial, subjects=tuple(subjects), current=fold(rows))
        return list(found.values())

    def _placed(self, row: NewAnswer, by_uid: dict[str, Answer], serial: int) -> Answer:
        """The row under its serial; one that takes another one back is about the same subject as that one."""
        subject = row.subject
        if row.undoes is not None:
            former = by_uid.get(row.undoes)
            if former is None:
                raise BadAnswerError("unknown_uid", f"{row.uid} takes back {row.undoes}, which is not there")
            if former.reviewer != row.reviewer:
                raise BadAnswerError("not_yours", f"{row.uid} of {row.reviewer} takes back that of {former.reviewer}")
            subject = former.subject
        return Answer(serial=serial, **{**msgspec.structs.asdict(row), "subject": subject})

    def _about(self, one: Subject, up_to: int) -> tuple[list[Subject], list[Answer]]:
        """The subjects and rows of the image that ``one`` is."""
        known = list(self._subjects(up_to))
        images = Images(known)
        marks = set(marks_of(one))
        own = {images.image_of(number) for number, each in enumerate(known) if marks & set(marks_of(each))}
        subjects = [each for number, each in enumerate(known) if images.image_of(number) in own]
        names = set(map(name_of, subjects))
        return subjects, [row for row in self.rows[:up_to] if name_of(row.subject) in names]

    def _subjects(self, up_to: int) -> Iterator[Subject]:
        """Each subject once, with the content that the first row with one tells."""
        found: dict[Name, Subject] = {}
        for row in self.rows[:up_to]:
            former = found.setdefault(name_of(row.subject), row.subject)
            if former.content is None:
                found[name_of(row.subject)] = row.subject
        yield from found.values()
