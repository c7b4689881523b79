"""An answers file in memory, to which a test adds answers at any moment."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from asyncfilter.policy.answers.fold import fold
from asyncfilter.policy.answers.identity import Images, marks_of
from asyncfilter.ports.answers import AnsweredImage
from asyncfilter.records.answers import Answer, CurrentAnswer, PersonVerdict, Subject


class MemoryAnswers:
    """See ``Answers``."""

    def __init__(self, id_: str = "0" * 32) -> None:
        self.id = id_
        self.merged: Collection[str] = ()
        self.rows: list[Answer] = []
        self.reads = 0

    @property
    def location(self) -> str:
        """See ``Answers``."""
        return "memory"

    def say(self, subject: Subject, verdict: str | None = None, **fields: Any) -> Answer:
        """Add a row."""
        serial = len(self.rows) + 1
        row = Answer(
            serial=serial,
            uid=f"uid-{serial:06}",
            subject=subject,
            reviewer=fields.pop("reviewer", "ann"),
            at_unix_s=1_790_000_000.0 + serial,
            verdict=None if verdict is None else PersonVerdict(verdict),
            **fields,
        )
        self.rows.append(row)
        return row

    def take_back(self, former: Answer) -> Answer:
        """Add a row that takes another one back."""
        return self.say(former.subject, reviewer=former.reviewer, undoes=former.uid)

    async def last_serial(self) -> int:
        """See ``Answers``."""
        return len(self.rows)

    async def count(self, after: int, *, up_to: int) -> int:
        """See ``Answers``."""
        return max(0, up_to - after)

    async def current(self, objects: Sequence[Subject], *, up_to: int) -> Sequence[CurrentAnswer | None]:
        """See ``Answers``."""
        self.reads += 1
        found = []
        for one in objects:
            rows = self._about(up_to)
            wanted = set(marks_of(one))
            subjects = [group for group in self._groups(up_to) if wanted & {m for s in group for m in marks_of(s)}]
            among = {subject for group in subjects for subject in group}
            found.append(fold([row for row in rows if row.subject in among]))
        return found

    async def since(self, after: int, *, up_to: int, limit: int) -> Sequence[AnsweredImage]:
        """See ``Answers``."""
        self.reads += 1
        found = []
        for group in self._groups(up_to):
            rows = [row for row in self._about(up_to) if row.subject in group]
            newer = [row.serial for row in rows if row.serial > after]
            if newer:
                found.append(AnsweredImage(serial=newer[0], subjects=tuple(group), current=fold(rows)))
        return sorted(found, key=lambda image: image.serial)[:limit]

    def _about(self, up_to: int) -> list[Answer]:
        return self.rows[:up_to]

    def _groups(self, up_to: int) -> Sequence[Sequence[Subject]]:
        return Images(dict.fromkeys(row.subject for row in self._about(up_to))).groups()
