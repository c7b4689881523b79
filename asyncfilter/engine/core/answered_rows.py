"""Answered rows: the stored images that answers of people are about."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import NamedTuple

import msgspec

from asyncfilter.policy.answers.identity import marks_of, names_content
from asyncfilter.ports.answers import AnsweredImage
from asyncfilter.ports.checkpoint import LabelStore
from asyncfilter.records.answers import CurrentAnswer, Subject
from asyncfilter.records.images import StoredImage


class Answered(NamedTuple):
    """A stored image with a newer answer.

    Attributes:
        row: As the checkpoint has it.
        answer: What people say now; None when they took everything back.
    """

    row: StoredImage
    answer: CurrentAnswer | None

    @property
    def new_row(self) -> StoredImage:
        """The row with the newer answer."""
        return msgspec.structs.replace(self.row, answer=self.answer)


async def answered_rows(checkpoint: LabelStore, bucket: str, page: Iterable[AnsweredImage]) -> list[Answered]:
    """The stored images that answers are about, with their labels, by row id.

    Args:
        checkpoint: Holds the images.
        bucket: Their bucket.
        page: The answers.
    """
    answers: dict[Hashable, CurrentAnswer | None] = {}
    keys: set[str] = set()
    etags: set[str] = set()
    for image in page:
        for subject in image.subjects:
            answers.update(dict.fromkeys(marks_of(subject), image.current))
            if subject.bucket == bucket:
                keys.add(subject.key)
            if names_content(subject.etag):
                etags.add(subject.etag)
    candidates = [*await checkpoint.by_keys(sorted(keys)), *await checkpoint.by_etags(sorted(etags))]
    ids = sorted({row.id for row in candidates if _mark(row, bucket, answers) is not None})
    return [Answered(row, answers[_mark(row, bucket, answers)]) for row in await checkpoint.rows(ids)]


def _mark(row: StoredImage, bucket: str, answers: dict[Hashable, CurrentAnswer | None]) -> Hashable:
    """By which of its marks a row is the image that an answer is about; None when it is not."""
    subject = Subject(bucket=bucket, key=row.key, etag=row.etag, size_bytes=row.size_bytes)
    return next((mark for mark in marks_of(subject) if mark in answers), None)
