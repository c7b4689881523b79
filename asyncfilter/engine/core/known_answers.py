"""Known answers: what people had said at one moment, from a file to which others may write at any time.

Every read goes up to the serial of that moment, so that its result does not depend on who writes meanwhile. The moment
is the opening of the checkpoint; a run moves it once, when the listing has ended.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import msgspec

from asyncfilter.engine.core.work_item import WorkItem
from asyncfilter.model import AnswersState
from asyncfilter.policy.answers.following import acted_on_to, check_followed, is_older_copy, taken_over_to
from asyncfilter.ports.answers import AnsweredImage, Answers
from asyncfilter.records.answers import Subject, TakenOver

READ_IMAGES = 1000
"""Images with newer answers that are read at a time."""

OpenAnswers = Callable[[], Awaitable[Answers | None]]
"""Opens the answers file for reading; None while there is none."""


class KnownAnswers:
    """The answers of people up to one serial.

    Args:
        open_answers: Opens the file; called again at the next ``look`` while there is none.
        bucket: The bucket of the images.
        taken: How far the checkpoint follows the file.

    Attributes:
        taken: Likewise; to be replaced when more was taken over.
    """

    def __init__(self, open_answers: OpenAnswers, *, bucket: str, taken: TakenOver | None) -> None:
        self.taken = taken
        self._open = open_answers
        self._bucket = bucket
        self._answers: Answers | None = None
        self._up_to = 0

    async def look(self) -> None:
        """Move on to the answers that are there now.

        Raises:
            AnswersError: The file cannot be read, or is another one than that which the checkpoint follows.
        """
        if self._answers is None:
            self._answers = await self._open()
        if self._answers is not None:
            check_followed(
                self.taken,
                location=self._answers.location,
                file_id=self._answers.id,
                merged=self._answers.merged,
            )
            self._up_to = await self._answers.last_serial()

    @property
    def is_missing(self) -> bool:
        """True when there is no file, although answers were taken over from one."""
        return self._answers is None and self.taken is not None

    @property
    def is_older(self) -> bool:
        """True when the file has fewer answers than were taken over from it: it is an older copy."""
        answers = self._answers
        return answers is not None and is_older_copy(self.taken, file_id=answers.id, last_serial=self._up_to)

    @property
    def location(self) -> str:
        """The file, for messages; empty where there is none."""
        return "" if self._answers is None else self._answers.location

    @property
    def position(self) -> TakenOver | None:
        """What the checkpoint follows once all that is known is acted on; None where there is nothing new."""
        if self._answers is None or not self._up_to:
            return None
        position = TakenOver(id=self._answers.id, serial=self._up_to)
        return None if position == self.taken else position

    @property
    def position_of_apply(self) -> TakenOver | None:
        """Likewise, once everything known is taken over and nothing of it is acted on."""
        if self._answers is None or self.position is None:
            return None
        return TakenOver(id=self._answers.id, serial=self._up_to, acted=self._after)

    async def newer(self) -> AsyncIterator[Sequence[AnsweredImage]]:
        """The images with answers that no run or refilter has acted on yet, ``READ_IMAGES`` at a time.

        Raises:
            AnswersError: The file cannot be read.
        """
        after = self._after
        while self._answers is not None and after < self._up_to:
            page = await self._answers.since(after, up_to=self._up_to, limit=READ_IMAGES)
            if not page:
                return
            after = page[-1].serial
            yield page

    async def count_newer(self) -> int:
        """How many answers are known that no run or refilter has acted on yet.

        Raises:
            AnswersError: The file cannot be read.
        """
        return 0 if self._answers is None else await self._answers.count(self._after, up_to=self._up_to)

    async def attach(self, items: Sequence[WorkItem]) -> None:
        """Give images that are to be examined what people say about them.

        Without a file, an image with a stored row keeps what was taken over for it.

        Raises:
            AnswersError: The file cannot be read.
        """
        if self._answers is None or not self._up_to or not items:
            return
        images = [item.image for item in items]
        subjects = [
            Subject(bucket=image.bucket, key=image.key, etag=image.etag, size_bytes=image.size_bytes)
            for image in images
        ]
        for item, answer in zip(items, await self._answers.current(subjects, up_to=self._up_to), strict=True):
            item.answer = answer
            if item.stored is not None and item.stored.answer != answer:
                item.stored = msgspec.structs.replace(item.stored, answer=answer)

    async def state(self) -> AnswersState | None:
        """How far the checkpoint follows the file as it is now; None where there is none.

        Raises:
            AnswersError: The file cannot be read.
        """
        if self._answers is None:
            return None
        last = await self._answers.last_serial()
        after = taken_over_to(self.taken, file_id=self._answers.id, last_serial=last)
        return AnswersState(
            file=self._answers.location,
            id=self._answers.id,
            serial=0 if self.taken is None else self.taken.serial,
            pending=await self._answers.count(after, up_to=last),
        )

    @property
    def _after(self) -> int:
        if self._answers is None:
            return 0
        return acted_on_to(self.taken, file_id=self._answers.id, last_serial=self._up_to)
