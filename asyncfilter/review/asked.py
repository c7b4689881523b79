"""What audits ask about now, by card: images without an answer, and second looks. They are shown blind."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

import anyio
import anyio.to_thread

from asyncfilter.policy.audit_asked import AskedNow, SecondLook
from asyncfilter.records.answers import Subject
from asyncfilter.records.draws import DrawnImage
from asyncfilter.review.rows import Rows

OWN_LOOK_S = 600.0
"""After so long a person who reviews alone may look at an image a second time."""
OWN_LOOK_AMONG_OTHERS_S = 86_400.0
"""Where other people review too, one of them should: so much later it may be the same one."""

AskedStamp = tuple[str, str]
"""Versions of the answers file and of the images: while they are the same, so is what is asked."""


class Asked:
    """The images that audits ask about.

    Args:
        read: What is asked now; waits for files.
        rows: The images.
        reviewers: Everybody who reviews.
    """

    def __init__(self, read: Callable[[], AskedNow], rows: Rows, reviewers: Sequence[str]) -> None:
        self._read, self._rows = read, rows
        self._is_alone = len(reviewers) == 1
        self._stamp: AskedStamp | None = None
        self._reading = anyio.Lock()
        self._first: dict[int, None] = {}
        self._second: dict[int, SecondLook] = {}
        self._looking: set[tuple[int, str]] = set()

    async def refresh(self, stamp: AskedStamp) -> None:
        """Read what is asked, unless it was read at this stamp.

        Raises:
            AnswersError: The answers file cannot be read.
            CheckpointError: The checkpoint cannot be read.
        """
        async with self._reading:
            if stamp == self._stamp:
                return
            first, second = await anyio.to_thread.run_sync(self._found)
            self._first, self._second, self._stamp = first, second, stamp
            self._looking = {(id_, reviewer) for id_, reviewer in self._looking if id_ in second}

    def audit(self) -> Iterable[int]:
        """The images without an answer, in the order of the draws."""
        return self._first

    def second(self, reviewer: str) -> Iterable[int]:
        """The images that a person may look at a second time: those of others, then their own, if that is long ago."""
        others = [id_ for id_, look in self._second.items() if reviewer not in look.reviewers]
        wait_s = OWN_LOOK_S if self._is_alone else OWN_LOOK_AMONG_OTHERS_S
        latest = time.time() - wait_s
        own = [
            id_
            for id_, look in self._second.items()
            if (reviewer in look.reviewers and look.at_unix_s < latest) or (id_, reviewer) in self._looking
        ]
        return [*others, *own]

    def take_second(self, ids: Iterable[int], reviewer: str) -> None:
        """Note that a person looks at images a second time: what they said before is hidden too."""
        self._looking.update((id_, reviewer) for id_ in ids)

    def is_blind(self, id_: int, reviewer: str, voters: frozenset[str]) -> bool:
        """Whether a person must not see what the machine and others say about an image.

        Args:
            id_: The image.
            reviewer: The person.
            voters: Everybody who gave a verdict.
        """
        if id_ in self._first:
            return reviewer not in voters
        return id_ in self._second and (reviewer not in voters or (id_, reviewer) in self._looking)

    def _found(self) -> tuple[dict[int, None], dict[int, SecondLook]]:
        asked = self._read()
        first = self._rows.find([_subject(image) for image in asked.first])
        second = self._rows.find([_subject(look.image) for look in asked.second])
        looks = zip(second, asked.second, strict=True)
        return dict.fromkeys(ids[0] for ids in first if ids), {ids[0]: look for ids, look in looks if ids}


def _subject(image: DrawnImage) -> Subject:
    return Subject(bucket=image.bucket, key=image.key, etag=image.etag, size_bytes=image.size_bytes)
